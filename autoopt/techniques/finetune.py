"""Fine-tuning: training on with the task's own loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autoopt.techniques._training import check_course, train

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task
    from autoopt.techniques._training import Loss
    from autoopt.watch import Watch


@dataclass(frozen=True)
class FineTune:
    """Train on with the task's loss.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached or
        the validation loss stagnates (half of the epochs, at least four).
    learning_rate
        The highest one of the schedule.
    """

    epochs: int = 6
    learning_rate: float = 2e-3

    watched: ClassVar[bool] = True
    """Its training can be given up and gone on with."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Refuse nothing: every task has a loss and a train part."""
        return None

    def apply(self, model: nn.Module, task: Task, watch: Watch | None = None) -> nn.Module:
        """Return a trained copy in eval mode, unless the watch gives it up.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """
        loss = own_loss(task)
        return train(
            model,
            task,
            loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            watch=watch,
        )


def own_loss(task: Task) -> Loss:
    """Return the task's loss as `train` takes it."""

    def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
        return task.loss(outputs, targets)

    return loss
