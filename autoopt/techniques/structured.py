"""Structured pruning: whole channels, attention heads or feed-forward channels go.

What goes is cut out, so that every runtime is faster for it without special kernels.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autoopt.errors import RefusedError
from autoopt.replay import replay
from autoopt.techniques._allocation import Allocation, cubic
from autoopt.techniques._bounds import check_choice, check_whole, missing_layer, read_layers
from autoopt.techniques._channel_groups import refusal
from autoopt.techniques._channel_units import ChannelUnits
from autoopt.techniques._feed_forward_units import FeedForwardUnits
from autoopt.techniques._head_units import HeadUnits
from autoopt.techniques._own_training import SCHEDULES, train_on
from autoopt.techniques._recurrent_units import RecurrentUnits
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._unit_scores import IMPORTANCES, sensitivity, unit_scores

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task
    from autoopt.techniques._units import Units

MOST_OF_A_LAYER = 0.9


@dataclass(frozen=True)
class StructuredPruning(Rewriting):
    """Cut the units of least importance out of the network.

    Attributes
    ----------
    ratio
        Share of all units that goes, 0 < ratio < 1; at most 90 % of one layer. Widths of 8 and
        more are rounded to a multiple of 8.
    importance
        ``"l1"``, ``"l2"``, ``"taylor"``, ``"stability"`` or ``"random"``; see `unit_scores`.
    allocation, slope, layers
        How the ratio is spread over the layers; see `Allocation`.
    schedule
        ``"one_shot"``, or ``"iterative"``: a cubic rise with an epoch of training after each step.
    epochs
        Steps of the iterative schedule.
    """

    ratio: float = 0.5
    importance: Literal["l1", "l2", "taylor", "stability", "random"] = "l2"
    allocation: Literal["global", "uniform", "sensitivity"] = "global"
    slope: float = 0.0
    layers: str = ""
    schedule: Literal["one_shot", "iterative"] = "one_shot"
    epochs: int = 4

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_whole("epochs", self.epochs, 1)
        self._allocation(self.ratio)

    @property
    def trains(self) -> bool:
        """Whether it trains between steps."""
        return self.schedule == "iterative"

    @abstractmethod
    def units(self, model: nn.Module, task: Task) -> Units:
        """Return the units of a network.

        Raises
        ------
        RefusedError
            If there are none that can be cut.
        """

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say why nothing can be cut, or which layer named is absent, or None."""
        try:
            groups = self.units(task.model, task).groups
        except RefusedError as error:
            return str(error)
        if all(group.size == 1 for group in groups):
            return "every layer has a single unit of this kind, and one has to stay"
        return missing_layer(read_layers(self.layers), [group.name for group in groups])

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return the smaller network and the edits that lead to it.

        Raises
        ------
        RefusedError
            If nothing can be cut, or nothing would be at this ratio.
        """
        if self.schedule == "one_shot":
            edits = self.cut(model, task, self.ratio)
            network = replay(model, edits).eval()
        else:
            network, edits = self._step_by_step(model, task)
        if not edits:
            raise RefusedError(
                f"a ratio of {self.ratio} removes nothing here: widths are rounded to 8, and of "
                "heads one always stays"
            )
        return network, edits

    def cut(
        self,
        network: nn.Module,
        task: Task,
        ratio: float,
        *,
        whole: Mapping[str, int] | None = None,
        part: float = 1.0,
    ) -> tuple[Edit, ...]:
        """Return the edits that remove a ratio of the units of a network.

        Where it is one of several cuts, `whole` says how many units each group had before the
        first, and `part` which part of the way this one goes; see `Allocation.shares`.
        """
        units = self.units(network, task)
        groups = {group.name: group for group in units.groups}
        scores = unit_scores(network, task, tuple(groups.values()), self.importance)

        def rise(name: str, share: float) -> float:
            group = groups[name]
            return sensitivity(network, task, group, group.lowest(scores[name], share))

        shares = self._allocation(ratio).shares(scores, rise, whole=whole, part=part)
        kept = {name: group.kept(scores[name], shares[name]) for name, group in groups.items()}
        return units.edits(kept)

    def _step_by_step(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        network = copy.deepcopy(model).eval()
        edits: tuple[Edit, ...] = ()
        whole = {group.name: group.size for group in self.units(network, task).groups}
        for step in range(1, self.epochs + 1):
            part = cubic(step, self.epochs)
            more = self.cut(network, task, self.ratio, whole=whole, part=part)
            network = train_on(replay(network, more), task)
            edits = (*edits, *more)
        return network, edits

    def _allocation(self, ratio: float) -> Allocation:
        return Allocation(ratio, self.allocation, self.slope, self.layers, MOST_OF_A_LAYER)


@dataclass(frozen=True)
class ChannelPruning(StructuredPruning):
    """Cut channels, with everything that depends on them (Fang et al. 2023, arXiv 2301.12900)."""

    def units(self, model: nn.Module, task: Task) -> ChannelUnits:
        """Return the channel groups of a network."""
        if reason := refusal(model):
            raise RefusedError(reason)
        return ChannelUnits(model, task)


@dataclass(frozen=True)
class HeadPruning(StructuredPruning):
    """Cut attention heads (Michel et al. 2019, arXiv 1905.10650); heads that share a key together.

    At least one head of each attention stays.
    """

    ratio: float = 0.25

    def units(self, model: nn.Module, task: Task) -> HeadUnits:
        """Return the heads of a network."""
        return HeadUnits(model, task)


@dataclass(frozen=True)
class FeedForwardPruning(StructuredPruning):
    """Cut the hidden channels between two linear layers, with a gate or without."""

    def units(self, model: nn.Module, task: Task) -> FeedForwardUnits:
        """Return the hidden channels of a network."""
        return FeedForwardUnits(model, task)


@dataclass(frozen=True)
class RecurrentPruning(StructuredPruning):
    """Cut hidden units of recurrent layers, with all their gates."""

    def units(self, model: nn.Module, task: Task) -> RecurrentUnits:
        """Return the hidden units of a network."""
        return RecurrentUnits(model, task)
