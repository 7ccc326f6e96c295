"""What a recipe, and a search, are worth for another model.

A search on a small convolutional network finds a strategy. Its recipe is applied to a ResNet and
a vision transformer of the library `transformers`. Then each of three models is searched twice,
cold and beginning with the first search's front, and the networks are counted that each has
trained when it first holds the hypervolume that the cold one ends with.

All are large enough that narrower networks are faster and smaller: of a network that takes as long
as calling it, what is trained would not matter. Timings are posterior means of all that a search
measured, relative to its own original. What both searches of a model measured has one figure, the
mean of both, and 98 % of the cold volume are enough: between two equal searches it differs by as
much, since one member that seems 5 % slower takes 1 to 2 % of it.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from moocore import hypervolume
from torch import nn
from torch.utils.data import TensorDataset

import autoopt
from autoopt.controller.job import LOG
from autoopt.front import Front
from autoopt.handle.handle import Search
from autoopt.history import History
from autoopt.record import Record
from search_spaces import SearchSpace, quick
from tests.benchmarks.registry import Report, below
from tests.small_searches import fit, images

TRIALS = 30
MAX_DROP = 0.03
REACHED = 0.98
"""Share of the cold search's hypervolume that counts as the same: timings are noisy."""

PROMISED = {"warm_network_ratio": 1.5, "warm_reached": 1.0, "applied_speedup_min": 1.0}
"""What is reached at least."""

EPOCHS = 25
RATE = 2e-3
"""Of the library's models; the convolutional one takes more."""

MARGIN = 1.1
"""The corner of the hypervolume lies this far beyond the original's costs."""

WORST_DROP = 0.1
"""The corner's loss of accuracy."""


def run(argv: Sequence[str] = ()) -> Report:
    """Return how far a recipe and a warm start carry."""
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="autoopt-transfer-") as scratch:
        where = Path(options.folder or scratch).absolute()
        first = _search(_convolutional(seed=0), where / "first", options.trials)
        pick = first.best(max_drop=MAX_DROP)
        applied = [_applied(name, pick, where) for name in ("resnet", "vit")]
        warmed = [_warmed(name, first, where, options.trials) for name in options.models]
    ratios = [float(str(row["ratio"])) for row in warmed]
    figures = {
        "applied_speedup_min": min(float(str(row["speedup"])) for row in applied),
        "applied_drop_max": max(float(str(row["drop"])) for row in applied),
        "warm_network_ratio": sum(ratios) / len(ratios),
        "warm_network_ratio_min": min(ratios),
        "warm_reached": sum(ratio > 0 for ratio in ratios) / len(ratios),
    }
    return Report(figures, {"applied": applied, "warmed": warmed}, below(figures, PROMISED))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks transfer")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search")
    parser.add_argument("--folder", help="keeps the searches there, and takes those kept earlier")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    return parser


def _applied(name: str, pick: autoopt.Strategy, where: Path) -> dict[str, object]:
    shutil.rmtree(where / f"applied-{name}", ignore_errors=True)  # its networks stay in the cache
    found = autoopt.apply(
        pick, MODELS[name](), _parts(), threads=1, request_size=16,
        folder=where / f"applied-{name}", cache=where / f"cache-applied-{name}",
    )  # fmt: skip
    original, mine = found.search.pick(0)["accuracy"].value, found["accuracy"].value
    speed = found.speedup
    return {
        "model": name,
        "recipe": found.recipe.summary,
        "changes": "; ".join(map(str, found.changes)),
        "speedup": speed.value if speed else math.nan,
        "drop": original - mine,
    }


def _warmed(name: str, first: Search, where: Path, trials: int) -> dict[str, object]:
    """Return how many networks a model's search trains, cold and warm, to the same end."""
    model = MODELS[name]()
    alone = _search(model, where / f"cold-{name}", trials)._known()
    begun = _search(model, where / f"warm-{name}", trials, warm_start=[first])._known()
    cold, warm = _seen(alone, begun), _seen(begun, alone)
    ends = [seen.volume(len(seen.points)) for seen in (cold, warm)]
    cold_needs, warm_needs = (seen.networks_until(REACHED * ends[0]) for seen in (cold, warm))
    reached = cold_needs is not None and warm_needs is not None
    return {
        "model": name,
        "cold_networks": cold_needs,
        "warm_networks": warm_needs,
        "cold_trained": cold.networks[-1],
        "warm_trained": warm.networks[-1],
        "warm_over_cold_hypervolume": ends[1] / ends[0] if ends[0] else math.nan,
        # A network at least is trained, or the comparison says nothing.
        "ratio": max(cold_needs or 0, 1) / max(warm_needs or 0, 1) if reached else 0.0,
    }


