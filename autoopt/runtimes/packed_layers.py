"""Weights that lie packed in few bits and are unpacked at every use."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from autoopt.precision import Grid, Weight, fields, holders, pack_field, quantizable, store


class PackedWeight(nn.Module):
    """The parametrization of a weight by packed codes, and what turns these into numbers.

    Parameters
    ----------
    weight
        What to pack.
    grid
        Which numbers it may take.
    """

    def __init__(self, weight: Weight, grid: Grid) -> None:
        super().__init__()
        self._stored = stored = store(weight.rows(), grid)
        self.shape = tuple(weight.tensor.shape)
        self.rows = stored.codes.shape[0]
        self.turned = weight.turned
        self.bits, self.grid = stored.bits, grid
        # Those other than affine ones follow from the bits.
        self.zero = 0.0 if stored.codebook.size else float(stored.zeros.flat[0])

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the packed fields of the codes, then the codebook, or scales and affine zeros."""
        stored = self._stored
        parts = [pack_field(stored.codes, width, shift) for width, shift in fields(self.bits)]
        if stored.codebook.size:
            numbers = [stored.codebook]
        else:
            numbers = [stored.scales, stored.zeros][: 1 + (self.grid.scheme == "affine")]
        arrays: list[Any] = [*parts, *numbers]
        return tuple(torch.from_numpy(array.copy()) for array in arrays)

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        """Return the weight in float32, from what `right_inverse` gave."""
        count = len(fields(self.bits))
        codes, numbers = self._codes(parts[:count]), parts[count:]
        if self.grid.scheme == "codebook":
            return self._shaped(numbers[0][codes.to(torch.int32)].reshape(self.rows, -1))
        rows = codes.to(torch.float32).reshape(self.rows, -1)
        affine = self.grid.scheme == "affine"
        rows = rows - (self._spread(numbers[1], rows) if affine else self.zero)
        return self._shaped(rows * self._spread(numbers[0], rows))

    def _shaped(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.t() if self.turned else rows.reshape(self.shape)

    def _codes(self, packed: tuple[torch.Tensor, ...]) -> torch.Tensor:
        codes = None
        for (width, shift), field in zip(fields(self.bits), packed, strict=True):
            if width < 8:
                mask = 2**width - 1
                places = [(field >> place) & mask for place in range(0, 8, width)]
                field = torch.stack(places, dim=1).reshape(-1)[: prod(self.shape)]
            field = field << shift if shift else field.reshape(-1)
            codes = field if codes is None else codes | field
        assert codes is not None
        return codes

    def _spread(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return a number for each weight from one for each group."""
        if self.grid.granularity != "per_group":
            return values
        each = values[:, :, None].expand(-1, -1, self.grid.group)
        return each.reshape(len(values), -1)[:, : rows.shape[1]]


def pack_layers(network: nn.Module, grids: Mapping[str, Grid]) -> nn.Module:
    """Return a copy of the network with the weights packed that `grids` names.

    A weight that stands in several places, an embedding among them, is packed once and shared as
    before.
    """
    packed = copy.deepcopy(network)
    for name, weight in quantizable(packed).items():
        if name not in grids or parametrize.is_parametrized(weight.layer, weight.parameter):
            continue
        places = holders(packed, weight)
        # Codes are integers, which have no gradient.
        weight.tensor.requires_grad_(False)
        codes = PackedWeight(weight, grids[name])
        for module, parameter in places:
            parametrize.register_parametrization(module, parameter, codes)
        first, *others = [module.parametrizations[parameter] for module, parameter in places]
        for other in others:
            for part, held in first.named_parameters(recurse=False):
                setattr(other, part, held)
    return packed
