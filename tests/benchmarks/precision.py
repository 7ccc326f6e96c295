"""Mixed precision against uniform precision at equal size, for the benchmark of techniques."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from autoopt.build.sensitivity import sensitivity
from autoopt.interfaces import Quantization
from autoopt.precision import Grid, quantizable, store
from autoopt.runtimes.layers import grid_of, layer_bits, resolve
from autoopt.task import Task, make_task
from autoopt.techniques.quantization_stored import MixedPrecision, WeightOnly
from tests.benchmarks.paired import Make, compare

SEEDS = tuple(range(10))
EPOCHS = 12
WIDTH = 5


@dataclass(frozen=True)
class EqualSize:
    """The same bytes, spent on small groups everywhere, or on the most sensitive layers.

    Attributes
    ----------
    uniform
        A scale for every few weights of all layers.
    mixed
        One for every so many more, and 8 bits for the layers that lose most: as many of them as
        make it no larger than `uniform`.
    """

    uniform: WeightOnly
    mixed: MixedPrecision

    def ways(self) -> tuple[Make, Make]:
        """Return both as networks with the numbers that every runtime restores."""
        return self.in_mixed, self.in_uniform

    def in_uniform(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy in uniform precision."""
        return on_grids(model, grids(self.uniform.request(), model))

    def in_mixed(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy in mixed precision."""
        budget = size_of(model, grids(self.uniform.request(), model))
        return on_grids(model, self.guided(task, budget))

    def guided(self, task: Task, budget: int) -> Mapping[str, Grid]:
        """Return what `mixed` resolves to with the largest share that fits into a size."""
        losses = sensitivity(task.model, task, self.mixed.request())
        order = sorted(losses, key=losses.__getitem__, reverse=True)
        found: Mapping[str, Grid] = {}
        for raised in range(len(order)):
            request = replace(self.mixed, share=raised / len(order)).request()
            tried = grids(resolve(request, task.model, order), task.model)
            if size_of(task.model, tried) > budget:
                break
            found = tried
        return found


BY_GROUPS = EqualSize(
    WeightOnly(2, "affine", group=16), MixedPrecision(2, raised=8, scheme="affine", group=32)
)


def mixed_over_uniform() -> Mapping[str, float]:
    """Compare both on small networks, which few bits cost something."""
    found = compare(small_task, *BY_GROUPS.ways(), seeds=SEEDS)
    return found.figures("mixed_over_uniform")


def grids(request: Quantization, network: nn.Module) -> Mapping[str, Grid]:
    """Return the grid of each layer, as every runtime takes it."""
    bits = layer_bits(request, list(quantizable(network)))
    return {name: grid_of(request, count) for name, count in bits.items()}


@cache
def small_task(seed: int) -> Task:
    """Return a small trained network and its split of scikit-learn's digits."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = (images[order] / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    y = labels[order]
    parts = [(x[a:b], y[a:b]) for a, b in ((0, 1000), (1000, 1200), (1200, len(y)))]
    network = _trained(*map(torch.from_numpy, parts[0]), seed=seed)
    data = tuple(torch.utils.data.TensorDataset(*map(torch.from_numpy, part)) for part in parts)
    return make_task(network, data, request_size=16, threads=2, metric="accuracy", seed=seed)


def _trained(x: torch.Tensor, y: torch.Tensor, *, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(
        *_stage(1, WIDTH), *_stage(WIDTH, 2 * WIDTH, 2), *_stage(2 * WIDTH, 2 * WIDTH),
        *_stage(2 * WIDTH, 4 * WIDTH, 2), *_stage(4 * WIDTH, 4 * WIDTH),
        nn.Flatten(), nn.Linear(16 * WIDTH, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def _stage(taken: int, given: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
    return [convolution, nn.BatchNorm2d(given), nn.ReLU()]


def size_of(network: nn.Module, chosen: Mapping[str, Grid]) -> int:
    """Return the bytes of the stored weights."""
    weights = quantizable(network)
    return sum(store(weights[name].rows(), grid).size for name, grid in chosen.items())


def on_grids(model: nn.Module, chosen: Mapping[str, Grid]) -> nn.Module:
    """Return a copy with the nearest weights that each layer's grid has."""
    network = copy.deepcopy(model)
    weights = quantizable(network)
    for name, grid in chosen.items():
        weights[name].tensor.data = weights[name].on_grid(grid)
    return network