@dataclass(frozen=True)
class Seen:
    """A search as it is compared: the points in the order measured, costs as logarithms of ratios.

    Attributes
    ----------
    points
        Of each record, less is better, relative to the original; None where it failed or breaks
        the bound on the quality.
    networks
        How many were trained by then.
    """

    points: tuple[tuple[float, ...] | None, ...]
    networks: tuple[int, ...]

    def volume(self, count: int) -> float:
        """Return the hypervolume of the first records, from somewhat beyond the original.

        On plain scales the first change of the runtime would be nearly all of it.
        """
        points = [point for point in self.points[:count] if point is not None]
        if not points:
            return 0.0
        corner = [WORST_DROP, *[math.log(MARGIN)] * (len(points[0]) - 1)]
        return float(hypervolume(np.array(points), ref=corner))

    def networks_until(self, goal: float) -> int | None:
        """Return the networks that were trained when the front first reached a hypervolume."""
        counts = range(1, len(self.points) + 1)
        reached = (self.networks[count - 1] for count in counts if self.volume(count) >= goal)
        return next(reached, None)


def _seen(history: History, other: History | None = None) -> Seen:
    """Return a search; what another one measured as well has the mean of both figures."""
    mine, theirs = _figures(history), _figures(other) if other else {}
    trained = [
        stage["number"]
        for stage in history.stages
        if stage["stage"] == "network" and stage.get("trained") and not stage["cached"]
    ]
    front, points = history.front, list[tuple[float, ...] | None]()
    for record in history.records:
        found = [f[record.recipe.id] for f in (mine, theirs) if record.recipe.id in f]
        kept = record.recipe.id in mine and front.feasible(record)
        points.append(tuple(map(fmean, zip(*found, strict=True))) if kept else None)
    numbers = [record.number for record in history.records]
    return Seen(tuple(points), tuple(sum(t <= number for t in trained) for number in numbers))


def _figures(history: History) -> dict[str, tuple[float, ...]]:
    """Return recipe to its figures relative to the original's: less is better."""
    front = history.front
    original = next(record for record in front.measured if record.role == "original")
    then = _scaled(original, front)
    return {
        record.recipe.id: tuple(a - b for a, b in zip(_scaled(record, front), then, strict=True))
        for record in front.measured
    }


def _scaled(record: Record, front: Front) -> list[float]:
    """Return the figures of a record: less is better, and what has a unit is a logarithm."""
    stats = ((axis, record.stat(axis.name)) for axis in front.axes)
    return [
        axis.sign * (math.log(stat.value) if axis.unit else stat.value)
        for axis, stat in stats
        if stat is not None
    ]


def _search(model: nn.Module, folder: Path, trials: int, **options: Any) -> Search:
    """Return a search; one that a folder kept from an earlier run is taken as it is."""
    if (folder / LOG).is_file() and (kept := autoopt.open(folder)).status.state == "finished":
        return kept
    return autoopt.search(
        model,
        _parts(),
        space=_space(),
        budget=f"{trials} trials",
        max_drop=MAX_DROP,
        threads=1,
        request_size=16,
        folder=folder,
        cache=folder / "cache",  # nothing is shared but what is asked for
        block=True,
        **options,
    )


@cache
def _parts() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Return the digits of 8×8 in three parts, of which models are trained on the first alone."""
    x, y = (torch.as_tensor(values) for values in images())
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    first, second, third = (TensorDataset(x[rows], y[rows]) for rows in order.tensor_split(
        [int(0.6 * len(y)), int(0.8 * len(y))]))  # fmt: skip
    return first, second, third


def _space() -> SearchSpace:
    """Return the quick space without what repeats others; training is what is counted."""
    return quick().narrow(
        runtime=["eager", "onnxruntime"],
        quantization=["float32", "static_int8", "weight_only"],
        parallel=["default"],
    )


def _convolutional(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    widths = [(1, 32), (32, 32), (32, 64), (64, 64)]
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in widths
    ]
    network = nn.Sequential(
        *blocks[:2], nn.MaxPool2d(2), *blocks[2:], nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    return fit(network, *_parts()[0].tensors, epochs=EPOCHS)


def _resnet() -> nn.Module:
    config = _library().ResNetConfig(
        num_channels=1, embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1],
        layer_type="basic", num_labels=10,
    )  # fmt: skip
    return _trained(lambda library: library.ResNetForImageClassification(config))


def _vit() -> nn.Module:
    config = _library().ViTConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192,
        image_size=8, patch_size=2, num_channels=1, num_labels=10,
    )  # fmt: skip
    return _trained(lambda library: library.ViTForImageClassification(config))


class Logits(nn.Module):
    """A classifier of the library that gives its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of each class."""
        logits: torch.Tensor = self.network(pixel_values=x).logits
        return logits


def _trained(make: Callable[[Any], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        network = Logits(make(_library()))
        return fit(network, *_parts()[0].tensors, epochs=EPOCHS, rate=RATE)


def _library() -> Any:
    import transformers

    return transformers


MODELS: Mapping[str, Callable[[], nn.Module]] = {
    "cnn": lambda: _convolutional(seed=1),
    "resnet": _resnet,
    "vit": _vit,
}
