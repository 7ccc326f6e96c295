"""Language models: whether the target is the next token, and how well it is foretold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from autoopt.task.layout import Inputs
from autoopt.task.loss import IGNORED_CLASS

Array = npt.NDArray[Any]
Run = Callable[[Inputs], torch.Tensor]

# Changing a token may move earlier outputs by rounding, not by more than this.
ROUNDING = 1e-4


@final
@dataclass(frozen=True)
class NextTokenLoss:
    """Cross entropy of every token, given those before it.

    Attributes
    ----------
    shift
        1 where the targets are the tokens themselves, as transformers have it, so that outputs at
        one place are compared with the target of the next; 0 where they are moved already.

    Notes
    -----
    Targets of -100 are not counted.
    """

    axis: ClassVar[int] = 2
    shift: int = 1

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss, a scalar."""
        logits = outputs[:, : outputs.shape[1] - self.shift]
        wanted = targets[:, self.shift :]
        return F.cross_entropy(logits.movedim(2, 1), wanted, ignore_index=IGNORED_CLASS)

    def counted(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return which places are counted, of shape (texts, places); the last have no next."""
        return F.pad(targets[:, self.shift :] != IGNORED_CLASS, (0, self.shift))


@final
@dataclass(frozen=True)
class Perplexity:
    """exp of the mean cross entropy over all counted tokens; 1 is perfect, smaller is better.

    Attributes
    ----------
    shift
        As in `NextTokenLoss`.
    """

    shift: int = 1

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the perplexity."""
        logits = outputs[:, : outputs.shape[1] - self.shift]
        wanted = targets[:, self.shift :]
        counted = wanted != IGNORED_CLASS
        if not counted.any():
            return float("nan")
        chosen = np.where(counted, wanted, 0)[..., None]
        logs = np.take_along_axis(log_softmax(logits, axis=-1), chosen, axis=-1)[..., 0]
        return float(np.exp(-logs[counted].mean(dtype=np.float64)))


def next_token_shift(inputs: Inputs, targets: torch.Tensor, run: Run) -> int | None:
    """Return how far targets must be moved to be the next tokens, or None if they are not.

    They are where a causal model (what comes later changes no earlier output) has scores of
    tokens for every place, and the targets are one of its inputs: as it is (1), or moved (0).

    Parameters
    ----------
    inputs, targets
        A batch.
    run
        The model.
    """
    if targets.is_floating_point() or targets.ndim != 2 or targets.shape[1] < 2:
        return None
    for number, tokens in enumerate(inputs):
        if tokens.is_floating_point() or tokens.shape != targets.shape:
            continue
        shift = _shift(tokens.long(), targets)
        if shift is not None and _is_causal(inputs, number, run):
            return shift
    return None


def _shift(tokens: torch.Tensor, targets: torch.Tensor) -> int | None:
    counted = targets != IGNORED_CLASS
    if bool((tokens == targets)[counted].all()):
        return 1
    if bool((tokens[:, 1:] == targets[:, :-1])[counted[:, :-1]].all()):
        return 0
    return None


@torch.no_grad()
def _is_causal(inputs: Inputs, number: int, run: Run) -> bool:
    """Say whether the last token has no say in the outputs before it."""
    tokens = inputs[number]
    changed = tokens.clone()
    # Another token of the same sample is one that the model knows.
    other = torch.where(tokens[:, -1:] != tokens[:, :1], tokens[:, :1], tokens[:, 1:2])
    changed[:, -1:] = other
    before = run(inputs)
    if before.ndim != 3 or before.shape[:2] != tokens.shape:
        return False
    after = run((*inputs[:number], changed, *inputs[number + 1 :]))
    moved = bool((changed != tokens).any())
    return moved and torch.allclose(before[:, :-1], after[:, :-1], rtol=ROUNDING, atol=ROUNDING)
