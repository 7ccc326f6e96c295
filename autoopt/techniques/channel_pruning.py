"""Structured channel pruning: channels of small weights are cut out of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from autoopt.techniques._bounds import check_number
from autoopt.techniques._channel_groups import ChannelGraph, ChannelGroup, aligned, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Keep
    from autoopt.task import Task

MOST_OF_A_LAYER = 0.9


@dataclass(frozen=True)
class MagnitudePruning:
    """Cut the channels of smallest group L2 norm, compared over the whole network.

    Layers differ in scale, so norms are divided by their group's mean before they are compared
    (Fang et al. 2023, arXiv 2301.12900). At most 90 % of one layer goes, the output layer keeps
    its width, and widths of 8 and more are rounded to a multiple of 8.

    Attributes
    ----------
    ratio
        Share of all hidden channels to cut, 0 ≤ ratio < 1.
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("ratio", self.ratio, least=0, below=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say which module's channels cannot be traced, or None."""
        return refusal(task.model)

    def edits(self, model: nn.Module, task: Task) -> tuple[Keep, ...]:
        """Return what each module keeps.

        Raises
        ------
        RefusedError
            If no channel can be cut, or the network does not run after the cut.
        """
        graph = ChannelGraph(model, task)
        counts = _counts(graph.groups, self.ratio)
        return graph.edits(
            {
                group.root: group.strongest(count)
                for group, count in zip(graph.groups, counts, strict=True)
            }
        )


def _counts(groups: Sequence[ChannelGroup], ratio: float) -> list[int]:
    """Return how many channels each group keeps."""
    every = torch.cat([group.importance for group in groups])
    cut = int(ratio * len(every))
    lowest = every.argsort(stable=True)[:cut]
    gone = torch.zeros(len(every), dtype=torch.bool).index_fill_(0, lowest, True)
    parts = gone.split([group.size for group in groups])
    counts = []
    for group, part in zip(groups, parts, strict=True):
        left = group.size - int(part.sum())
        least = (1 - MOST_OF_A_LAYER) * group.size
        counts.append(left if left == group.size else min(group.size, aligned(max(left, least))))
    return counts
