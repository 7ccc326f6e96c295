"""Two ways of doing a thing, compared on the same networks: paired differences of accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autoopt.demo.data import digits
from autoopt.task import Task, make_task

if TYPE_CHECKING:
    from collections.abc import Mapping

SEEDS = tuple(range(12))
CONFIDENCE = 0.9

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


def compare(
    task_of: Callable[[int], Task],
    better: Make,
    weaker: Make,
    *,
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Make both networks of every seed's task and measure them on its test part."""
    rows = []
    for seed in SEEDS if seeds is None else seeds:
        task = task_of(seed)
        networks = (task.model, better(task.model, task), weaker(task.model, task))
        rows.append([accuracy(network, task) for network in networks])
    return Comparison(*(tuple(column) for column in zip(*rows, strict=True)))


def lower_bound(differences: Sequence[float]) -> float:
    """Return the lower end of the 90 % interval of the mean (Student's t)."""
    from scipy.stats import t

    count = len(differences)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return float(mean(differences) - quantile * stdev(differences) / count**0.5)


@torch.no_grad()
def accuracy(network: nn.Module, task: Task) -> float:
    """Return the task's metric, an accuracy, on its test part, in points."""
    outputs = task.forward(network.eval(), task.test.inputs())
    return 100 * task.metric(task.test.targets().numpy(), outputs.numpy())


@cache
def perceptron_task(seed: int) -> Task:
    """Return a perceptron of two hidden layers, trained on a split of the digits by that seed."""
    model = partial(_perceptron, 128)
    return _trained(model, seed, epochs=30)


@cache
def convolution_task(seed: int) -> Task:
    """Return three convolutions with batch norm, trained on a split of the digits by that seed."""
    return _trained(_convolutions, seed, epochs=6)


def _perceptron(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def _convolutions(width: int = 32) -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(3):
        taken = width if number else 1
        layers += [nn.Conv2d(taken, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(), nn.MaxPool2d(2) if number == 0 else nn.Identity()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 10))


def _trained(make: Callable[[], nn.Module], seed: int, *, epochs: int) -> Task:
    """Train a network on digits of 8 × 8 pixels, in a split and with weights by that seed."""
    parts = tuple(
        TensorDataset(nn.functional.avg_pool2d(part.tensors[0], 4), part.tensors[1])
        for part in digits(seed)
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = make()
        _fit(model, *parts[0].tensors, epochs=epochs)
    return make_task(model.eval(), parts, seed=seed, request_size=16, threads=1)


def _fit(model: nn.Module, images: Tensor, targets: Tensor, *, epochs: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(targets)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), targets[rows])
            loss.backward()
            optimizer.step()
