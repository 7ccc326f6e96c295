"""What the task is, guessed from outputs and targets, and said aloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from autoopt.errors import DataError
from autoopt.task.language import NextTokenLoss, Perplexity
from autoopt.task.loss import (
    IGNORED_CLASS,
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MeanSquaredError,
)
from autoopt.task.metric import Accuracy, RSquared, Score

Kind = Literal["classification", "regression", "custom"]


@dataclass(frozen=True)
class Guess:
    """What fits outputs and targets.

    Attributes
    ----------
    kind
        Of the task.
    loss, score
        The usual ones.
    because
        Reason in words, for the notes: "the targets are 10 integer classes".
    """

    kind: Kind
    loss: Loss
    score: Score
    because: str

    @property
    def metric_name(self) -> str:
        """Name of the usual metric."""
        if isinstance(self.score, Perplexity):
            return "perplexity"
        return "accuracy" if isinstance(self.score, Accuracy) else "r2"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Whether greater or smaller values of the usual metric are better."""
        return "minimize" if isinstance(self.score, Perplexity) else "maximize"


def guess(outputs: torch.Tensor, targets: torch.Tensor, shift: int | None = None) -> Guess | None:
    """Return what fits, or None if the shapes do not tell.

    Parameters
    ----------
    outputs
        The model's outputs for some samples.
    targets
        Targets of all samples (or of as many as were read).
    shift
        How far targets must be moved to be the next tokens, where the model foretells them.

    Raises
    ------
    DataError
        If the targets are class numbers that the outputs do not have.
    """
    shape, wanted = tuple(outputs.shape[1:]), tuple(targets.shape[1:])
    single = outputs[0].numel() == 1 and targets[0].numel() == 1
    two = bool(((targets == 0) | (targets == 1)).all())
    if single:
        return _binary(outputs, "0 or 1") if two else _regression(targets)
    if shift is not None:
        return _next_token(outputs.shape[2], targets, shift)
    if not targets.is_floating_point():
        axis = _class_axis(shape, wanted)
        if axis is not None:
            return _classes(outputs.shape[axis], axis, targets)
    if shape != wanted:
        return None
    if len(shape) == 1 and two:
        # Labels are hardly ever exactly one in every sample, so this is one-hot, whatever its type.
        if bool((targets.sum(dim=1) == 1).all()):
            because = f"the targets are one-hot rows of {shape[0]} classes"
            return Guess("classification", CrossEntropy(1), Accuracy(1), because)
        return _binary(outputs, f"{shape[0]} labels of 0 or 1 a sample")
    return _regression(targets)


def _class_axis(shape: tuple[int, ...], wanted: tuple[int, ...]) -> int | None:
    """Return the axis of the outputs that holds classes for integer targets, if any."""
    if not shape:
        return None
    if wanted in (shape[1:], (1,)) and (wanted != (1,) or len(shape) == 1) and shape[0] > 1:
        return 1
    if wanted == shape[:-1] and shape[-1] > 1:
        return len(shape)
    return None


def _classes(count: int, axis: int, targets: torch.Tensor) -> Guess:
    _check_range(count, targets)
    because = f"the targets are {count} integer classes"
    return Guess("classification", CrossEntropy(axis), Accuracy(axis), because)


def _next_token(count: int, targets: torch.Tensor, shift: int) -> Guess:
    _check_range(count, targets)
    moved = "the input's own tokens" if shift else "the input's tokens moved by one"
    because = (
        f"the model is causal and the targets are {moved}: every output is compared with the token "
        "that follows"
    )
    return Guess("classification", NextTokenLoss(shift), Perplexity(shift), because)


def _check_range(count: int, targets: torch.Tensor) -> None:
    """Hold that integer targets are classes that the outputs have."""
    counted = targets[targets != IGNORED_CLASS]
    if not len(counted):
        raise DataError(f"all targets are {IGNORED_CLASS}, which means: not counted. Give labels.")
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= count:
        raise DataError(
            f"the targets must be classes from 0 to {count - 1}, because the model has {count} "
            f"outputs, but they go from {low} to {high}. Number the classes from 0 in the order of "
            "the outputs."
        )


def _binary(outputs: torch.Tensor, what: str) -> Guess:
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    read = "the outputs lie between 0 and 1, so they are read as probabilities"
    because = f"the targets are {what}" + (f" and {read}" if inside else "")
    score = Accuracy(None, 0.5 if inside else 0.0)
    return Guess("classification", BinaryCrossEntropy(inside), score, because)


def _regression(targets: torch.Tensor) -> Guess:
    held = "floating numbers" if targets.is_floating_point() else "integers that are no classes"
    because = f"the targets are {held}"
    return Guess("regression", MeanSquaredError(), RSquared(), because)
