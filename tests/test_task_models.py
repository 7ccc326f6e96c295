"""Models that do what most do not: write into their inputs, answer at random."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from autoopt import snapshot
from autoopt.errors import DataError, MetricError, ModelError, RefusedError
from autoopt.interfaces import Parallel, Quantization
from autoopt.loading.predictor import load_artifact
from autoopt.runtimes import load_runtime
from autoopt.runtimes.agreement import compare
from autoopt.task import Task, make_task
from autoopt.techniques.finetune import FineTune

RNG = np.random.default_rng(0)
X = RNG.uniform(1, 255, (120, 8)).astype(np.float32)
RUNTIMES = ("eager", "onnxruntime", "openvino")


class Scales(nn.Module):
    """Brings pixels to [0, 1] in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        x /= 255
        return self.layer(x)


class MonteCarlo(nn.Module):
    """Keeps its dropout in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(nn.functional.dropout(x / 255, 0.2, training=True))


def task_of(model: nn.Module) -> Task:
    torch.manual_seed(0)
    model = model.eval()
    with torch.no_grad():
        y = model(torch.tensor(X)).argmax(1).numpy()
    return make_task(model, (X, y), request_size=8, threads=1)


def quality(task: Task, part: str = "validation") -> float:
    with torch.no_grad():
        answers = [task.forward(task.model, x) for x, _ in getattr(task, part).batches(16)]
    return task.metric(getattr(task, part).targets().numpy(), torch.cat(answers).numpy())


def test_a_model_that_writes_into_its_inputs_gets_copies_and_that_is_said():
    task = task_of(Scales())
    before = [part.inputs()[0].clone() for part in (task.train, task.validation)]
    example = task.example[0].clone()
    assert [quality(task) for _ in range(3)] == [1.0, 1.0, 1.0]
    task.teacher_outputs()
    FineTune(epochs=1).apply(task.model, task)
    assert torch.equal(before[0], task.train.inputs()[0])
    assert torch.equal(before[1], task.validation.inputs()[0])
    assert torch.equal(example, task.example[0])
    assert any("changes its inputs in place" in note for note in task.notes)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_built_of_it_leaves_requests_alone(runtime, precision, tmp_path: Path):
    if (runtime, precision) == ("onnxruntime", "bfloat16"):
        pytest.skip("has no bfloat16")
    task = task_of(Scales())
    request = Quantization(precision, 16 if precision == "bfloat16" else 32)
    load_runtime(runtime).build(task.model, request, task, tmp_path)
    deployment = load_runtime(runtime).load(tmp_path, Parallel(1))
    given = task.validation.inputs(8)[0].numpy().copy()
    kept = given.copy()
    first, second = deployment(given), deployment(given)
    assert np.array_equal(given, kept)
    assert np.array_equal(first, second)


def test_other_models_are_given_the_data_itself():
    task = task_of(nn.Linear(8, 3))
    assert not task.writes_inputs
    assert task.noise == 0


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_a_model_that_answers_at_random_is_built_within_its_noise(runtime, tmp_path: Path):
    task = task_of(MonteCarlo())
    assert task.noise > 0.01
    assert any("differently each time" in note for note in task.notes)
    realised = load_runtime(runtime).build(task.model, Quantization(), task, tmp_path)
    assert 0.01 < realised["agreement"]["relative_error"] < 4 * task.noise


def test_what_openvino_converts_wrongly_or_not_at_all_is_refused(tmp_path: Path):
    task = task_of(MonteCarlo())
    with pytest.raises(RefusedError, match=r"artefact gives outputs of shape|cannot convert"):
        load_runtime("openvino").build(task.model, Quantization(), task, tmp_path)


def test_noise_widens_what_agrees_and_no_more():
    wanted = np.eye(4, dtype=np.float32)
    found = wanted * np.float32(1.3)
    compare(wanted, found, bound=1e-2, axis=1, noise=0.1)
    with pytest.raises(RefusedError, match=r"relative_error=0\.3"):
        compare(wanted, found, bound=1e-2, axis=1, noise=0.05)


def test_winners_are_compared_along_the_axis_of_the_classes():
    # Two samples, three places, four classes on the last axis.
    wanted = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    found = wanted.copy()
    found[:, 0] = np.roll(found[:, 0], 1, axis=-1)
    assert compare(wanted, found, bound=None, axis=2)["same_class"] == pytest.approx(2 / 3)


def test_labels_have_no_winner_and_are_judged_by_their_error():
    wanted = np.array([[3.0, -2.0, 2.9], [2.9, -2.0, 3.0]], np.float32)
    found = compare(wanted, wanted[::-1], bound=None, axis=None)
    assert "same_class" not in found
    assert found["relative_error"] < 0.1


class Output(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, output: torch.Tensor) -> Any:
        return self.layer(torch.relu(output))


class Inside(nn.Module):
    """Its inputs are named as what the exporters name values and nodes inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, relu: torch.Tensor, linear: torch.Tensor) -> Any:
        return self.layer(torch.relu(relu) - linear)


