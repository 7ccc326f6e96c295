"""Layers whose weights lie packed in few bits and are unpacked at every call."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from autoopt.precision import Grid, Stored, as_rows, fields, pack_field, quantizable, store


class PackedLayer(nn.Module):
    """A linear layer or a convolution with packed weights.

    Parameters
    ----------
    layer
        What to pack; its bias stays as it is.
    grid
        Which numbers its weights may take.
    """

    def __init__(self, layer: Any, grid: Grid) -> None:
        super().__init__()
        stored = store(as_rows(layer.weight), grid)
        self.shape = tuple(layer.weight.shape)
        self.bits = stored.bits
        self.grid = grid
        for width, shift in fields(stored.bits):
            field = torch.from_numpy(pack_field(stored.codes, width, shift).copy())
            self.register_buffer(f"field_{width}", field)
        self._keep_numbers(stored)
        self.layer = copy.copy(layer)
        self.layer._parameters = {**layer._parameters, "weight": None}

    def _keep_numbers(self, stored: Stored) -> None:
        """Keep what turns codes into numbers; zeros other than affine ones follow from the bits."""
        if stored.codebook.size:
            self.register_buffer("codebook", torch.from_numpy(stored.codebook.copy()))
            return
        self.register_buffer("scales", torch.from_numpy(stored.scales.copy()))
        if self.grid.scheme == "affine":
            self.register_buffer("zeros", torch.from_numpy(stored.zeros.copy()))
        else:
            self.zero = float(stored.zeros.flat[0])

    @property
    def bias(self) -> torch.Tensor | None:
        """The layer's bias."""
        bias: torch.Tensor | None = self.layer.bias
        return bias

    @property
    def weight(self) -> torch.Tensor:
        """The weights in float32."""
        codes = self._codes()
        if self.grid.scheme == "codebook":
            book: torch.Tensor = self.get_buffer("codebook")
            return book[codes.to(torch.int32)].reshape(self.shape)
        rows = codes.to(torch.float32).reshape(self.shape[0], -1)
        if self.grid.scheme == "affine":
            rows = rows - self._spread(self.get_buffer("zeros"), rows)
        else:
            rows = rows - self.zero
        return (rows * self._spread(self.get_buffer("scales"), rows)).reshape(self.shape)

    def _codes(self) -> torch.Tensor:
        count = 1
        for size in self.shape:
            count *= size
        parts = []
        for width, shift in fields(self.bits):
            packed = self.get_buffer(f"field_{width}")
            if width < 8:
                mask = 2**width - 1
                places = [(packed >> place) & mask for place in range(0, 8, width)]
                packed = torch.stack(places, dim=1).reshape(-1)[:count]
            parts.append(packed << shift if shift else packed.reshape(-1))
        codes = parts[0]
        for part in parts[1:]:
            codes = codes | part
        return codes

    def _spread(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each weight from one for each group."""
        if self.grid.granularity != "per_group":
            return values
        each = values[:, :, None].expand(-1, -1, self.grid.group)
        return each.reshape(len(values), -1)[:, : rows.shape[1]]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute with the unpacked weights."""
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, self.weight, self.bias)
        result: torch.Tensor = self.layer._conv_forward(x, self.weight, self.bias)
        return result


def pack_layers(network: nn.Module, grids: Mapping[str, Grid]) -> nn.Module:
    """Return a copy of the network with the layers packed that `grids` names.

    A layer that stands in several places is packed once and shared as before.
    """
    packed = copy.deepcopy(network)
    made = {id(layer): PackedLayer(layer, grids[name])
            for name, layer in quantizable(packed).items() if name in grids}  # fmt: skip
    for module in list(packed.modules()):
        # Not named_children, which shows a shared layer once.
        for name, child in list(module._modules.items()):
            if id(child) in made:
                setattr(module, name, made[id(child)])
    return made.get(id(packed), packed)
