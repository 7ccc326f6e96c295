"""Distillation without softening: the original's raw outputs as values to meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional as F

from autoopt.techniques._bounds import check_number
from autoopt.techniques._training import check_course, train
from autoopt.techniques.distill import blended

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.task import Task
    from autoopt.watch import Watch


@dataclass(frozen=True)
class DistillLogits:
    """Meet the original's logits (Ba & Caruana 2014, arXiv 1312.6184).

    The loss is ``alpha`` · mean (outputs − original's outputs)² + (1 − ``alpha``) · the task's
    loss: what soft targets become at a high temperature, without one to choose.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the original's outputs, from 0 to 1.
    """

    epochs: int = 6
    learning_rate: float = 2e-3
    alpha: float = 0.5

    watched: ClassVar[bool] = True
    """Its training can be given up and gone on with."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_number("alpha", self.alpha, least=0, most=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Refuse nothing: the original can always be asked."""
        return None

    def apply(self, model: nn.Module, task: Task, watch: Watch | None = None) -> nn.Module:
        """Return a trained copy in eval mode, unless the watch gives it up.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """
        loss = blended(task, task.teacher_outputs(), F.mse_loss, self.alpha)
        return train(
            model,
            task,
            loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            watch=watch,
        )
