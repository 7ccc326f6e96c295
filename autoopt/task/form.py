"""What a model's outputs say: scores of classes, of labels, or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from autoopt.task.language import NextTokenLoss
from autoopt.task.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

if TYPE_CHECKING:
    from autoopt.task.loss import Loss


@final
@dataclass(frozen=True)
class Form:
    """How outputs are read.

    Attributes
    ----------
    name
        ``"classes"`` (one score a class, one class wins), ``"tokens"`` (the same at every place of
        a text), ``"labels"`` (one score for each yes or no), ``"values"``, or ``"unknown"``.
    axis
        Axis of the outputs that holds the classes; None without classes.
    probabilities
        Scores of labels are probabilities; otherwise they are logits.
    shift
        For tokens, how far the target of a place lies behind it; see `NextTokenLoss`.
    """

    name: Literal["classes", "tokens", "labels", "values", "unknown"] = "unknown"
    axis: int | None = None
    probabilities: bool = False
    shift: int = 0

    @property
    def of_classes(self) -> CrossEntropy | NextTokenLoss | None:
        """What knows which places of outputs count, whatever the loss; None without classes."""
        if self.axis is None:
            return None
        return NextTokenLoss(self.shift) if self.name == "tokens" else CrossEntropy(self.axis)


def form_of(loss: Loss) -> Form:
    """Return what outputs say that one of autoopt's own losses fits; unknown for any other."""
    if isinstance(loss, BinaryCrossEntropy):
        return Form("labels", probabilities=loss.probabilities)
    if isinstance(loss, MeanSquaredError):
        return Form("values")
    if isinstance(loss, NextTokenLoss):
        return Form("tokens", loss.axis, shift=loss.shift)
    return Form("classes", loss.axis) if isinstance(loss, CrossEntropy) else Form()
