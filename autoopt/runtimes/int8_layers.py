"""Linear layers that multiply in int8 on tensor cores, their activations rounded as they come.

The product is torch's own (`torch._int_mm`), which torchao's layers of this kind call as well; the
rounding around it is written out, so that the program stays one of plain operators.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoopt.devices import CPU, device_of
from autoopt.errors import RefusedError
from autoopt.runtimes.layers import FLOAT, layer_bits
from autoopt.runtimes.torchao_layers import OnDevice

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization, Target
    from autoopt.task import Task

ON_CPU = (
    "torch's dynamically quantized layers hold packed objects that a .pt2 file cannot "
    "hold without running code on loading; use onnxruntime."
)
MULTIPLE = 8
"""Sizes of a layer that the product of integers takes are multiples of this."""

FEWEST_ROWS = 17
"""Rows that it takes at least."""

PADDING = 32
LEVELS = 127
LEAST = torch.finfo(torch.float32).tiny


def refuse_int8(request: Quantization, task: Task, target: Target) -> str | None:
    """Say why linear layers cannot be multiplied in int8 as asked on a target, or None."""
    if device_of(target.name) == CPU:
        return ON_CPU
    if request.granularity != "per_channel" or request.scheme != "symmetric":
        return (
            "int8 on tensor cores has symmetric weights and one scale an output channel, but got "
            f"(granularity={request.granularity!r}, scheme={request.scheme!r})."
        )
    if not fitting(task.model):
        return f"no linear layer of this model has sizes that are multiples of {MULTIPLE}."
    return None


def fitting(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers whose sizes the product takes, by their names."""
    return {
        name: module
        for name, module in network.named_modules()
        if type(module) is nn.Linear
        and module.weight.dtype == torch.float32
        and module.in_features % MULTIPLE == 0
        and module.out_features % MULTIPLE == 0
    }


class Int8Linear(nn.Module):
    """A linear layer whose weights are integers of 8 bits, one scale an output channel.

    Activations get a scale a row, from the largest of its values.

    Parameters
    ----------
    layer
        In float32.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=LEAST) / LEVELS
        codes = (weight / scale[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        self.register_buffer("weight", codes)
        self.register_buffer("scale", scale)
        bias: torch.Tensor | None = layer.bias  # annotated otherwise, but may be absent
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        # Torch's own encoder layers take their linear layers' weights past them, into a kernel for
        # floats, unless something hangs on these layers.
        self.register_forward_pre_hook(_nothing)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round the rows, multiply integers, and scale what comes out."""
        rows = x.reshape(-1, x.shape[-1])
        wide = rows.float()
        top = wide.abs().amax(dim=1, keepdim=True).clamp(min=LEAST) / LEVELS
        codes = (wide / top).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        weight: torch.Tensor = self.get_buffer("weight")
        # Of requests of few samples there may be fewer rows than the product takes.
        few = prod(x.shape[1:-1]) < FEWEST_ROWS
        if few:
            codes = nn.functional.pad(codes, (0, 0, 0, PADDING))
        product = torch._int_mm(codes, weight.t())
        if few:
            product = product[: rows.shape[0]]
        out = product.float() * top * self.get_buffer("scale").float()
        if self.bias is not None:
            out = out + self.bias.float()
        return out.to(x.dtype).reshape(*x.shape[:-1], weight.shape[0])


def _nothing(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Do nothing before a layer runs, but be there."""


def int8_module(
    network: nn.Module, request: Quantization, task: Task
) -> tuple[nn.Module, dict[str, int]]:
    """Return the network with its positional face, linear layers in int8 and the rest in bfloat16.

    And the bits of each layer that could be in int8.

    Raises
    ------
    RefusedError
        If what is kept leaves no layer.
    """
    layers = fitting(network)
    bits = layer_bits(request, list(layers))
    chosen = {name for name, count in bits.items() if count != FLOAT}
    if not chosen:
        raise RefusedError("no linear layer of this network is left to multiply in int8.")
    inside = OnDevice(task.wrapped(network), torch.bfloat16, CPU)
    # Made of the weights in float32, and put in afterwards, so that scales are not rounded too.
    new = {
        id(module): Int8Linear(layers[name])
        for name, module in inside.inner.named_modules()
        if name in chosen
    }
    for parent in list(inside.modules()):
        # `named_children` names a layer that stands in two places once.
        for name, child in list(parent._modules.items()):
            if id(child) in new:
                setattr(parent, name, new[id(child)])
    return inside.eval(), bits
