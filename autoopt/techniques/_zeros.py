"""Weights that are exactly zero stay zero while others are trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        for parameter in _weights(network):
            kept = parameter.detach() != 0
            if 0 < int(kept.sum()) < kept.numel():
                self._kept.append((parameter, kept))

    @torch.no_grad()
    def hold(self) -> None:
        """Set them to zero again."""
        for parameter, kept in self._kept:
            parameter.mul_(kept)


def _weights(network: nn.Module) -> list[nn.Parameter]:
    return [p for p in network.parameters() if p.ndim > 1 and p.is_floating_point()]


def zero_share(network: nn.Module) -> float:
    """Return the share of exact zeros among the values of matrices and kernels."""
    weights = _weights(network)
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, count)
