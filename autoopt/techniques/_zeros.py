"""Weights that are exactly zero stay zero while others are trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoopt.zeros import matrices


class HeldZeros:
    """The zeros of a network's weights when training began.

    A trained network has hardly a weight that is exactly zero, so zeros are weights that were
    pruned. A weight that is zero throughout was initialised so, and is left free to learn.

    Parameters
    ----------
    network
        Its matrices and kernels are looked through; biases and norms are not.
    """

    def __init__(self, network: nn.Module) -> None:
        self._kept: list[tuple[Tensor, Tensor]] = []
        for parameter in matrices(network):
            kept = parameter.detach() != 0
            if 0 < int(kept.sum()) < kept.numel():
                self._kept.append((parameter, kept))

    @torch.no_grad()
    def hold(self) -> None:
        """Set them to zero again."""
        for parameter, kept in self._kept:
            parameter.mul_(kept)
