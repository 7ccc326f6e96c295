"""Whole blocks that the network can do without are left out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autoopt.errors import RefusedError
from autoopt.plan import Drop
from autoopt.replay import replay
from autoopt.techniques._blocks import changes, droppable
from autoopt.techniques._bounds import check_choice, check_share
from autoopt.techniques._contributions import calibration_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.task import Task

IMPORTANCES = ("similarity", "loss", "random")
_NONE = "the network has no repeated blocks that give the shape they take"


@dataclass(frozen=True)
class BlockPruning:
    """Leave out the repeated blocks of least importance, wherever they stand.

    Attributes
    ----------
    ratio
        Share of the blocks that goes, 0 < ratio < 1; at least one goes, and one stays.
    importance
        ``"similarity"``: how much a block turns its input, 1 − cosine (Men et al. 2024, arXiv
        2403.03853); ``"loss"``: how much the loss on calibration data rises without it;
        ``"random"``: a control.
    """

    ratio: float = 0.25
    importance: Literal["similarity", "loss", "random"] = "loss"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("ratio", self.ratio)
        check_choice("importance", self.importance, IMPORTANCES)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there are no such blocks, or None."""
        return None if len(droppable(task.model, task, most=2)) > 1 else _NONE

    def edits(self, model: nn.Module, task: Task) -> tuple[Drop, ...]:
        """Return the blocks to leave out.

        Raises
        ------
        RefusedError
            If there are no such blocks.
        """
        names = droppable(model, task)
        if len(names) < 2:
            raise RefusedError(_NONE)
        count = max(1, min(len(names) - 1, round(self.ratio * len(names))))
        scores = self._scores(model, task, names)
        gone = sorted(names, key=scores.__getitem__)[:count]
        return tuple(Drop(name) for name in names if name in gone)

    def _scores(self, model: nn.Module, task: Task, names: Sequence[str]) -> Mapping[str, float]:
        if self.importance == "similarity":
            return changes(model, task, names)
        if self.importance == "random":
            draw = random.Random(task.seed)
            return {name: draw.random() for name in names}
        return {name: calibration_loss(replay(model, [Drop(name)]).eval(), task) for name in names}
