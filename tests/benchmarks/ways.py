"""Pairs of ways to do a thing, of which the field says that the first is better."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.replay import replay
from autoopt.techniques.distill import Distill
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.low_rank import ActivationSvd, Svd
from autoopt.techniques.sparse import SparsePruning
from autoopt.techniques.students import WidthStudent

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task
    from tests.benchmarks.paired import Make

STEPS = 4
STEP_RATE = 1e-3


def schedules(sparsity: float) -> tuple[Make, Make]:
    """Zero that share of the weights in four steps or in one; four epochs of training for both."""

    def at_once(model: nn.Module, task: Task) -> nn.Module:
        pruned = SparsePruning(sparsity, allocation="uniform").apply(model, task)
        return FineTune(STEPS, STEP_RATE).apply(pruned, task)

    in_steps = SparsePruning(sparsity, allocation="uniform", schedule="iterative", epochs=STEPS)
    return in_steps.apply, at_once


def factors(fraction: float) -> tuple[Make, Make]:
    """Split layers at that share of their rank by their outputs, or by their weights alone."""
    return ActivationSvd(fraction).apply, Svd(fraction).apply


@dataclass(frozen=True)
class Lessons:
    """Distillation and plain fine-tuning of a small student when labels are scarce.

    There the original's outputs tell more than labels do. Where data is plenty and epochs are few
    it is the other way round: soft targets start slower, and plain fine-tuning of the same length
    is ahead.

    Attributes
    ----------
    width
        Share of each layer that the student inherits.
    samples
        Of the shuffled train part, the first ones that it sees.
    epochs, rate
        Of both trainings.
    """

    width: float
    samples: int
    epochs: int
    rate: float

    def ways(self) -> tuple[Make, Make]:
        """Return both."""
        return self.distilled, self.finetuned

    def distilled(self, model: nn.Module, task: Task) -> nn.Module:
        """Teach the student by the original."""
        recovery = Distill(self.epochs, temperature=4.0, learning_rate=self.rate, alpha=0.9)
        return recovery.apply(self.student(model, task), self.scarce(task))

    def finetuned(self, model: nn.Module, task: Task) -> nn.Module:
        """Teach it by labels alone."""
        recovery = FineTune(self.epochs, self.rate)
        return recovery.apply(self.student(model, task), self.scarce(task))

    def student(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the student, untaught."""
        return replay(model, WidthStudent(self.width).edits(model, task))

    def scarce(self, task: Task) -> Task:
        """Return the task with few samples to learn from."""
        return dataclasses.replace(task, train=task.train.select(range(self.samples)))
