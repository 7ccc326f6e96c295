"""The batches that networks learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from autoopt.task.parts import permutation

if TYPE_CHECKING:
    from autoopt.task import Inputs, Task

# Below 32 samples a step, time goes to the overhead of each step and batch statistics are noisy;
# below 16 steps an epoch, a few epochs are too few steps to learn anything.
FEWEST_SAMPLES = 32
FEWEST_STEPS = 16


def batch_size(task: Task) -> int:
    """Return the samples in one step: the task's, but not so few or many that learning suffers."""
    count = len(task.train)
    most = max(count // FEWEST_STEPS, FEWEST_SAMPLES)
    return min(count, most, max(task.batch_size, FEWEST_SAMPLES))


def steps_in_epoch(task: Task) -> int:
    """Return the number of batches that `shuffled` yields."""
    size = batch_size(task)
    whole, rest = divmod(len(task.train), size)
    return whole + (2 * rest >= size)


def shuffled(task: Task, seed: int) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
    """Yield inputs, targets and rows (indices in the part) of the train part, shuffled.

    A last batch of less than half the size is left out: its statistics would mislead
    batch normalisation.
    """
    size = batch_size(task)
    rows = permutation(len(task.train), seed).split(size)
    batches = task.train.batches(size, seed=seed)
    for chunk, (inputs, targets) in zip(rows, batches, strict=True):
        if 2 * len(chunk) >= size:
            yield inputs, targets, chunk
