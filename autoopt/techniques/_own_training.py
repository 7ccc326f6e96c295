"""Training that a pruning technique does by itself, between its cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoopt.techniques._training import train

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.task import Inputs, Task

SCHEDULES = ("one_shot", "iterative")
# The usual rate of fine-tuning: a tenth to a third of that of training from scratch.
LEARNING_RATE = 1e-3


def train_on(network: nn.Module, task: Task, *, epochs: int = 1) -> nn.Module:
    """Return a copy that was trained on with the task's own loss; zeros stay zero.

    Raises
    ------
    DivergedError
        If the loss or a weight is no longer finite.
    """

    def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
        return task.loss(outputs, targets)

    return train(network, task, loss, epochs=epochs, learning_rate=LEARNING_RATE)