@pytest.mark.parametrize("precision", ["float32", "static"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("make", "data", "names"),
    [(Output, X, ("output",)), (Inside, (X, X[::-1].copy()), ("relu", "linear"))],
)
def test_inputs_may_be_named_as_anything_inside(make, data, names, runtime, precision, tmp_path):
    torch.manual_seed(0)
    task = make_task(make().eval(), (data, np.arange(120) % 3), request_size=8, threads=1)
    request = Quantization(precision, 32 if precision == "float32" else 8)
    load_runtime(runtime).build(task.model, request, task, tmp_path)
    with load_artifact(tmp_path, Parallel(1)) as predict:
        assert tuple(port.name for port in predict.inputs) == names
        arrays = [value.numpy() for value in task.validation.inputs(8)]
        found = predict(**dict(zip(names, arrays, strict=True)))
    with torch.no_grad():
        wanted = task.forward(task.model, task.validation.inputs(8)).numpy()
    assert np.linalg.norm(found - wanted) < 0.3 * np.linalg.norm(wanted)


def normed(make: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(make(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, 3)).eval()


@pytest.mark.parametrize(
    "make",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_parametrizations_become_weights_in_the_copy_and_it_travels(make, tmp_path: Path):
    model = normed(make)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.tensor(X)
    with torch.no_grad():
        wanted = model(x)
    task = make_task(model, (X, np.arange(120) % 3), threads=1)
    sent = snapshot.load(snapshot.dump((task, {}), tmp_path), tmp_path)[0]
    with torch.no_grad():
        assert torch.allclose(sent.forward(sent.model, (x,)), wanted, atol=1e-6)
    assert isinstance(task.model, nn.Sequential)
    assert type(task.model[0]) is nn.Linear
    assert all(value.requires_grad and value.is_leaf for value in task.model.parameters())
    assert any("0.weight was computed from other weights" in note for note in task.notes)
    # The person's own stays parametrized.
    assert nn.utils.parametrize.is_parametrized(model[0])
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())


class Locked(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 3)
        self.lock = threading.Lock()

    def __deepcopy__(self, memo: Any) -> Locked:
        return Locked()


class LockedData(Dataset):
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return 120

    def __getitem__(self, row: int) -> Any:
        return X[row], row % 3


LOCK = threading.Lock()


def locked_metric(outputs: Any, targets: Any, lock: Any = LOCK) -> float:
    with lock:
        return float((outputs.argmax(1) == targets).mean())


def locked_loss(outputs: Any, targets: Any, lock: Any = LOCK) -> Any:
    with lock:
        return nn.functional.cross_entropy(outputs, targets)


# Defined in `__main__`, as in a notebook, functions travel by value, with what they hold.
for function in (locked_metric, locked_loss):
    function.__module__ = "__main__"

Y = np.arange(120) % 3


@pytest.mark.parametrize(
    ("model", "data", "options", "error", "words"),
    [
        (Locked(), (X, Y), {}, ModelError, "the model must be able to go"),
        (nn.Linear(8, 3), (X, Y), {"metric": locked_metric}, MetricError, "the metric must be"),
        (nn.Linear(8, 3), (X, Y), {"loss": locked_loss}, DataError, "the loss must be able"),
        (nn.Linear(8, 3), LockedData(), {}, DataError, "the data must be able to go"),
    ],
)
def test_what_cannot_travel_is_said_before_anything_begins(
    model, data, options, error, words, monkeypatch
):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    with pytest.raises(error, match=rf"{words}.*cannot pickle.*open them when they are needed"):
        make_task(model.eval(), data, **options)
