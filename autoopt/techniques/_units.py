"""Units that structured pruning removes whole: channels, heads, feed-forward channels.

A unit has rows of the weights that produce it and columns of the weights that consume it. Removing
it is the same as setting its columns to zero: that is how cuts are checked, and why first-order
importance is read off the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError

if TYPE_CHECKING:
    from autoopt.plan import Edit

ALIGNMENT = 8


@dataclass(frozen=True)
class Slice:
    """Where the units of a group lie in one weight.

    Attributes
    ----------
    parameter
        Dotted name of the weight.
    axis
        Its axis that the units lie along.
    indices
        For each unit its indices along that axis.
    """

    parameter: str
    axis: int
    indices: tuple[tuple[int, ...], ...]

    def totals(self, values: Tensor) -> Tensor:
        """Return, for each unit, the sum of `values` (of the weight's shape) in its slice."""
        along = values.movedim(self.axis, 0).flatten(1).sum(dim=1)
        owners = torch.cat([torch.full((len(own),), unit) for unit, own in enumerate(self.indices)])
        places = torch.tensor([place for own in self.indices for place in own])
        sums = torch.zeros(len(self.indices), dtype=along.dtype)
        return sums.index_add_(0, owners, along[places])

    @torch.no_grad()
    def zero(self, network: nn.Module, units: Sequence[int]) -> None:
        """Set the slices of these units to zero, in place."""
        places = [place for unit in units for place in self.indices[unit]]
        network.get_parameter(self.parameter).index_fill_(self.axis, torch.tensor(places), 0)


@dataclass(frozen=True)
class UnitGroup:
    """Units that lie side by side in the same weights.

    Attributes
    ----------
    name
        Dotted name of the layer or module that the group is called by.
    size
        Number of units.
    producers, consumers
        Rows that give the units, columns that take them.
    sets
        Number of equal parts the units stand in; each part keeps the same positions.
    aligned
        Kept units are rounded to a multiple of 8.
    """

    name: str
    size: int
    producers: tuple[Slice, ...]
    consumers: tuple[Slice, ...]
    sets: int = 1
    aligned: bool = True

    def kept(self, scores: Tensor, share: float) -> tuple[int, ...]:
        """Return the sorted units that stay when about `share` of them, the lowest, go."""
        positions = scores.reshape(self.sets, -1).mean(dim=0)
        count = self._count(share) // self.sets
        order = positions.argsort(descending=True, stable=True)[: max(1, count)].sort().values
        offsets = torch.arange(self.sets) * len(positions)
        return tuple((offsets[:, None] + order[None, :]).flatten().tolist())

    def lowest(self, scores: Tensor, share: float) -> tuple[int, ...]:
        """Return the units that go when about `share` of them do."""
        return tuple(sorted(set(range(self.size)) - set(self.kept(scores, share))))

    def _count(self, share: float) -> int:
        # Exact, so that several cuts round where a single one does.
        left = round(self.size * (1 - share), 6)
        if not self.aligned:
            return max(1, round(left))
        if share <= 0:
            return self.size
        if left >= ALIGNMENT:
            return min(self.size, ALIGNMENT * int(left / ALIGNMENT + 0.5))
        return min(self.size, max(4, round(left)))


class Units(Protocol):
    """What a kind of unit offers: its groups in a network, and the edits that remove some."""

    @property
    def groups(self) -> tuple[UnitGroup, ...]:
        """Groups, from the first layers to the last."""

    def edits(self, kept: Mapping[str, Sequence[int]]) -> tuple[Edit, ...]:
        """Return the edits that keep, of the group of each name, these units.

        Raises
        ------
        RefusedError
            If the network does not run after the cuts.
        """


class FoundGroup(Protocol):
    """A group that was found in a network, and how it is cut."""

    def group(self) -> UnitGroup:
        """Return where its units lie."""

    def edits(self, kept: Sequence[int]) -> Sequence[Edit]:
        """Return the edits that keep these units."""


class FoundUnits:
    """Units of groups that were found one by one.

    Parameters
    ----------
    found
        The groups, in the order in which they run.
    none
        What to say where there is no group.

    Raises
    ------
    RefusedError
        If there is no group.
    """

    def __init__(self, found: Iterable[FoundGroup], none: str) -> None:
        # By name: what is called twice is one group.
        self._found = {group.name: (group, item) for item in found for group in (item.group(),)}
        if not self._found:
            raise RefusedError(none)

    @property
    def groups(self) -> tuple[UnitGroup, ...]:
        """Groups in the order in which they run."""
        return tuple(group for group, _ in self._found.values())

    def edits(self, kept: Mapping[str, Sequence[int]]) -> tuple[Edit, ...]:
        """Return the edits that keep, of the group of each name, these units."""
        return tuple(
            edit
            for group, item in self._found.values()
            if len(kept[group.name]) < group.size
            for edit in item.edits(kept[group.name])
        )
