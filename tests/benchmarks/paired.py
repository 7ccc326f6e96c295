"""Two ways of doing a thing, compared on the same networks: paired differences of accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoopt.demo.data import digits
from autoopt.task import Task, make_task

if TYPE_CHECKING:
    from collections.abc import Mapping

SEEDS = tuple(range(8))
CONFIDENCE = 0.9
WIDTH = 128
EPOCHS = 30

Make = Callable[[nn.Module, Task], nn.Module]


@dataclass(frozen=True)
class Comparison:
    """Test accuracies, in points, of the original and of two networks made of it, one a seed.

    Attributes
    ----------
    original, better, weaker
        One value a seed; `better` is the one that is expected to be.
    """

    original: Sequence[float]
    better: Sequence[float]
    weaker: Sequence[float]

    def figures(self, name: str) -> Mapping[str, float]:
        """Return the lower bound of the gain, its mean, and what the weaker loses."""
        gains = [one - other for one, other in zip(self.better, self.weaker, strict=True)]
        losses = [one - other for one, other in zip(self.original, self.weaker, strict=True)]
        return {
            name: lower_bound(gains),
            f"{name}_mean": mean(gains),
            f"{name}_weaker_loses": mean(losses),
        }


def compare(better: Make, weaker: Make) -> Comparison:
    """Make both networks for every seed and measure them on the test part."""
    rows = []
    for seed in SEEDS:
        task = digits_task(seed)
        networks = (task.model, better(task.model, task), weaker(task.model, task))
        rows.append([accuracy(network, task) for network in networks])
    return Comparison(*(tuple(column) for column in zip(*rows, strict=True)))


def lower_bound(differences: Sequence[float]) -> float:
    """Return the lower end of the 90 % interval of the mean (Student's t)."""
    from scipy.stats import t

    count = len(differences)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half: float = quantile * stdev(differences) / count**0.5
    return mean(differences) - half


@torch.no_grad()
def accuracy(network: nn.Module, task: Task) -> float:
    """Return the accuracy on the test part, in points."""
    outputs = task.forward(network.eval(), task.test.inputs())
    return 100 * float((outputs.argmax(1) == task.test.targets()).float().mean())


@cache
def digits_task(seed: int) -> Task:
    """Return a perceptron of two hidden layers, trained on a split of the digits by that seed."""
    parts = digits(seed)
    small = [
        torch.utils.data.TensorDataset(nn.functional.avg_pool2d(images, 4), targets)
        for images, targets in (part.tensors for part in parts)
    ]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 10),
        )
        _fit(model, *small[0].tensors)
    return make_task(model.eval(), tuple(small), seed=seed, request_size=16, threads=1)


def _fit(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(targets)).split(32):
            optimizer.zero_grad()
            loss: torch.Tensor = nn.functional.cross_entropy(model(images[rows]), targets[rows])
            loss.backward()
            optimizer.step()
