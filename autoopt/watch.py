"""Watching a training: when it has no hope left, and where it goes on later.

The bound on what a training can still reach is simple and optimistic: the best score so far, and
for every epoch that is left the largest gain of its last epochs once more. Learning curves flatten,
and the rate falls, so what is below even that is lost. Nothing is decided on the score before
training, nor on the jump of the first epoch, for ranks before training flip after it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

RECENT = 3
"""Epochs whose largest gain may come once more in every epoch that is left."""

FEWEST = 2
"""Epochs before which nothing is given up, or a third of all where that is more."""


@dataclass(frozen=True)
class Checkpoint:
    """A training that was given up, so that it can go on where it was.

    Attributes
    ----------
    epochs
        How many there were to be.
    scores
        After each that was done, more is better.
    numbers
        What else it counted.
    tensors
        Weights and what the optimizer keeps of them.
    """

    epochs: int
    scores: tuple[float, ...]
    numbers: Mapping[str, float]
    tensors: Mapping[str, Tensor]

    def fits(self, epochs: int) -> bool:
        """Say whether a training of so many epochs may go on from here: none that is shorter."""
        return self.epochs <= epochs


@dataclass(frozen=True)
class Watch:
    """Decides whether a training goes on.

    Attributes
    ----------
    bar
        Score on the validation part that the network must be able to reach, more is better; None
        where any will do.
    load
        Gives the checkpoint of an earlier training of this network, if there is one.
    save
        Keeps a checkpoint.
    """

    bar: float | None
    load: Callable[[], Checkpoint | None]
    save: Callable[[Checkpoint], None]

    def hopeless(self, scores: Sequence[float], epochs: int) -> bool:
        """Say whether a training of so many epochs cannot reach the bar any more."""
        done = len(scores)
        if self.bar is None or done < max(FEWEST, math.ceil(epochs / 3)) or done >= epochs:
            return False
        return best_possible(scores, epochs) < self.bar


def best_possible(scores: Sequence[float], epochs: int) -> float:
    """Return the score that a training may reach at best.

    Parameters
    ----------
    scores
        After each epoch so far, at least one, more is better.
    epochs
        How many there are to be.
    """
    gains = [later - earlier for earlier, later in itertools.pairwise(scores)]
    return max(scores) + (epochs - len(scores)) * max([0.0, *gains[-RECENT:]])
