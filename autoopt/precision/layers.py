"""The layers of a network whose weights can be brought to few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.precision.grids import Grid
from autoopt.precision.ranges import exact_zero, widened
from autoopt.precision.stored import store

if TYPE_CHECKING:
    from torch import Tensor


def quantizable(network: Any) -> dict[str, Any]:
    """Return the linear layers and convolutions in float32 by their names, in the network's order.

    Integer and complex weights, and ones that are computed from others, are none of them.
    """
    import torch
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, kinds)
        and isinstance(module._parameters.get("weight"), torch.Tensor)
        and module.weight.dtype == torch.float32
    }


def as_rows(weight: Tensor) -> Any:
    """Return a layer's weights as a matrix, one row an output channel."""
    return np.ascontiguousarray(weight.detach().reshape(len(weight), -1).numpy())


def on_grid(weight: Tensor, grid: Grid) -> Tensor:
    """Return the nearest weights that a grid has."""
    import torch

    return torch.from_numpy(store(as_rows(weight), grid).restored().copy()).reshape(weight.shape)


def on_range(values: Tensor, *, symmetric: bool = False, bits: int = 8) -> Tensor:
    """Return activations rounded to the levels between their least and largest value.

    Zero is one of the levels, as in every runtime.
    """
    bounds = widened((float(values.min()), float(values.max())), symmetric=symmetric)
    low, high = exact_zero(bounds, bits)
    step = (high - low) / (2**bits - 1)
    rounded: Tensor = (values / step).round().clamp(round(low / step), round(high / step)) * step
    return rounded
