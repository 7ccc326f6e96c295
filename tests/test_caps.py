"""Hard caps: what no training could bring below one is refused, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.build import Bench
from autoopt.build.caps import check_caps, least_bits, least_bytes
from autoopt.cache import Cache
from autoopt.constraint import Constraint
from autoopt.errors import OverCapError
from autoopt.evaluate import as_failure
from autoopt.extent import multiply_adds, parameter_count
from autoopt.interfaces import Quantization
from autoopt.outcome import Done
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.runtimes.artifact import artifact_size
from autoopt.settings import Budget
from autoopt.targets import load_target
from autoopt.task import make_task
from autoopt.techniques.finetune import FineTune
from tests.fakes import FakeExecutor, small_space, usual_answer
from tests.runtime_builds import REQUESTS, built, refusal, tiny_task
from tests.small_searches import narrow, start
from tests.test_controller_controller import run

FLOAT32 = Quantization()
STORED = ("float32", "bfloat16", "weights8", "weights4", "codebook", "static", "dynamic")
BUILT = [
    (name, runtime, precision)
    for name, runtime, precision in itertools.product(
        ("cnn", "mlp"), ("eager", "onnxruntime", "openvino"), STORED
    )
]


def caps(**bounds: float) -> tuple[Constraint, ...]:
    return tuple(Constraint(name, "<=", bound) for name, bound in bounds.items())


# ------------------------------------------------------------------ the bound


@pytest.mark.parametrize(("name", "runtime", "precision"), BUILT)
def test_no_artefact_is_smaller_than_the_bound(name: str, runtime: str, precision: str) -> None:
    if refusal(name, runtime, precision):
        pytest.skip("the runtime refuses it")
    task = tiny_task(name)
    least = least_bytes(task.model, task, REQUESTS[precision])
    assert 0 < least <= artifact_size(built(name, runtime, precision))


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_in_float32_the_bound_holds_nearly_all_weights(name: str) -> None:
    task = tiny_task(name)
    assert least_bytes(task.model, task, FLOAT32) >= 0.9 * 4 * parameter_count(task.model)


class Reading(nn.Module):
    """Tokens and their places; a layer that is idle, and one that computes on places alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.places = nn.Embedding(200, 16)
        self.shift = nn.Linear(16, 16, bias=False)
        self.idle = nn.Linear(16, 300, bias=False)
        self.head = nn.Linear(16, 3, bias=False)

    def forward(self, tokens: torch.Tensor) -> Any:
        placed = self.shift(self.places(torch.arange(tokens.shape[1])))
        self.idle(self.words(tokens))
        return self.head((self.words(tokens) + placed).mean(dim=1))


def reading_task(model: nn.Module) -> Any:
    random = np.random.default_rng(0)
    tokens = random.integers(0, 50, (60, 12))
    return make_task(model.eval(), (tokens, tokens[:, 0] % 3), request_size=4, threads=1)


def test_counted_is_only_what_every_runtime_has_to_store() -> None:
    task = reading_task(Reading())
    assert least_bytes(task.model, task, FLOAT32) == 4 * (50 * 16 + 16 * 3)


def test_what_layers_share_counts_once() -> None:
    first, second = (nn.Linear(64, 64, bias=False) for _ in range(2))
    model = nn.Sequential(nn.Flatten(), first, second)
    task = tiny_task("mlp")
    whole = least_bytes(model, task, FLOAT32)
    second.weight = first.weight
    assert least_bytes(model, task, FLOAT32) == whole / 2 == 4 * 64 * 64


def test_a_network_of_many_zeros_has_no_bound_for_its_files_may_be_compressed() -> None:
    layer = nn.Linear(64, 64)
    layer.weight.data[:20] = 0.0
    model = nn.Sequential(nn.Flatten(), layer)
    assert least_bytes(model, tiny_task("mlp"), FLOAT32) == 0.0


