"""Widths inside single parts of a network: heads, feed-forward channels, recurrent units.

What is left to scale where the channels between the parts cannot be followed, or must stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoopt.errors import RefusedError
from autoopt.replay import replay
from autoopt.techniques._feed_forward_units import FeedForwardUnits
from autoopt.techniques._head_units import HeadUnits
from autoopt.techniques._recurrent_units import RecurrentUnits
from autoopt.techniques._unit_scores import unit_scores

if TYPE_CHECKING:
    from torch import nn

    from autoopt.plan import Edit
    from autoopt.task import Task

KINDS = (HeadUnits, FeedForwardUnits, RecurrentUnits)


def inner_widths(model: nn.Module, task: Task, fraction: float) -> tuple[Edit, ...]:
    """Return the edits that keep a share of the units of every kind, the strongest of each layer.

    Raises
    ------
    RefusedError
        If there are none, or too few of them for any to go.
    """
    network = model
    edits: tuple[Edit, ...] = ()
    for kind in KINDS:
        try:
            units = kind(network, task)
        except RefusedError:
            continue
        scores = unit_scores(network, task, units.groups, "l2")
        more = units.edits(
            {group.name: group.kept(scores[group.name], 1 - fraction) for group in units.groups}
        )
        # Units of the next kind are counted in what this one has left.
        network, edits = replay(network, more), (*edits, *more)
    if not edits:
        raise RefusedError("the network has no heads, feed-forward channels or recurrent units")
    return edits
