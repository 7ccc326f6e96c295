"""Hidden channels with everything that is cut with them, by Torch-Pruning's dependency graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from autoopt.techniques._channel_groups import ChannelGraph
from autoopt.techniques._units import Slice, UnitGroup

if TYPE_CHECKING:
    from autoopt.plan import Keep
    from autoopt.task import Task
    from autoopt.techniques._channel_groups import ChannelGroup


class ChannelUnits:
    """The channel groups of a network.

    Parameters
    ----------
    model
        Stays as it was.
    task
        Gives the example and runs the network.

    Raises
    ------
    RefusedError
        If the model cannot be traced, or no hidden channel can be cut.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        self._graph = ChannelGraph(model, task)
        order = {name: place for place, (name, _) in enumerate(model.named_modules())}
        # The trace starts at the output; modules are mostly registered in the order they run.
        groups = sorted(self._graph.groups, key=lambda group: order[group.root])
        self._groups = tuple(found for group in groups if (found := self._unit_group(model, group)))

    @property
    def groups(self) -> tuple[UnitGroup, ...]:
        """Groups in the order of the modules, named after the layer that gives the channels."""
        return self._groups

    def edits(self, kept: Mapping[str, Sequence[int]]) -> tuple[Keep, ...]:
        """Return the edits that keep, of the group of each name, these channels."""
        return self._graph.edits(kept)

    def _unit_group(self, model: nn.Module, group: ChannelGroup) -> UnitGroup | None:
        """Return a group with its slices, or None where nothing takes its channels."""
        sides: dict[str, list[Slice]] = {"out": [], "in": []}
        first = {id(parameter): name for name, parameter in model.named_parameters()}
        for name, axis, pairs in self._graph.members(group.root):
            module: Any = model.get_submodule(name)
            if _multiplies(module, axis):
                own = _by_channel(pairs, group.size)
                if own is not None:
                    # A weight that several layers share goes by its first name, and counts once.
                    weight = first[id(module.weight)]
                    sides[axis].append(Slice(weight, _weight_axis(module, axis), own))
        producers, consumers = _unique(sides["out"]), _unique(sides["in"])
        if not consumers:
            return None
        return UnitGroup(group.root, group.size, producers, consumers, group.sets)


def _multiplies(module: Any, axis: str) -> bool:
    """Say whether a module's weight has an axis of its own for these channels."""
    if not isinstance(module, nn.Linear | _ConvNd):
        return False
    # Rows of a grouped kernel belong to outputs; its columns are counted within a group.
    return not isinstance(module, _ConvNd) or module.groups == 1 or axis == "out"


def _weight_axis(module: nn.Module, axis: str) -> int:
    return int((axis == "in") != isinstance(module, _ConvTransposeNd))


def _by_channel(pairs: Iterable[tuple[int, int]], size: int) -> tuple[tuple[int, ...], ...] | None:
    """Return the indices of each channel, or None if a channel has none."""
    own: dict[int, list[int]] = defaultdict(list)
    for channel, index in pairs:
        own[channel].append(index)
    return tuple(tuple(own[channel]) for channel in range(size)) if len(own) == size else None


def _unique(slices: list[Slice]) -> tuple[Slice, ...]:
    return tuple(dict.fromkeys(slices))
