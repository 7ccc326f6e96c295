"""What a recipe, and a search, are worth for another model.

A search on a small convolutional network finds a strategy. Its recipe is applied to a ResNet and
a vision transformer of the library `transformers`. Then each of three models is searched twice,
cold and beginning with the first search's front, and the networks are counted that each has
trained when it first holds the hypervolume that the cold one ends with.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moocore import hypervolume
from torch import nn
from torch.utils.data import TensorDataset

import autoopt
from autoopt.front import Front
from autoopt.handle.handle import Search
from autoopt.history import History
from autoopt.measurement import Axis
from search_spaces import SearchSpace, quick
from tests.benchmarks.registry import Report
from tests.small_searches import cnn, fit, images

TRIALS = 36
MAX_DROP = 0.03
REACHED = 0.99
"""Share of the cold search's hypervolume that counts as the same: timings are noisy."""

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
        where = Path(scratch)
        first = _search(_convolutional(seed=0), where / "first", options.trials)
        pick = first.best(max_drop=MAX_DROP)
        applied = [_applied(name, pick, where) for name in ("resnet", "vit")]
        warmed = [_warmed(name, first, where, options.trials) for name in options.models]
    ratios = [float(str(row["ratio"])) for row in warmed]
    return Report(
        {
            "applied_speedup_min": min(float(str(row["speedup"])) for row in applied),
            "applied_drop_max": max(float(str(row["drop"])) for row in applied),
            "warm_network_ratio": sum(ratios) / len(ratios),
            "warm_network_ratio_min": min(ratios),
            "warm_reached": sum(ratio > 0 for ratio in ratios) / len(ratios),
        },
        {"applied": applied, "warmed": warmed},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks transfer")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each search")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    return parser


def _applied(name: str, pick: autoopt.Strategy, where: Path) -> dict[str, object]:
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
    cold = _search(MODELS[name](), where / f"cold-{name}", trials)._known()
    warm = _search(MODELS[name](), where / f"warm-{name}", trials, warm_start=[first])._known()
    # Each search is seen against its own original: how fast the machine was meanwhile cancels out.
    ends = [_volume(history, len(history.records)) for history in (cold, warm)]
    cold_needs, warm_needs = (_networks_until(h, REACHED * ends[0]) for h in (cold, warm))
    reached = cold_needs is not None and warm_needs is not None
    return {
        "model": name,
        "cold_networks": cold_needs,
        "warm_networks": warm_needs,
        "warm_over_cold_hypervolume": ends[1] / ends[0] if ends[0] else math.nan,
        # A network at least is trained, or the comparison says nothing.
        "ratio": max(cold_needs or 0, 1) / max(warm_needs or 0, 1) if reached else 0.0,
    }


def _networks_until(history: History, goal: float) -> int | None:
    """Return the networks that were trained when the front first reached a hypervolume."""
    for count, record in enumerate(history.records, start=1):
        if _volume(history, count) >= goal:
            return sum(
                1
                for stage in history.stages
                if stage["stage"] == "network"
                and stage.get("trained")
                and not stage["cached"]
                and stage["number"] <= record.number
            )
    return None


def _volume(history: History, count: int) -> float:
    """Return the hypervolume of the first records' front, costs as logarithms of their ratios.

    On plain scales the first change of the runtime would be nearly all of it.
    """
    front: Front = replace(history.front, records=history.records[:count])
    points = [
        [_seen(axis, stat.value) for axis in front.axes if (stat := record.stat(axis.name))]
        for record in front.members
    ]
    if not points:
        return 0.0
    corner = _corner(history)
    reference = [_seen(axis, value) for axis, value in zip(front.axes, corner, strict=True)]
    return float(hypervolume(np.array(points), ref=reference))


def _seen(axis: Axis, value: float) -> float:
    """Return a figure as it is compared: less is better, and what has a unit is a logarithm."""
    return axis.sign * (math.log(value) if axis.unit else value)


def _corner(history: History) -> list[float]:
    """Return the worst that counts: somewhat beyond the original."""
    original, corner = history.records[0], []
    for axis in history.front.axes:
        stat = original.stat(axis.name)
        value = stat.value if stat else math.nan
        corner.append(value - WORST_DROP if axis.sign < 0 else value * MARGIN)
    return corner


def _search(model: nn.Module, folder: Path, trials: int, **options: Any) -> Search:
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
    """Return the quick space without what starts slowly or repeats others."""
    return quick().narrow(
        runtime=["eager", "onnxruntime", "openvino"],
        quantization=["float32", "static_int8", "weight_only"],
        parallel=["default"],
    )


def _convolutional(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return fit(cnn(), *_parts()[0].tensors, epochs=EPOCHS)


def _resnet() -> nn.Module:
    config = _library().ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1],
        layer_type="basic", num_labels=10,
    )  # fmt: skip
    return _trained(lambda library: library.ResNetForImageClassification(config))


def _vit() -> nn.Module:
    config = _library().ViTConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
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
