"""How far a training has come, and its checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autoopt.watch import Checkpoint

if TYPE_CHECKING:
    from autoopt.techniques._training import Course

NETWORK, BEST, OPTIMIZER, ALONG, RANDOM = "network.", "best.", "optimizer.", "along.", "random"


@dataclass
class Progress:
    """What is known after the epochs so far.

    Attributes
    ----------
    best
        State of the network at the lowest validation loss.
    lowest
        That loss.
    scores
        After each epoch, more is better.
    reached
        Epochs in a row with the original's quality.
    idle
        Epochs since the lowest loss.
    """

    best: Mapping[str, Any]
    lowest: float
    scores: list[float] = field(default_factory=list)
    reached: int = 0
    idle: int = 0

    def note(self, course: Course, loss: float, score: float, *, reached: bool) -> None:
        """Take in an epoch."""
        self.scores.append(score)
        self.reached = self.reached + 1 if reached else 0
        self.idle += 1
        if loss < self.lowest:
            self.lowest, self.idle = loss, 0
            self.best = copy.deepcopy(course.network.state_dict())

    def checkpoint(self, course: Course, epochs: int) -> Checkpoint:
        """Return all that is needed to go on."""
        tensors: dict[str, Tensor] = {RANDOM: torch.default_generator.get_state()}
        for prefix, state in ((NETWORK, course.network.state_dict()), (BEST, self.best)):
            tensors |= {prefix + k: v for k, v in state.items() if isinstance(v, Tensor)}
        tensors |= {f"{ALONG}{place}": value for place, value in enumerate(course.along)}
        for place, kept in course.optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{place}.{name}": value for name, value in kept.items()}
        whole = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        numbers = {
            "lowest": self.lowest, "reached": self.reached, "idle": self.idle, "step": course.step
        }  # fmt: skip
        return Checkpoint(epochs, tuple(self.scores), numbers, whole)


def resumed(course: Course, kept: Checkpoint) -> Progress:
    """Bring a course to where a checkpoint was taken.

    With as many epochs it ends as if it had never been given up, unless the data is drawn anew at
    every reading; with more, the falling of the rate is stretched over these.
    """
    tensors, numbers = kept.tensors, kept.numbers
    # Not strict: what is no tensor is the same as it was.
    course.network.load_state_dict(_under(NETWORK, tensors), strict=False)
    for place, parameter in enumerate(course.along):
        parameter.data.copy_(tensors[f"{ALONG}{place}"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(OPTIMIZER, tensors).items():
        place_, _, key = name.partition(".")
        state.setdefault(int(place_), {})[key] = value
    groups = course.optimizer.state_dict()["param_groups"]
    course.optimizer.load_state_dict({"state": state, "param_groups": groups})
    course.step = int(numbers["step"])
    torch.default_generator.set_state(tensors[RANDOM])
    best = {**course.network.state_dict(), **_under(BEST, tensors)}
    reached, idle = int(numbers["reached"]), int(numbers["idle"])
    return Progress(copy.deepcopy(best), numbers["lowest"], list(kept.scores), reached, idle)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
