"""Control flow that no exporter can trace: eager goes on, the others say which line broke it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import autoopt
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Parallel, Quantization
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import needs_model, read_manifest
from autoopt.runtimes.layer_table import read_layers
from autoopt.runtimes.opening import open_artifact
from autoopt.task import Task, make_task
from tests.runtime_builds import distance
from tests.small_searches import digits, fit, narrow


class Branching(nn.Module):
    """An MLP that takes another way where its hidden values are large."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = torch.relu(self.first(x))
        if hidden.mean() > 100:
            hidden = hidden / 2
        return self.head(hidden)


def branching_task() -> Task:
    torch.manual_seed(0)
    return make_task(Branching().eval(), digits(), request_size=8, threads=1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_eager_runs_from_the_weights_beside_the_models_own_code(precision: str, tmp_path: Path):
    task = branching_task()
    request = Quantization(precision, 32 if precision == "float32" else 16)
    realised = load_runtime("eager").build(task.model, request, task, tmp_path)
    assert "`if hidden.mean() > 100:`" in realised["needs_model"]
    assert needs_model(read_manifest(tmp_path))
    assert [layer.name for layer in read_layers(tmp_path)] == ["first", "head"]
    kind = "float32" if precision == "float32" else "bfloat16"
    assert {layer.stored for layer in read_layers(tmp_path)} == {kind}
    other = Branching()
    with torch.no_grad():
        other.head.weight.zero_()
    # The weights are those of the files, not of the network that is handed over.
    deployment = open_artifact(tmp_path, Parallel(1), network=lambda: task.wrapped(other))
    inputs = task.example
    expected = task.forward(task.model, inputs).detach().numpy()
    found = deployment(*(x.numpy() for x in inputs))
    deployment.close()
    assert distance(found, expected) < (1e-5 if precision == "float32" else 0.05)
    assert not other.head.weight.any()


def test_it_does_not_open_without_the_network_or_with_another(tmp_path: Path):
    task = branching_task()
    load_runtime("eager").build(task.model, Quantization(), task, tmp_path)
    with pytest.raises(RefusedError, match=r"need the model's own code.*hidden.mean\(\) > 100"):
        open_artifact(tmp_path, Parallel(1))
    with pytest.raises(ArtifactError, match="another network's weights"):
        open_artifact(tmp_path, Parallel(1), network=lambda: nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(RefusedError, match="no copy of the model's code"):
        open_artifact(tmp_path, Parallel(1, processes=True), network=lambda: task.model)


@pytest.mark.parametrize(
    ("runtime", "request_"),
    [
        ("onnxruntime", Quantization()),
        ("openvino", Quantization()),
        ("compiled", Quantization()),
        ("eager", Quantization("weight_only", 8)),
    ],
)
def test_what_needs_an_export_is_refused_with_the_line_that_broke_it(
    runtime: str, request_: Quantization, tmp_path: Path
):
    task = branching_task()
    with pytest.raises(RefusedError, match=r"test_search_untraceable.py:\d+, `if hidden.mean"):
        load_runtime(runtime).build(task.model, request_, task, tmp_path)


class Turning(nn.Module):
    """Complex weights amid real ones, and a whole number that multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.turn = nn.Linear(32, 32, dtype=torch.complex64)
        self.head = nn.Linear(32, 10)
        self.often = nn.Parameter(torch.ones(32, dtype=torch.int32), requires_grad=False)

    def forward(self, x: torch.Tensor) -> Any:
        turned = self.turn(torch.relu(self.first(x)).to(torch.complex64))
        return self.head(turned.abs() * self.often)


def test_complex_and_integer_weights_run_in_eager_and_are_refused_where_no_operator_is(
    tmp_path: Path,
):
    torch.manual_seed(0)
    task = make_task(Turning().eval(), digits(), request_size=8, threads=1)
    for request in (Quantization(), Quantization("weight_only", 8)):
        realised = load_runtime("eager").build(task.model, request, task, tmp_path)
        assert realised["agreement"]["relative_error"] < 0.1
    assert list(realised["layers"]) == ["first", "head"], "complex weights stay as they are"
    with pytest.raises(RefusedError, match=r"ONNX cannot hold this network \(.*use eager"):
        load_runtime("onnxruntime").build(task.model, Quantization(), task, tmp_path)
    with pytest.raises(RefusedError, match="OpenVINO cannot convert this network"):
        load_runtime("openvino").build(task.model, Quantization(), task, tmp_path)


@pytest.mark.slow
def test_a_search_goes_on_in_eager_and_says_why_in_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    x, y = digits()
    model = fit(Branching(), x, y, epochs=10)
    search = autoopt.search(
        model,
        (x, y),
        space=narrow(student=["none", "width"], recovery=["none", "finetune"]),
        budget="7 trials",
        objectives=["size"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    trials = search.trials
    failed = trials["failure"].notna()
    assert set(trials[~failed]["runtime"]) == {"eager"}
    assert (~failed).sum() >= 2, "the original, and one that was made smaller"
    lines = trials[failed & (trials["runtime"] == "onnxruntime")]["failure"]
    assert len(lines)
    assert lines.str.contains(r"refused in the artifact stage: torch.export cannot trace").all()
    assert lines.str.contains("`if hidden.mean\\(\\) > 100:`").all()
    assert trials["accuracy"].iloc[0] > 0.8
    assert np.isfinite(search.front["size_mb"]).all()
    with pytest.raises(RefusedError, match="an export must run without the model's class"):
        search.strategies[0].export(tmp_path / "export")
    # Before anything is measured for the explanation.
    smaller = next(s for s in search.strategies if s.recipe["student"].option == "width")
    given: dict[str, Any] = {"model": model, "data": (x, y)}
    with monkeypatch.context() as patched:
        patched.setattr("autoopt.handle.export.explain_strategy", explained)
        with pytest.raises(RefusedError, match="an export must run without the model's class"):
            smaller.export(tmp_path / "export", **given)
    # The model's code is there to explain with, so that the test part is looked at.
    found = smaller.explain(**given)
    assert found.test is not None
    assert smaller.measurement.test is not None
    assert found.test.quality.value == pytest.approx(smaller.measurement.test.value, abs=1e-9)
    assert found.test.original.value != found.test.quality.value


def explained(*_: Any) -> None:
    raise AssertionError("it was explained")
