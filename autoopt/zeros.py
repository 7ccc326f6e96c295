"""The zeros among the weights of a network: what unstructured pruning leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def matrices(network: nn.Module) -> list[nn.Parameter]:
    """Return the real matrices and kernels of a network; biases and norms are none."""
    return [p for p in network.parameters() if p.ndim > 1 and p.is_floating_point()]


def zero_share(network: nn.Module) -> float:
    """Return the share of exact zeros among the values of matrices and kernels."""
    weights = matrices(network)
    count = sum(weight.numel() for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / max(1, count)
