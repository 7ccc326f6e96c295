"""The weights of a network that can be brought to few bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import DivergedError
from autoopt.precision.grids import Grid
from autoopt.precision.ranges import exact_zero, widened
from autoopt.precision.stored import store

if TYPE_CHECKING:
    from torch import Tensor

MATRICES = ("weight_ih_l", "weight_hh_l")
"""How the matrices of a recurrent layer are called, before the number of the layer."""


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight and the layer that holds it.

    Attributes
    ----------
    layer
        The module.
    parameter
        The weight's name in the module.
    turned
        Whether output channels lie along the second axis, as in the `Conv1D` of transformers.
    """

    layer: Any
    parameter: str = "weight"
    turned: bool = False

    @property
    def tensor(self) -> Tensor:
        """The parameter itself."""
        found: Tensor = getattr(self.layer, self.parameter)
        return found

    @property
    def recurrent(self) -> bool:
        """Whether it is a matrix of a recurrent layer, which integers multiply nowhere."""
        return self.parameter.startswith(MATRICES)

    def rows(self) -> Any:
        """Return the weights as a matrix, one row an output channel."""
        return as_rows(self.tensor, turned=self.turned)

    def on_grid(self, grid: Grid) -> Tensor:
        """Return the nearest weights that a grid has, in the parameter's shape."""
        return shaped(store(self.rows(), grid).restored(), self.tensor, turned=self.turned)


def quantizable(network: Any) -> dict[str, Weight]:
    """Return the weights in float32 that can be brought to few bits, in the network's order.

    Those of linear layers, convolutions, the `Conv1D` of transformers and the projection of torch's
    own attention (query, key and value in one) by the layer's name; the matrices of recurrent
    layers by their own (``rnn.weight_ih_l0``). Integer and complex weights, and ones that are
    computed from others, are none of them.
    """
    import torch

    return {
        name: weight
        for name, weight in _weights(network)
        if isinstance(weight.layer._parameters.get(weight.parameter), torch.Tensor)
        and weight.tensor.dtype == torch.float32
    }


def _weights(network: Any) -> Iterator[tuple[str, Weight]]:
    from torch import nn

    from autoopt.factors import is_transposed_linear

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    for name, module in network.named_modules():
        if isinstance(module, kinds):
            yield name, Weight(module)
        elif is_transposed_linear(module):
            yield name, Weight(module, turned=True)
        elif isinstance(module, nn.MultiheadAttention):
            # Without it, where keys or values have other widths, there are three: see `left_out`.
            yield name, Weight(module, "in_proj_weight")
        elif isinstance(module, nn.RNNBase):
            for parameter in module._parameters:
                if parameter.startswith(MATRICES):
                    yield f"{name}.{parameter}".lstrip("."), Weight(module, parameter)


def left_out(network: Any) -> list[str]:
    """Return the layers whose weights multiply, but that no runtime stores in few bits.

    Transposed convolutions, whose output channels lie along another axis, and attention with
    widths of its own for keys and values.
    """
    from torch import nn
    from torch.nn.modules.conv import _ConvTransposeNd

    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, _ConvTransposeNd)
        or (isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is None)
    ]


def holders(network: Any, weight: Weight) -> list[tuple[Any, str]]:
    """Return every module that holds a weight's parameter, with its name there.

    Several where weights are tied, such as the embedding and the head of a language model.
    """
    wanted = weight.tensor
    return [
        (module, name)
        for module in network.modules()
        for name, parameter in module._parameters.items()
        if parameter is wanted
    ]


def as_rows(weight: Tensor, *, turned: bool = False) -> Any:
    """Return weights as a matrix, one row an output channel.

    Parameters
    ----------
    weight
        Of a layer.
    turned
        Whether output channels lie along its second axis.
    """
    whole = weight.detach()
    whole = whole.t() if turned else whole
    return np.ascontiguousarray(whole.reshape(len(whole), -1).numpy())


def shaped(rows: Any, like: Tensor, *, turned: bool = False) -> Tensor:
    """Return a matrix of weights, one row an output channel, in the shape of a parameter."""
    import torch

    found = torch.from_numpy(np.array(rows, np.float32))
    return found.t().contiguous() if turned else found.reshape(like.shape)


def on_range(values: Tensor, *, symmetric: bool = False, bits: int = 8) -> Tensor:
    """Return activations rounded to the levels between their least and largest value.

    Zero is one of the levels, as in every runtime.

    Raises
    ------
    DivergedError
        If a value is not finite, so that no range holds them all.
    """
    least, largest = float(values.min()), float(values.max())
    if not (math.isfinite(least) and math.isfinite(largest)):
        raise DivergedError(
            f"Activations to be rounded to {bits} bits must be finite, but reach from {least} to "
            f"{largest}: the network diverged; a lower learning rate may help."
        )
    bounds = widened((least, largest), symmetric=symmetric)
    low, high = exact_zero(bounds, bits)
    step = (high - low) / (2**bits - 1)
    rounded: Tensor = (values / step).round().clamp(round(low / step), round(high / step)) * step
    return rounded
