"""Distillation: training with the outputs of the original as soft targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional as F

from autoopt.task.loss import BinaryCrossEntropy
from autoopt.techniques._bounds import check_number
from autoopt.techniques._training import Loss, check_course, train

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task
    from autoopt.watch import Watch


RANDOM_DATA = (
    "the data are drawn anew at every reading, so what other teachers than the original say of "
    "them cannot be kept; use distill"
)


@dataclass(frozen=True)
class Distill:
    """Learn from the original (Hinton et al. 2015, arXiv 1503.02531).

    The loss is ``alpha`` · T² · KL(teacher / T ‖ student / T) + (1 − ``alpha``) · the task's loss;
    for values instead of classes, the mean squared difference to the original's outputs takes
    the place of the divergence. Places whose target is ignored (-100: padding, above all) count in
    neither. The original runs once over the train part, or on each batch if
    the data is random and drawn anew at every reading.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached or
        the validation loss stagnates (half of the epochs, at least four).
    temperature
        T: how much the original's outputs are softened.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the original's outputs, from 0 to 1.
    """

    epochs: int = 6
    temperature: float = 4.0
    learning_rate: float = 2e-3
    alpha: float = 0.9

    watched: ClassVar[bool] = True
    """Its training can be given up and gone on with."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_number("temperature", self.temperature, above=0)
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
        loss = soft_targets(task, task.teacher_outputs(), self.temperature, self.alpha)
        return train(
            model,
            task,
            loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            watch=watch,
        )


def blended(
    task: Task, teacher: Tensor, imitation: Callable[[Tensor, Tensor], Tensor], alpha: float
) -> Loss:
    """Return ``alpha`` · imitation of the teacher + (1 − ``alpha``) · the task's loss.

    Parameters
    ----------
    task
        Gives the loss on targets.
    teacher
        Outputs on the train part, in order.
    imitation
        ``imitation(outputs, teacher's outputs)`` of the places that the task's loss counts, with
        classes on the last axis.
    alpha
        Weight of the imitation.
    """

    def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
        # Of data that is drawn anew at every reading, what was learnt of a row is of another draw.
        taught = task.taught(inputs) if task.redraws else teacher[rows]
        soft = imitation(*_counted(task, targets, outputs, taught))
        return alpha * soft + (1 - alpha) * task.loss(outputs, targets)

    return loss


def _counted(task: Task, targets: Tensor, outputs: Tensor, taught: Tensor) -> tuple[Tensor, Tensor]:
    """Return of both outputs the places that the loss counts; without classes all, as they are."""
    # Of what the outputs say, not of the loss: that may be the person's own.
    classes = task.form.of_classes
    if classes is None:
        return outputs, taught
    counted = classes.counted(outputs, targets)
    outputs, taught = (x.movedim(classes.axis, -1) for x in (outputs, taught))
    # Without copies where nothing is ignored, as nearly always.
    return (outputs, taught) if bool(counted.all()) else (outputs[counted], taught[counted])


def soft_targets(task: Task, teacher: Tensor, temperature: float, alpha: float) -> Loss:
    """Return the loss of `Distill` against any teacher's outputs on the train part."""
    return blended(task, teacher, _soft_loss(task, temperature), alpha)


def _soft_loss(task: Task, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a student's outputs against the teacher's: by what they say."""
    if task.form.name == "labels":
        loss = BinaryCrossEntropy(task.form.probabilities)
        return _BinaryImitation(1.0 if loss.probabilities else temperature, loss)
    if task.form.axis is not None:
        return _Divergence(temperature)
    return F.mse_loss


@dataclass(frozen=True)
class _Divergence:
    """T² · KL(teacher / T ‖ student / T), mean over all predictions; classes on the last axis."""

    temperature: float

    def __call__(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean, a scalar."""
        student = F.log_softmax(outputs / self.temperature, dim=-1)
        wanted = F.log_softmax(teacher / self.temperature, dim=-1)
        each = F.kl_div(student, wanted, reduction="none", log_target=True).sum(dim=-1)
        return each.mean() * self.temperature**2


@dataclass(frozen=True)
class _BinaryImitation:
    """T² · binary cross entropy against the teacher's probabilities."""

    temperature: float
    loss: BinaryCrossEntropy

    def __call__(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean, a scalar."""
        if self.loss.probabilities:
            return self.loss(outputs, teacher)
        wanted = torch.sigmoid(teacher / self.temperature)
        return self.loss(outputs / self.temperature, wanted) * self.temperature**2
