"""What giving losers up in training saves, and how often it is wrong: real trainings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoopt.errors import StoppedEarlyError
from autoopt.replay import replay
from autoopt.task import make_task
from autoopt.techniques._training import judged_score
from autoopt.techniques.distill import Distill
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.students import WidthStudent
from autoopt.watch import Checkpoint, Watch
from tests.small_searches import digits, images, trained_cnn, trained_mlp

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task

SEEDS = range(3)
EPOCHS = (4, 6, 12)
FRACTIONS = (0.25, 0.5)
DROPS = (0.005, 0.02, 0.1)
"""How much worse than the original a network may be."""


@dataclass
class Count:
    """Epochs that were trained."""

    epochs: int = 0


@dataclass(frozen=True)
class Counted(Watch):
    """A watch that counts the epochs it lets pass."""

    count: Count = field(default_factory=Count)

    def hopeless(self, scores: Sequence[float], epochs: int) -> bool:
        """Say so, and count what goes on."""
        found = super().hopeless(scores, epochs)
        self.count.epochs += not found
        return found


def run() -> dict[str, float]:
    """Train students of two networks to their end, and again under bars."""
    trained = spared = losers = stopped = wrong = 0
    for task, technique, network in trainings():
        whole = watched(None)
        kept = judged_score(technique.apply(network, task, whole), task)
        usual = judged_score(task.model, task)
        for drop in DROPS:
            watch, ended = watched(usual - drop), True
            try:
                technique.apply(network, task, watch)
            except StoppedEarlyError:
                ended = False
            lost = kept < usual - drop
            losers, stopped = losers + lost, stopped + (not ended)
            wrong += not ended and not lost
            trained += whole.count.epochs
            spared += whole.count.epochs - watch.count.epochs
    return {
        "early_stop_losers": float(losers),
        "early_stop_stopped": float(stopped),
        "early_stop_wrong": float(wrong),
        "early_stop_saved": spared / trained,
    }


def trainings() -> Iterator[tuple[Task, Any, nn.Module]]:
    """Yield task, recovery and a student that was not trained yet."""
    sources = ((trained_cnn(), images()), (trained_mlp(), digits()))
    for (model, data), seed in itertools.product(sources, SEEDS):
        task = make_task(model, data, threads=1, seed=seed)
        for fraction, epochs in itertools.product(FRACTIONS, EPOCHS):
            student = replay(task.model, WidthStudent(fraction).edits(task.model, task))
            for technique in (FineTune(epochs), FineTune(epochs, 2e-4), Distill(epochs)):
                yield task, technique, student


def watched(bar: float | None) -> Counted:
    """Return a watch that keeps nothing."""
    return Counted(bar, _nothing, _forget)


def _nothing() -> Checkpoint | None:
    return None


def _forget(_: Checkpoint) -> None:
    """Keep no checkpoint: every training here begins anew."""
