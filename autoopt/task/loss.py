"""Losses: what fine-tuning and distillation minimise against the targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F

from autoopt.errors import DataError, UnknownNameError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

IGNORED_CLASS = -100


@final
@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy of logits.

    Attributes
    ----------
    axis
        Axis of the outputs that holds the classes: 1, or -1 as transformers have it.

    Notes
    -----
    Targets are class numbers (-100: not counted), or one probability a class (one-hot rows of any
    type), then of the shape of the outputs.
    """

    axis: int = 1

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss, a scalar."""
        logits = outputs.movedim(self.axis, 1)
        if targets.shape == outputs.shape:
            return F.cross_entropy(logits, targets.to(logits.dtype).movedim(self.axis, 1))
        shape = (logits.shape[0], *logits.shape[2:])
        return F.cross_entropy(logits, targets.reshape(shape), ignore_index=IGNORED_CLASS)

    def counted(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return which predictions count, in the shape of the outputs without their classes."""
        shape = outputs.movedim(self.axis, -1).shape[:-1]
        if targets.shape == outputs.shape:
            return torch.ones(shape, dtype=torch.bool)
        return targets.reshape(shape) != IGNORED_CLASS


@final
@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Binary cross entropy of one score a label.

    Attributes
    ----------
    probabilities
        The outputs are probabilities already; otherwise they are logits.
    """

    probabilities: bool = False

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss, a scalar."""
        wanted = targets.reshape(outputs.shape).to(outputs.dtype)
        if self.probabilities:
            # A compressed network may leave the interval by rounding.
            return F.binary_cross_entropy(outputs.clamp(0, 1), wanted)
        return F.binary_cross_entropy_with_logits(outputs, wanted)


@final
@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared difference, with targets brought to the shape of the outputs."""

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss, a scalar."""
        return F.mse_loss(outputs, targets.reshape(outputs.shape).to(outputs.dtype))


LOSSES: dict[str, Callable[[], Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "cross_entropy": CrossEntropy,
    "mean_squared_error": MeanSquaredError,
}


def given_loss(loss: Any) -> Loss:
    """Return a loss that was given by name or as a callable.

    Raises
    ------
    UnknownNameError
        If the name is not one of `LOSSES`.
    DataError
        If it is neither a name nor a callable.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise UnknownNameError("loss", loss, LOSSES)
        return LOSSES[loss]()
    if inspect.isclass(loss) or not callable(loss):
        shown = f"the class {loss.__name__}" if inspect.isclass(loss) else repr(loss)
        raise DataError(
            f"`loss` must be a function (outputs, targets) -> scalar tensor, but got {shown}."
        )
    found: Loss = loss
    return found
