"""Hidden channels of feed-forward layers, found by trying: what only one layer takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.plan import Keep
from autoopt.techniques._call_order import MatrixLayer, called_layers, same_as_zeroed
from autoopt.techniques._units import FoundUnits, UnitGroup

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task

NARROWEST = 8
# Layers that may give one hidden layer together: a gate and what it gates.
MOST_PRODUCERS = 2
NO_FEED_FORWARD = (
    f"the network has no hidden layer of at least {NARROWEST} channels between two linear layers"
)


@dataclass(frozen=True)
class _Pair:
    ups: tuple[MatrixLayer, ...]
    down: MatrixLayer

    def edits(self, kept: Sequence[int]) -> list[Keep]:
        indices = tuple(kept)
        outs = [Keep(up.name, "out", indices) for up in self.ups]
        return [*outs, Keep(self.down.name, "in", indices)]

    def group(self) -> UnitGroup:
        each = tuple((channel,) for channel in range(self.down.taken))
        return UnitGroup(
            self.down.name,
            self.down.taken,
            tuple(up.rows(each) for up in self.ups),
            (self.down.columns(each),),
        )


class FeedForwardUnits(FoundUnits):
    """The hidden channels between linear layers, with a gate or without.

    A pair of layers is taken for a feed-forward one when cutting channels between them gives the
    very network that zeroing their columns does, whatever stands in between.

    Parameters
    ----------
    model
        Stays as it was.
    task
        Gives the example and runs the network.

    Raises
    ------
    RefusedError
        If there is none.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__(_pairs(model, task), NO_FEED_FORWARD)


def _pairs(model: nn.Module, task: Task) -> Iterator[_Pair]:
    layers = called_layers(model, task)
    for place, down in enumerate(layers):
        if down.taken < NARROWEST:
            continue
        for count in range(1, MOST_PRODUCERS + 1):
            ups = tuple(layers[max(0, place - count) : place])
            pair = _Pair(ups, down)
            if (
                len(ups) == count
                and all(up.given == down.taken for up in ups)
                and _is_right(model, task, pair)
            ):
                yield pair
                break


def _is_right(model: nn.Module, task: Task, pair: _Pair) -> bool:
    odd = range(1, pair.down.taken, 2)
    even = range(0, pair.down.taken, 2)
    return same_as_zeroed(model, task, pair.group(), pair.edits(even), odd)
