"""Regrowth: the network learns to do with less, then gets back what was removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from autoopt.errors import RefusedError
from autoopt.regrowth import regrown
from autoopt.replay import replay
from autoopt.techniques._bounds import check_choice, check_number, check_share, check_whole
from autoopt.techniques._own_training import train_on
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._unit_scores import IMPORTANCES
from autoopt.techniques.structured import ChannelPruning

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


@dataclass(frozen=True)
class Regrow(Rewriting):
    """Cut channels, train the rest, put what was cut back with its old weights, cut for good.

    The second cut takes less, and may take others: those that the trained rest can do without.
    With everything put back this is dense-sparse-dense training (Han et al. 2016, arXiv
    1607.04381), a start for a recovery of the whole width.

    Attributes
    ----------
    ratio
        Share of the channels that goes at first, 0 < ratio < 1.
    back
        Share of those that are back in the end, 0 < back ≤ 1.
    importance
        As in `ChannelPruning`.
    epochs
        Epochs of training while they are gone.
    """

    trains: ClassVar[bool] = True

    ratio: float = 0.5
    back: float = 0.5
    importance: Literal["l1", "l2", "taylor", "stability", "random"] = "l2"
    epochs: int = 2

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("ratio", self.ratio)
        check_number("back", self.back, above=0, most=1)
        check_choice("importance", self.importance, IMPORTANCES)
        check_whole("epochs", self.epochs, 1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say why no channel can be cut, or None."""
        return ChannelPruning(self.ratio, self.importance).refuse(task, target)

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return the network and the edits of the second cut.

        Raises
        ------
        RefusedError
            If no channel can be cut, or the second cut would remove none.
        DivergedError
            If the loss or a weight is no longer finite.
        """
        pruning = ChannelPruning(self.ratio, self.importance)
        pruned, cut = pruning.rewrite(model, task)
        grown = regrown(model, cut, train_on(pruned, task, epochs=self.epochs)).eval()
        if self.back == 1:
            return grown, ()
        edits = pruning.cut(grown, task, self.ratio * (1 - self.back))
        if not edits:
            raise RefusedError(
                f"a ratio of {self.ratio} with {self.back} of it put back removes nothing here: "
                "widths are rounded to 8"
            )
        return replay(grown, edits).eval(), edits
