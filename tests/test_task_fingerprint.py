from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.snapshot import dump, load
from autoopt.task import make_task
from autoopt.task.fingerprint import fingerprint, model_digest, source_of
from tests.test_task_forms import FEATURES, arrays, classifier, dataset


def own_score(outputs: np.ndarray, targets: np.ndarray) -> float:
    return float((outputs.argmax(1) == targets).mean())


SCRIPT = """
import numpy as np, torch
from torch import nn
from autoopt.task import make_task

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.scale = nn.Linear(4, 3), 2.0
    def forward(self, x):
        return self.a(x) * self.scale

def score(outputs, targets):
    name = "a" if len(targets) in {1, 2, 3} or "x" in {"a", "b", "c", "d"} else "b"
    return float((outputs.argmax(1) == targets).mean()) + np.float64(name == "a")

torch.manual_seed(0)
x = np.random.default_rng(0).normal(size=(100, 4))
print(make_task(Net(), (x, np.arange(100) % 3), metric=score).fingerprint)
"""


def test_the_fingerprint_is_the_same_in_every_process(tmp_path, capsys):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "other name.py").write_text("# moved\n" + SCRIPT)
    runpy.run_path(str(tmp_path / "other name.py"), run_name="__main__")
    found = capsys.readouterr().out
    assert len(found.strip()) == 64
    assert found == done.stdout


def changed(model: nn.Sequential, x: np.ndarray, y: np.ndarray, what: str) -> dict:
    options: dict = {"model": model, "data": (x, y)}
    if what == "weight":
        with torch.no_grad():
            next(model.parameters())[0, 0] += 1e-3
    elif what == "structure":
        options["model"] = nn.Sequential(
            model.get_submodule("0"), nn.GELU(), model.get_submodule("2")
        )
    elif what == "input":
        x[3, 1] += 1.0
    elif what == "target":
        y[3] = (y[3] + 1) % 3
    elif what == "order":
        options["data"] = (x[::-1], y[::-1])
    elif what == "seed":
        options["seed"] = 1
    elif what == "metric":
        options["metric"] = "f1_macro"
    elif what == "own metric":
        options["metric"] = own_score
    elif what == "loss":
        options["loss"] = nn.CrossEntropyLoss(label_smoothing=0.1)
    elif what == "split":
        options["data"] = ((x[:50], y[:50]), (x[50:], y[50:]))
    elif what == "data_id":
        options["data_id"] = "named"
    return options


@pytest.mark.parametrize(
    "what",
    [
        "weight",
        "structure",
        "input",
        "target",
        "order",
        "seed",
        "metric",
        "own metric",
        "loss",
        "split",
        "data_id",
    ],
)
def test_whatever_matters_changes_the_fingerprint(what):
    before = make_task(classifier(), arrays()).fingerprint
    assert make_task(**changed(classifier(), *arrays(), what)).fingerprint != before


def test_what_does_not_matter_leaves_the_fingerprint():
    before = make_task(classifier(), arrays()).fingerprint
    model = classifier()
    model.train()
    model[0].requires_grad_(False)
    task = make_task(model, arrays(), request_size=3, threads=1)
    assert task.fingerprint == before


def test_plain_attributes_code_and_ties_of_a_model_count():
    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    first = Scaled

    class Scaled(nn.Module):  # type: ignore[no-redef]  # the same name, other code
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.scale

    digests = [model_digest(model) for model in (first(1.0), first(2.0), Scaled(1.0))]
    pair = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    pair[1].load_state_dict(pair[0].state_dict())
    digests.append(model_digest(pair))
    pair[1].weight = pair[0].weight
    digests.append(model_digest(pair))
    assert len(set(digests)) == 5


def test_buffers_that_are_not_saved_count():
    model, mask = nn.Linear(2, 2), torch.zeros(2)
    model.register_buffer("mask", mask, persistent=False)
    before = model_digest(model)
    mask.fill_(1.0)
    assert model_digest(model) != before


def test_code_without_source_and_values_of_closures_count():
    def make(factor: float):
        return lambda outputs, targets: factor

    assert source_of(make(1.0)) != source_of(make(2.0))
    typed: dict = {"__name__": "__main__"}
    exec("def one(a, b): return [a for _ in b]\ndef two(a, b): return [b for _ in b]", typed)
    exec("class Kind:\n def call(self): return 3", typed)
    assert source_of(typed["one"]).split(" ", 1)[1] != source_of(typed["two"]).split(" ", 1)[1]
    assert "0x" not in source_of(typed["one"])
    before = source_of(typed["Kind"])
    exec("class Kind:\n def call(self): return 4", typed)
    assert source_of(typed["Kind"]) != before


def test_functions_that_a_metric_calls_count():
    def make(offset: int):
        def inner(x: int) -> int:
            return x + offset

        return lambda outputs, targets: inner(3)

    assert source_of(make(1)) == source_of(make(1))
    assert source_of(make(1)) != source_of(make(2))


def test_pieces_are_told_apart():
    assert fingerprint([b"ab", b"c"]) != fingerprint([b"a", b"bc"])


def test_items_of_a_large_dataset_count(monkeypatch):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    before = make_task(classifier(), dataset()).fingerprint
    other = dataset()
    other.tensors[0][40] += 1.0
    assert make_task(classifier(), other).fingerprint != before


def test_a_large_dataset_that_is_random_is_not_stable(monkeypatch):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)

    class Noisy(type(dataset())):  # type: ignore[misc]  # a class found at run time
        def __getitem__(self, row: int):
            x, y = super().__getitem__(row)
            return x + torch.randn(FEATURES), y

    task = make_task(classifier(), Noisy(*dataset().tensors))
    assert not task.stable
    assert any("data_id=" in note for note in task.notes)


def test_a_task_travels_in_a_snapshot_without_its_large_tensors(tmp_path):
    model = nn.Sequential(nn.Linear(FEATURES, 20_000), nn.ReLU(), nn.Linear(20_000, 3))
    task = make_task(model, arrays(1000))
    task.teacher_outputs()
    payload = dump(task, tmp_path)
    assert len(payload) < 200_000 < next(tmp_path.iterdir()).stat().st_size
    found = load(payload, tmp_path)
    assert found.fingerprint == task.fingerprint
    assert "_teacher_outputs" not in vars(found)
    assert torch.allclose(found.teacher_outputs(), task.teacher_outputs(), atol=1e-6)
    targets = found.validation.targets().numpy()
    outputs = found.forward(found.model, found.validation.inputs()).detach().numpy()
    assert 0 <= found.metric(targets, outputs) <= 1
    assert all(parameter.requires_grad for parameter in found.model.parameters())


class Base:
    def value(self) -> int:
        return 1


class Derived(Base):
    pass


def test_reading_the_annotations_of_a_class_changes_nothing():
    before = source_of(Derived)
    assert Derived.__annotations__ == {}
    assert "__annotations__" in vars(Derived)
    assert source_of(Derived) == before


def test_what_a_class_inherits_counts(monkeypatch: pytest.MonkeyPatch):
    before = source_of(Derived)
    monkeypatch.setattr(Base, "value", lambda self: 2)
    assert source_of(Derived) != before
