"""Networks of odd make: what torch cannot trace, custom gradients, integer and complex weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError
from autoopt.replay import replay
from autoopt.runtimes import load_runtime
from autoopt.runtimes.program import export_program
from autoopt.task import Task, make_task
from autoopt.techniques import TECHNIQUES, load_technique
from tests.runtime_builds import REQUESTS
from tests.technique_models import HERE

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(6, 32)
        self.middle = nn.Linear(32, 32)
        self.head = nn.Linear(32, 2)

    def inside(self, y: Tensor) -> Tensor:
        return y

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.inside(torch.relu(self.middle(torch.relu(self.hidden(x))))))
        return found


class Branching(Odd):
    def inside(self, y: Tensor) -> Tensor:
        if y.sum() > 1000:
            return y
        return 2 * y


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


class OwnGradient(Odd):
    def inside(self, y: Tensor) -> Tensor:
        found: Tensor = Doubled.apply(y)
        return found


class WholeNumbers(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Parameter(torch.ones(32, dtype=torch.int8), requires_grad=False)

    def inside(self, y: Tensor) -> Tensor:
        return y * self.signs


class Complex(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.randn(32, dtype=torch.complex64))

    def inside(self, y: Tensor) -> Tensor:
        return (y * self.turn).abs()


class ComplexLayers(Odd):
    """Blocks that repeat, of complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Linear(32, 32, bias=False, dtype=torch.complex64) for _ in range(3))
        )

    def inside(self, y: Tensor) -> Tensor:
        found: Tensor = self.blocks(y.to(torch.complex64))
        return found.abs()


KINDS = [Branching, OwnGradient, WholeNumbers, Complex, ComplexLayers]


def task_of(kind: type[Odd]) -> Task:
    model = kind().eval()
    with torch.no_grad():
        labels = model(X).argmax(1)
    labels[:2] = torch.tensor([0, 1])
    return make_task(model, (X, labels), threads=1, request_size=8)


def test_a_trace_that_breaks_names_the_line_that_broke_it() -> None:
    task = task_of(Branching)
    with pytest.raises(RefusedError) as told:
        export_program(task.model, task)
    assert "test_techniques_odd_networks.py:" in str(told.value)
    assert "`if y.sum() > 1000:`" in str(told.value)
    assert "/" not in str(told.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("slot", "option"),
    [
        (slot, option)
        for slot in ("student", "pruning", "factorization", "recovery")
        for option in TECHNIQUES[slot]
    ],
)
def test_techniques_work_or_refuse_in_words(kind: type[Odd], slot: str, option: str) -> None:
    task = task_of(kind)
    cls = load_technique(slot, option)
    short = {"epochs": 1} if "epochs" in cls.__dataclass_fields__ else {}
    technique = cls(**short)
    reason = technique.refuse(task, HERE) or why_not(technique, task)
    assert reason is None or len(reason.split()) > 4


def why_not(technique: Any, task: Task) -> str | None:
    """Apply a technique and look at what it gives; return the reason if it refuses."""
    try:
        if hasattr(technique, "edits"):
            found = replay(task.model, technique.edits(task.model, task))
        else:
            found = technique.apply(task.model, task)
    except RefusedError as refused:
        return str(refused)
    assert task.forward(found, task.example).isfinite().all()
    return None


@pytest.mark.parametrize("kind", [OwnGradient, WholeNumbers, Complex, ComplexLayers])
def test_training_leaves_whole_numbers_alone_and_moves_the_rest(kind: type[Odd]) -> None:
    task = task_of(kind)
    before = copy.deepcopy(task.model.state_dict())
    after = load_technique("recovery", "finetune")(epochs=2).apply(task.model, task).state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == set(before) - {"signs"}


@pytest.mark.parametrize("kind", [OwnGradient, WholeNumbers, Complex, ComplexLayers])
def test_they_are_served_in_float32(kind: type[Odd], tmp_path: Any) -> None:
    task = task_of(kind)
    runtime = load_runtime("eager")
    realised = runtime.build(task.model, REQUESTS["float32"], task, tmp_path)
    assert realised["agreement"]["relative_error"] < 1e-4
