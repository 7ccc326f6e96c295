"""Bits by an integer program: within the budget, never worse than greedy, as brute force finds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoopt.build import Bench
from autoopt.build.bit_program import budgeted, least_loss, precisions
from autoopt.build.sensitivity import sensitivity
from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.controller.staged.features import recipe_features
from autoopt.errors import RefusedError
from autoopt.precision import quantizable, store
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layers import grid_of
from autoopt.targets import load_target
from autoopt.techniques.quantization_stored import BitBudget
from tests.runtime_builds import tiny_task

BITS = (2, 4, 8, 32)


@st.composite
def programs(draw: Any) -> tuple[Any, Any, float]:
    """Losses that mostly fall with more bits, sizes, and a budget of mean bits."""
    count = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
    loss = st.lists(st.floats(0, 1), min_size=3, max_size=3)
    losses = {}
    for layer in range(count):
        found = draw(loss)
        losses[f"{layer}"] = dict(zip(BITS, [*sorted(found, reverse=True), 0.0], strict=True))
    costs = {f"{i}": {bits: float(bits * size) for bits in BITS} for i, size in enumerate(sizes)}
    return losses, costs, draw(st.floats(2, 32)) * sum(sizes)


def total(table: Any, chosen: Any) -> float:
    return float(sum(table[name][bits] for name, bits in chosen.items()))


@given(programs())
def test_it_finds_what_brute_force_finds(program: Any) -> None:
    losses, costs, budget = program
    chosen = least_loss(losses, costs, budget)
    assert chosen is not None
    every = [
        dict(zip(losses, bits, strict=True)) for bits in itertools.product(BITS, repeat=len(losses))
    ]
    fitting = [each for each in every if total(costs, each) <= budget]
    best = min(total(losses, each) for each in fitting)
    assert total(losses, chosen) <= best + 1e-6
    assert total(costs, chosen) <= budget * (1 + 1e-9)


def greedy(losses: Any, costs: Any, budget: float, base: int, raised: int) -> dict[str, int] | None:
    """Raise the most sensitive layers first, as mixed precision does, as far as the budget goes."""
    chosen = dict.fromkeys(losses, base)
    if total(costs, chosen) > budget:
        return None
    for name in sorted(losses, key=lambda name: -losses[name][base]):
        tried = {**chosen, name: raised}
        if total(costs, tried) > budget:
            break
        chosen = tried
    return chosen


@given(programs(), st.sampled_from([(2, 8), (4, 8), (4, 32), (2, 4)]))
def test_it_never_loses_against_the_greedy_order_at_the_same_budget(
    program: Any, pair: Any
) -> None:
    losses, costs, budget = program
    other = greedy(losses, costs, budget, *pair)
    chosen = least_loss(losses, costs, budget)
    assert chosen is not None
    if other is not None:
        assert total(losses, chosen) <= total(losses, other) + 1e-6


def test_where_nothing_fits_there_is_nothing() -> None:
    assert least_loss({"a": {2: 0.1, 4: 0.0}}, {"a": {2: 2.0, 4: 4.0}}, 1.9) is None
    assert least_loss({}, {}, 0.0) == {}


# ------------------------------------------------------------------ on networks


def profiles(task: Any, request: Any) -> dict[int, dict[str, float]]:
    found = precisions(request).items()
    return {bits: sensitivity(task.model, task, each) for bits, each in found}


def stored_bits(task: Any, request: Any) -> float:
    """Bits a weight of what every runtime stores, by the layers that the request names."""
    weights, named = quantizable(task.model), dict(request.layers)
    sizes = {name: weight.tensor.numel() for name, weight in weights.items()}
    stored = [
        32 * sizes[name] if bits == 32
        else 8 * store(weights[name].rows(), grid_of(request, bits)).size
        for name, bits in named.items()
    ]  # fmt: skip
    return sum(stored) / sum(sizes.values())


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_the_budget_of_a_network_is_kept_and_more_of_it_loses_no_more(name: str) -> None:
    task, before = tiny_task(name), float("inf")
    for mean_bits in (4.0, 6.0, 9.0, 16.0, 31.0):
        request = BitBudget(mean_bits=mean_bits).request()
        losses = profiles(task, request)
        found = budgeted(request, task.model, losses)
        named = dict(found.layers)
        assert set(named) == set(quantizable(task.model))
        assert found.mean_bits == 0.0
        assert stored_bits(task, found) <= mean_bits
        lost = sum(losses[bits][layer] for layer, bits in named.items() if bits < 32)
        assert lost <= before + 1e-9
        before = lost


def test_a_budget_that_cannot_be_kept_says_which_one_can() -> None:
    task, request = tiny_task("mlp"), BitBudget(mean_bits=1.5).request()
    with pytest.raises(RefusedError, match=r"must be at least 3\.\d+ for this network.*got 1.5"):
        budgeted(request, task.model, profiles(task, request))


def test_the_artefact_has_the_bits_that_were_found(tmp_path: Path) -> None:
    task = tiny_task("cnn")
    bench = Bench(task, load_target("cpu"), Cache(tmp_path))
    recipe = original().replaced(
        quantization=("budgeted", {"mean_bits": 6.0}), runtime=("onnxruntime", {})
    )
    key = bench.build_artifact(recipe).key
    realised = read_manifest(bench.artifact_folder(key)).realised["layers"]
    request = BitBudget(mean_bits=6.0).request()
    assert realised == dict(budgeted(request, task.model, profiles(task, request)).layers)
    assert len(set(realised.values())) > 1
    assert len(list((tmp_path / "profiles").iterdir())) == 3


def test_tied_weights_have_one_precision_and_count_once() -> None:
    first, second = (nn.Linear(64, 64, bias=False) for _ in range(2))
    second.weight = first.weight
    model = nn.Sequential(nn.Flatten(), first, second)
    losses = {bits: {"1": 1.0 / bits, "2": 5.0} for bits in (2, 4, 8)}
    found = budgeted(BitBudget(mean_bits=9.0).request(), model, losses)
    assert dict(found.layers) == {"1": 8, "2": 8}


@pytest.mark.parametrize("mean_bits", [0.5, 32, float("nan"), "four"])
def test_a_budget_outside_its_bounds_is_refused(mean_bits: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="mean_bits"):
        BitBudget(mean_bits=mean_bits)


def test_a_recipe_says_its_budget_and_models_see_it() -> None:
    recipe = original().replaced(quantization=("budgeted", {"mean_bits": 4.0}))
    assert recipe.words("quantization") == "weights of 4 bits on average"
    assert recipe_features(recipe)["log_bits"] == 2.0
