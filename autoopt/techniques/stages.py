"""Hierarchical pruning: a ratio that rises or falls from the first stage to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques.structured import ChannelPruning

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


@dataclass(frozen=True)
class StagePruning(Rewriting):
    """Cut channels, more in late layers than in early ones, or the other way round.

    Two dimensions for the whole network: between a ratio for all and one for each layer.

    Attributes
    ----------
    ratio
        Share of all channels that goes, 0 < ratio < 1.
    slope
        From −1 to 1: at 0.5 the last layer loses three times the share of the first.
    importance
        As in `ChannelPruning`.
    """

    trains: ClassVar[bool] = False

    ratio: float = 0.5
    slope: float = 0.5
    importance: Literal["l1", "l2", "taylor", "stability", "random"] = "l2"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        self._pruning()

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say why no channel can be cut, or None."""
        return self._pruning().refuse(task, target)

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return the smaller network and the edits that lead to it.

        Raises
        ------
        RefusedError
            If nothing can be cut, or nothing would be at this ratio.
        """
        return self._pruning().rewrite(model, task)

    def _pruning(self) -> ChannelPruning:
        return ChannelPruning(self.ratio, self.importance, "uniform", self.slope)
