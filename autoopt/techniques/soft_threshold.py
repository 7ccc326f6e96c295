"""Sparsifying fine-tuning: training and soft thresholds in turn."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from autoopt.errors import RefusedError
from autoopt.techniques._bounds import check_number, check_whole
from autoopt.techniques._own_training import train_on
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._sparse_layers import NO_WEIGHTS, sparse_weights

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


@dataclass(frozen=True)
class SoftThreshold(Rewriting):
    """Shrink all weights by a threshold and train on, epoch after epoch.

    Proximal gradient descent on the loss plus an L1 penalty, with an epoch as its step (Parikh &
    Boyd 2014, Proximal Algorithms, section 6.5.2): weights that training does not restore reach
    zero and stay there.

    Attributes
    ----------
    strength
        What all thresholds of a layer add up to, in standard deviations of its weights, > 0.
    epochs
        Thresholds, each followed by an epoch of training.
    """

    trains: ClassVar[bool] = True

    strength: float = 1.0
    epochs: int = 4

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("strength", self.strength, above=0)
        check_whole("epochs", self.epochs, 1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is nothing to shrink, or None."""
        return None if sparse_weights(task.model) else NO_WEIGHTS

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a trained copy with zeros; there are no edits.

        Raises
        ------
        RefusedError
            If the network has no such weights.
        DivergedError
            If the loss or a weight is no longer finite.
        """
        weights = sparse_weights(model)
        if not weights:
            raise RefusedError(NO_WEIGHTS)
        network = copy.deepcopy(model).eval()
        thresholds = {
            name: self.strength * float(weight.detach().std(unbiased=False)) / self.epochs
            for name, weight in weights.items()
        }
        for _ in range(self.epochs):
            for name, weight in sparse_weights(network).items():
                weight.data.copy_(soft_threshold(weight.detach(), thresholds[name]))
            network = train_on(network, task)
        return network, ()


def soft_threshold(x: Tensor, threshold: float) -> Tensor:
    """Return x − a · sign(x), clipped at zero: the minimiser of (y − x)² / 2 + a · |y|."""
    return x.sign() * (x.abs() - threshold).clamp_min(0)