@pytest.mark.parametrize(
    ("request_", "bits"),
    [
        (Quantization(), 32),
        (Quantization("weight_only", 8, layers=(("head", 2),)), 2),
        (Quantization("weight_only", 8, share=0.5, raised=4), 4),
        (Quantization("codebook", 8, clusters=256), 1),
        (Quantization("mine", 8), 0),
    ],
)
def test_the_fewest_bits_are_those_of_any_layer(request_: Quantization, bits: int) -> None:
    assert least_bits(request_) == bits


def test_multiply_adds_are_those_of_one_sample_recurrent_layers_included() -> None:
    lstm: Any = nn.LSTM(8, 16, batch_first=True)
    assert multiply_adds(lambda: lstm(torch.zeros(5, 3, 8)), 5) == 3 * 4 * 16 * (8 + 16)
    convolution: Any = nn.Conv2d(2, 4, 3, padding=1)
    assert multiply_adds(lambda: convolution(torch.zeros(5, 2, 6, 6)), 5) == 36 * 2 * 4 * 9


# ------------------------------------------------------------------ the refusal


def test_the_refusal_says_rule_bound_and_value() -> None:
    task = tiny_task("mlp")
    message = r"size <= 0.001 was asked for, but this network comes to at least 0.008704 .*32 bits"
    with pytest.raises(OverCapError, match=message) as raised:
        check_caps(caps(size=0.001), task.model, task, FLOAT32)
    failure = as_failure("network", raised.value)
    assert (failure.kind, failure.bars_network) == ("over_cap", False)
    assert failure.slots == ("student", "pruning", "factorization", "quantization")


def test_parameters_and_multiply_adds_are_capped_as_they_are() -> None:
    task = tiny_task("mlp")
    check_caps(caps(parameters=2212e-6, multiply_adds=2176e-6), task.model, task, FLOAT32)
    for name, value in (("parameters", 2211e-6), ("multiply_adds", 2175e-6)):
        with pytest.raises(OverCapError, match=rf"{name} <= .*its shapes stay") as raised:
            check_caps(caps(**{name: value}), task.model, task, FLOAT32)
        assert "quantization" not in raised.value.slots


def test_bounds_from_below_and_on_other_objectives_refuse_nothing() -> None:
    task = tiny_task("mlp")
    others = (Constraint("size", ">=", 1e9), Constraint("latency", "<=", 0.0))
    check_caps(others, task.model, task, FLOAT32)


def workplace(folder: Path, **bounds: float) -> Bench:
    return Bench(tiny_task("mlp"), load_target("cpu"), Cache(folder), caps=caps(**bounds))


def trained(**slots: Any) -> Recipe:
    point: dict[str, Any] = {
        "student": ("width", {"fraction": 0.5}),
        "recovery": ("finetune", {"epochs": 1}),
    }
    return Recipe.of({**point, **slots})


def test_what_breaks_a_cap_is_not_trained_and_fewer_bits_still_may_be(
    tmp_path: Path, monkeypatch: Any
) -> None:
    bench = workplace(tmp_path, size=0.0035)
    with monkeypatch.context() as patch:
        patch.setattr(FineTune, "apply", lambda *_: pytest.fail("it was trained"))
        with pytest.raises(OverCapError):
            bench.build_network(trained())
    assert bench.build_network(trained(quantization=("weight_only", {"bits": 8}))).trained


def test_what_is_not_trained_is_measured_however_large(tmp_path: Path) -> None:
    bench = workplace(tmp_path, size=1e-6)
    assert not bench.build_network(trained(recovery=("none", {}))).trained


