"""Smaller networks of the same kind: fewer channels, fewer blocks, with inherited or fresh weights.

They are students in the sense of distillation: a `recovery` is expected to teach them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from autoopt.errors import RefusedError
from autoopt.plan import Drop
from autoopt.replay import replay
from autoopt.techniques._blocks import changes, droppable
from autoopt.techniques._bounds import check_number
from autoopt.techniques._channel_groups import ChannelGraph, aligned, refusal
from autoopt.techniques._fresh import with_fresh_weights
from autoopt.techniques._inner_widths import inner_widths

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


@dataclass(frozen=True)
class WidthStudent:
    """Scale every hidden width alike; each layer inherits its strongest channels.

    Widths of 8 and more are rounded to a multiple of 8, which processors compute faster; none
    falls below 4 channels by it. Where channels cannot be followed through the whole network (the
    stream that all blocks add to, gates, rotary embeddings), the widths inside its parts are
    scaled: heads, feed-forward channels, recurrent units.

    Attributes
    ----------
    fraction
        Share of each layer's channels that stays, 0 < fraction ≤ 1.
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("fraction", self.fraction, above=0, most=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say which module's channels cannot be traced where nothing else is there, or None."""
        reason = refusal(task.model)
        if reason is None:
            return None
        try:
            inner_widths(task.model, task, self.fraction)
        except RefusedError:
            return reason
        return None

    def edits(self, model: nn.Module, task: Task) -> tuple[Edit, ...]:
        """Return what each module keeps.

        Raises
        ------
        RefusedError
            If nothing can be cut, or the network does not run after the cut.
        """
        if self.fraction == 1:
            return ()
        try:
            if reason := refusal(model):
                raise RefusedError(reason)
            graph = ChannelGraph(model, task)
        except RefusedError as untraced:
            try:
                return inner_widths(model, task, self.fraction)
            except RefusedError:
                raise untraced from None
        return graph.edits(
            {
                group.root: group.strongest(aligned(self.fraction * group.size))
                for group in graph.groups
            }
        )


@dataclass(frozen=True)
class DepthStudent:
    """Leave out repeated blocks that give the shape they take.

    The blocks that go are spread evenly over the depth; of neighbours goes the one that changes
    its input least (cosine similarity on calibration data; Men et al. 2024, arXiv 2403.03853).

    Attributes
    ----------
    fraction
        Share of those blocks that stays, 0 < fraction ≤ 1.
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("fraction", self.fraction, above=0, most=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is no such block, or None."""
        return None if droppable(task.model, task, most=1) else _NO_BLOCK

    def edits(self, model: nn.Module, task: Task) -> tuple[Drop, ...]:
        """Return the blocks to leave out.

        Raises
        ------
        RefusedError
            If there is no such block.
        """
        names = droppable(model, task)
        if not names:
            raise RefusedError(_NO_BLOCK)
        # Half a block is one that goes.
        count = int((1 - self.fraction) * len(names) + 0.5)
        if count == 0:
            return ()
        change = changes(model, task, names)
        bounds = [len(names) * number // count for number in range(count + 1)]
        return tuple(
            Drop(min(names[start:stop], key=change.__getitem__)) for start, stop in pairwise(bounds)
        )


@dataclass(frozen=True)
class WidthDepthStudent:
    """Leave out repeated blocks, then scale the widths of what is left.

    Attributes
    ----------
    width
        Share of each layer's channels that stays, 0 < width ≤ 1.
    depth
        Share of the repeated blocks that stays, 0 < depth ≤ 1.
    """

    width: float = 0.5
    depth: float = 0.5

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("width", self.width, above=0, most=1)
        check_number("depth", self.depth, above=0, most=1)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is no such block or that channels cannot be traced, or None."""
        deep = DepthStudent().refuse(task, target) if self.depth < 1 else None
        return deep or (WidthStudent().refuse(task, target) if self.width < 1 else None)

    def edits(self, model: nn.Module, task: Task) -> tuple[Edit, ...]:
        """Return the blocks to leave out, then what each module keeps.

        Raises
        ------
        RefusedError
            If there is no such block, nothing can be cut, or the network does not run.
        """
        dropped = DepthStudent(self.depth).edits(model, task) if self.depth < 1 else ()
        return (*dropped, *WidthStudent(self.width).edits(replay(model, dropped), task))


@dataclass(frozen=True)
class FreshStudent(WidthDepthStudent):
    """The same smaller network with new random weights: nothing is inherited but the shape.

    It knows nothing until a recovery has trained it.
    """

    needs_training: ClassVar[bool] = True
    depth: float = 1.0

    def restart(self, network: nn.Module, task: Task) -> nn.Module:
        """Return a copy with new weights, the same for the same seed."""
        return with_fresh_weights(network, task.seed)


_NO_BLOCK = "the network has no repeated blocks that give the shape they take"
