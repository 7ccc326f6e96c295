"""Distillation from several teachers: the original and snapshots of its further training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from autoopt.task.teaching import outputs_on
from autoopt.techniques._bounds import check_number, check_whole
from autoopt.techniques._training import check_course, train
from autoopt.techniques.distill import RANDOM_DATA, soft_targets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task

SNAPSHOT_EPOCHS = 2
SNAPSHOT_RATE = 3e-3
"""High enough to leave the original's optimum for another near it."""


@dataclass(frozen=True)
class DistillEnsemble:
    """Learn from the mean of the original and of snapshots (Huang et al. 2017, arXiv 1704.00109).

    A snapshot is the original after two more epochs at a high rate in an order of its own; what
    the mean knows more than the original, a student can take over. Snapshots are made once a
    process. Networks of the person's own (``teachers=``) are in the mean too.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached.
    members
        Snapshots beside the original.
    temperature
        How much the mean's outputs are softened.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the teachers' outputs, from 0 to 1.
    """

    epochs: int = 6
    members: int = 2
    temperature: float = 4.0
    learning_rate: float = 2e-3
    alpha: float = 0.9

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_number("temperature", self.temperature, above=0)
        check_number("alpha", self.alpha, least=0, most=1)
        check_whole("members", self.members, 1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that data drawn anew at every reading would need every snapshot at every step."""
        return RANDOM_DATA if task.redraws else None

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy in eval mode.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """
        loss = soft_targets(task, mean_outputs(task, self.members), self.temperature, self.alpha)
        return train(model, task, loss, epochs=self.epochs, learning_rate=self.learning_rate)


@lru_cache(maxsize=2)
def mean_outputs(task: Task, members: int) -> Tensor:
    """Return the mean outputs of the teachers and `members` snapshots on the train part."""

    def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
        return task.loss(outputs, targets)

    every = [task.teacher_outputs()] * (1 + len(task.teachers))
    for number in range(members):
        own = dataclasses.replace(task, seed=task.seed + 1 + number)
        snapshot = train(task.model, own, loss, epochs=SNAPSHOT_EPOCHS, learning_rate=SNAPSHOT_RATE)
        every.append(outputs_on(task, snapshot))
    return torch.stack(every).mean(dim=0)