@pytest.mark.parametrize(
    ("fraction", "precision", "runtime"),
    [
        (0.25, ("float32", {}), "openvino"),
        (0.5, ("float32", {}), "onnxruntime"),
        (0.75, ("bfloat16", {}), "eager"),
        (0.5, ("weight_only", {"bits": 8}), "openvino"),
        (0.75, ("packed", {"bits": 2}), "onnxruntime"),
        (0.25, ("codebook", {"clusters": 4}), "eager"),
        (0.75, ("mixed", {"bits": 2, "raised": 8}), "openvino"),
        (0.5, ("dynamic_int8", {}), "openvino"),
    ],
)
def test_nothing_is_refused_that_keeps_the_cap_when_it_is_built(
    tmp_path: Path, fraction: float, precision: Any, runtime: str
) -> None:
    student = ("width", {"fraction": fraction})
    recipe = trained(student=student, quantization=precision, runtime=(runtime, {}))
    bench = workplace(tmp_path / "first")
    bench.build_network(recipe)
    megabytes = artifact_size(bench.artifact_folder(bench.build_artifact(recipe).key)) / 1e6
    # The cap is what it really takes; an empty cache has it decided before training.
    capped = workplace(tmp_path / "anew", size=megabytes)
    assert capped.build_network(recipe).trained


# ------------------------------------------------------------------ the search


def refusing(stage: Any, recipe: Recipe) -> Any:
    """Half of the width is too large in float32, whatever follows."""
    large = recipe["student"].settings.get("fraction", 0.0) == 0.5
    if stage == "network" and large and recipe["quantization"].option == "float32":
        return Failure(
            "network", "over_cap", "size <= 1", slots=("student", "quantization")
        )  # fmt: skip
    return usual_answer(stage, recipe)


SPACE = small_space(
    student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
    recovery=["none", "finetune", "distill"],
    quantization=["float32", "bfloat16"],
    runtime=["eager", "onnxruntime"],
)


@pytest.mark.parametrize("sampler", ["tpe", "staged"])
def test_a_refusal_is_learnt_once_and_the_network_is_tried_in_fewer_bits(
    tmp_path: Path, sampler: str
) -> None:
    budget = Budget(trials=100)
    history, _ = run(tmp_path, FakeExecutor(refusing), space=SPACE, budget=budget, sampler=sampler)
    refused = [str(record.failure) for record in history.records if record.failure]
    assert refused == ["over_cap in the network stage: size <= 1"]
    halves = [r for r in history.records if r.recipe["student"].settings.get("fraction") == 0.5]
    assert {r.recipe["quantization"].option for r in halves if r.measurement} == {"bfloat16"}


def test_a_refusal_costs_no_trial(tmp_path: Path) -> None:
    history, reason = run(tmp_path, FakeExecutor(refusing), space=SPACE, budget=Budget(trials=12))
    assert (len(history.records), reason) == (13, "the budget in trials is spent")


def test_where_all_is_refused_the_search_ends(tmp_path: Path) -> None:
    def none(stage: Any, recipe: Recipe) -> Any:
        if stage == "network" and not recipe.is_original:
            return Failure("network", "over_cap", "size <= 0", slots=("student",))
        return usual_answer(stage, recipe) if stage != "survey" else Done(0.0)

    history, reason = run(tmp_path, FakeExecutor(none), space=SPACE, budget=Budget(trials=60))
    assert sum(record.failure is not None for record in history.records) == 2
    assert reason == "every point of the space that can run here was measured"


def test_a_real_search_records_what_was_asked_and_what_the_network_comes_to(tmp_path: Path) -> None:
    space = narrow(
        student={"none": {}, "width": {"fraction": [0.5]}},
        recovery=["none", "finetune"],
        quantization=["float32"],
        runtime=["eager"],
    )
    bounds = {"parameters": "<= 0.001"}
    search = start(tmp_path / "search", space=space, budget="4 trials", constraints=bounds)
    records = search._known().records
    refused = [record for record in records if record.failure]
    assert [record.failure.kind for record in refused if record.failure] == ["over_cap"]
    assert refused[0].recipe["recovery"].option == "finetune"
    assert "parameters <= 0.001 was asked for" in str(refused[0].failure)
    counted = records[0].stat("parameters")
    assert counted is not None
    assert (counted.value, counted.unit) == (2410 / 1e6, "M")
