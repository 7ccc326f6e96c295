"""A layer as a product of two smaller ones: low-rank factors of linear layers and convolutions.

A weight is read as a matrix W (outputs × inputs); W ≈ L · R with L of `rank` columns. The best
such product in the Frobenius norm is the truncated singular value decomposition, and its squared
error is the sum of the squared discarded singular values (Eckart & Young 1936).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from autoopt.errors import ModelError

Scheme = Literal["channel", "spatial"]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_transposed_linear(module: nn.Module) -> bool:
    """Say whether a module is the `Conv1D` of transformers: a linear layer stored (in, out)."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def unfit(module: nn.Module, scheme: Scheme = "channel") -> str | None:
    """Say why a module cannot be split into two factors, or None."""
    convolution = isinstance(module, _CONVOLUTIONS)
    if not (type(module) in (nn.Linear, *_CONVOLUTIONS) or is_transposed_linear(module)):
        return f"{type(module).__name__} is no linear layer and no convolution"
    weight: Any = module.weight
    if "weight" not in module._parameters:
        return "its weight is computed by a parametrization"
    if not weight.is_floating_point():
        return f"its weights are {weight.dtype}, and only real floating numbers are factored"
    if convolution and module.groups != 1:
        return f"it has {module.groups} groups"
    if scheme == "spatial" and convolution:
        return _not_separable(module)
    return None


def _not_separable(module: Any) -> str | None:
    if not isinstance(module, nn.Conv2d) or 1 in module.kernel_size:
        return f"its kernel {tuple(module.kernel_size)} has no two sides to separate"
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return f"its padding {module.padding!r} ({module.padding_mode}) cannot be separated"
    return None


def as_matrix(module: nn.Module, scheme: Scheme = "channel") -> Tensor:
    """Return the weight as a matrix (outputs × inputs), detached.

    Of a convolution (O × C × h × w): O × Chw, or in the spatial scheme Ow × Ch.
    """
    layer: Any = module
    weight: Tensor = layer.weight.detach()
    if is_transposed_linear(module):
        return weight.T
    if isinstance(module, nn.Conv2d) and scheme == "spatial":
        return weight.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)
    return weight.flatten(1)


def largest_rank(module: nn.Module, scheme: Scheme = "channel") -> int:
    """Return the largest rank whose two factors hold fewer weights than the layer."""
    rows, columns = as_matrix(module, scheme).shape
    return (rows * columns - 1) // (rows + columns)


def truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return L (rows × rank) and R (rank × columns), the best product for a matrix.

    The square roots of the singular values go to both, so that both learn at one pace.
    """
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).to(matrix.dtype), (root[:, None] * v[:rank]).to(matrix.dtype)


def factored(module: nn.Module, rank: int, scheme: Scheme = "channel") -> nn.Sequential:
    """Return the two layers of that rank which come closest to `module`.

    Raises
    ------
    ModelError
        If the module cannot be split, or the rank does not fit it.
    """
    if reason := unfit(module, scheme):
        raise ModelError(f"The plan factors a layer, but {reason}.")
    most = min(as_matrix(module, scheme).shape)
    if not 1 <= rank <= most:
        raise ModelError(f"The rank of this layer must be within 1–{most}, but got {rank}.")
    return pair(module, *truncated(as_matrix(module, scheme), rank), scheme)


def pair(
    module: nn.Module, left: Tensor, right: Tensor, scheme: Scheme = "channel"
) -> nn.Sequential:
    """Return the two layers that multiply with `right` and then with `left`, with the bias."""
    layer: Any = module
    rank = len(right)
    if isinstance(module, _CONVOLUTIONS):
        first, second = _convolutions(module, rank, scheme)
        if scheme == "spatial":
            high, wide = module.kernel_size
            right = right.unflatten(1, (-1, high)).unsqueeze(3)
            left = left.unflatten(0, (-1, wide)).permute(0, 2, 1).unsqueeze(2)
        else:
            right = right.unflatten(1, layer.weight.shape[1:])
            left = left[(...,) + (None,) * len(module.kernel_size)]
    else:
        first = skip_init(nn.Linear, right.shape[1], rank, bias=False)
        second = skip_init(nn.Linear, rank, len(left), bias=layer.bias is not None)
    # Made without drawing weights: the person's random generators stay as they were.
    made = nn.Sequential(first, second).to(layer.weight.device)
    for part, weight in ((first, right), (second, left)):
        part.weight = _parameter(weight, layer.weight)
    if layer.bias is not None:
        second.bias = _parameter(layer.bias.detach(), layer.bias)
    made.train(module.training)
    return made


def _convolutions(module: Any, rank: int, scheme: Scheme) -> tuple[Any, Any]:
    """Return the two convolutions, still without their weights."""
    make, bias = partial(skip_init, type(module)), module.bias is not None
    sides = (module.kernel_size, module.stride, module.padding, module.dilation)
    if scheme == "channel":
        options = {"bias": False, "padding_mode": module.padding_mode}
        first = make(module.in_channels, rank, *sides, **options)
        return first, make(rank, module.out_channels, 1, bias=bias)
    # Columns and rows: kernel, stride, padding and dilation each have one part of both.
    columns = [(side[0], still) for side, still in zip(sides, (1, 1, 0, 1), strict=True)]
    rows = [(still, side[1]) for side, still in zip(sides, (1, 1, 0, 1), strict=True)]
    first = make(module.in_channels, rank, *columns, bias=False)
    return first, make(rank, module.out_channels, *rows, bias=bias)


def _parameter(tensor: Tensor, like: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(tensor.contiguous().clone(), requires_grad=like.requires_grad)
