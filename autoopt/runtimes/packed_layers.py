"""Layers whose weights lie packed in 8 or 4 bits and are unpacked at every call."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.runtimes.packing import pack_nibbles, round_weights

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class PackedLayer(nn.Module):
    """A linear layer or a convolution with packed weights.

    Parameters
    ----------
    layer
        What to pack; its bias stays as it is.
    bits
        8 or 4.
    """

    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, layer: Any, bits: int) -> None:
        super().__init__()
        weights = layer.weight.detach().float()
        integers, scales = round_weights(weights.numpy(), bits)
        content = integers if bits == 8 else pack_nibbles(integers)
        self.shape = tuple(weights.shape)
        self.bits = bits
        self.register_buffer("packed", torch.from_numpy(content.copy()))
        self.register_buffer("scales", torch.from_numpy(scales.copy()))
        self.layer = copy.copy(layer)
        self.layer._parameters = {**layer._parameters, "weight": None}

    @property
    def bias(self) -> torch.Tensor | None:
        """The layer's bias."""
        bias: torch.Tensor | None = self.layer.bias
        return bias

    @property
    def weight(self) -> torch.Tensor:
        """The weights in float32."""
        integers = self.packed
        if self.bits == 4:
            # Moving 8 and back down extends the sign.
            low, high = integers & 15, integers >> 4
            halves = torch.stack([low, high], dim=1).reshape(-1).to(torch.int8)
            count = 1
            for size in self.shape:
                count *= size
            integers = ((halves + 8) % 16 - 8)[:count].reshape(self.shape)
        scales = self.scales.reshape(-1, *[1] * (len(self.shape) - 1))
        return integers.to(torch.float32) * scales

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute with the unpacked weights."""
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, self.weight, self.bias)
        result: torch.Tensor = self.layer._conv_forward(x, self.weight, self.bias)
        return result


def pack_layers(network: nn.Module, bits: int) -> tuple[nn.Module, int]:
    """Return a copy of the network with packed layers, and how many they are."""
    packed = copy.deepcopy(network)
    made: dict[int, PackedLayer] = {}
    for module in list(packed.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, KINDS) and child.weight.dtype == torch.float32:
                if id(child) not in made:
                    made[id(child)] = PackedLayer(child, bits)
                setattr(module, name, made[id(child)])
    return packed, len(made)
