"""Reversed distillation: the small network teaches the large one first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.task.teaching import outputs_on
from autoopt.techniques._bounds import check_number
from autoopt.techniques._training import check_course, judged_loss, train
from autoopt.techniques.distill import RANDOM_DATA, soft_targets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task

TEACHER_RATE = 0.3
"""Share of the rate at which the original is trained on: it is near its optimum."""


@dataclass(frozen=True)
class DistillReversed:
    """Let the student teach the original, then learn from it (Yuan et al. 2020, arXiv 1909.11723).

    The student is trained on the labels; its soft outputs, which regularise better than labels,
    train a copy of the original on; that copy, where it became better on the validation part,
    teaches the student. It costs about three trainings.

    Attributes
    ----------
    epochs
        Passes over the train part at most, for each of the three; fewer when the original's
        quality is reached.
    temperature
        How much outputs are softened.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the teacher's outputs, from 0 to 1.
    """

    epochs: int = 6
    temperature: float = 4.0
    learning_rate: float = 2e-3
    alpha: float = 0.9

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_number("temperature", self.temperature, above=0)
        check_number("alpha", self.alpha, least=0, most=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that data drawn anew at every reading would need the new teacher at every step."""
        return RANDOM_DATA if task.redraws else None

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy in eval mode.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """

        def hard(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
            return task.loss(outputs, targets)

        rate = self.learning_rate
        small = train(model, task, hard, epochs=self.epochs, learning_rate=rate)
        teaching = soft_targets(task, outputs_on(task, small), self.temperature, self.alpha)
        large = train(
            task.model, task, teaching, epochs=self.epochs, learning_rate=TEACHER_RATE * rate
        )
        better = judged_loss(large, task) < judged_loss(task.model, task)
        teacher = outputs_on(task, large) if better else task.teacher_outputs()
        loss = soft_targets(task, teacher, self.temperature, self.alpha)
        return train(small, task, loss, epochs=self.epochs, learning_rate=rate)
