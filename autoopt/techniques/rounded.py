"""Weights rounded to a grid and back: a start from which a recovery prepares for few bits."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError
from autoopt.techniques._bounds import check_choice
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._sparse_layers import NO_WEIGHTS, sparse_weights

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task

BITS = (2, 3, 4, 6, 8)


@dataclass(frozen=True)
class RoundedWeights(Rewriting):
    """Quantize the weights to a symmetric grid and dequantize them at once.

    What comes out is a float network again, within half a step of the original; training from
    there repairs what rounding broke. It is not stored in these bits: that is the quantization
    slot's to ask for.

    Attributes
    ----------
    bits
        2, 3, 4, 6 or 8.
    """

    trains: ClassVar[bool] = False

    bits: Literal[2, 3, 4, 6, 8] = 4

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("bits", self.bits, BITS)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is nothing to round, or None."""
        return None if sparse_weights(task.model) else NO_WEIGHTS

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a copy with rounded weights; there are no edits."""
        network = copy.deepcopy(model).eval()
        weights = sparse_weights(network)
        if not weights:
            raise RefusedError(NO_WEIGHTS)
        for weight in weights.values():
            weight.data.copy_(rounded(weight, self.bits)[0])
        return network, ()


def rounded(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return a weight on a symmetric grid of `bits` bits, and the step of each output.

    With the step s of an output's weights, max |w| / (2^(bits − 1) − 1), no weight moves by more
    than s / 2.
    """
    rows = weight.detach().flatten(1)
    steps = rows.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    steps = torch.where(steps == 0, torch.ones_like(steps), steps)
    grid = (rows / steps).round() * steps
    return grid.reshape(weight.shape), steps.squeeze(1)
