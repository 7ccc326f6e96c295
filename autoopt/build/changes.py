"""What a technique that changes nothing is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autoopt.errors import RefusedError

if TYPE_CHECKING:
    from torch import nn

    from autoopt.plan import Edit
    from autoopt.recipe import Pick


def check_changed(
    slot: str, pick: Pick, edits: Sequence[Edit], before: nn.Module, after: nn.Module
) -> None:
    """Hold that a technique changed the network.

    Parameters
    ----------
    slot, pick
        The technique and its settings.
    edits
        Changes of the structure that it made.
    before, after
        The network; where there are no edits, another weight or statistic is a change.

    Raises
    ------
    RefusedError
        If nothing is changed: the same network would be measured twice.
    """
    if not edits and not _differs(before, after):
        raise RefusedError(
            f"{slot} {pick.option}: it changes nothing in this network at these settings "
            f"({dict(pick.settings)}), so it would be measured twice"
        )


def _differs(one: nn.Module, other: nn.Module) -> bool:
    if one is other:
        return False
    left, right = one.state_dict(), other.state_dict()
    return left.keys() != right.keys() or any(
        isinstance(value, Tensor) and not torch.equal(value, right[name])
        for name, value in left.items()
    )
