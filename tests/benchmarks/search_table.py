"""Make the table of real candidates that the replay of the search benchmark draws from.

``python -m tests.benchmarks.search_table`` builds and measures every candidate of two spaces, one
process a model, and writes `TABLE`. It needs a machine with nothing else to do; on a busy one the
latencies are worth nothing. An interrupted run is taken up where it ended.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.measurement import Measurement
from autoopt.outcome import Done, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure
from search_spaces import Choice, SearchSpace
from tests.benchmarks import environment

if TYPE_CHECKING:
    from torch import nn

    from autoopt.evaluate import Evaluator

TABLE = Path(__file__).with_name("search_table.json.gz")
MEASURE_SECONDS = 0.6

ATTEMPTS, WIDE = 3, 1.25
"""Measurements of one candidate at most, while the upper end of its interval is more than so many
times the lower one: a busy moment is not kept."""

HIDDEN = 1024
"""Hidden units of each layer of the MLP."""

DIGITS = 5
"""Significant digits of what is kept."""


@dataclass(frozen=True)
class Subject:
    """A model, widths of its students, and the epochs of each way to train them."""

    widths: tuple[float, ...]
    finetune: int
    distill: tuple[int, int]

    def space(self) -> SearchSpace:
        """Return every network, precision and runtime of the table: a full product."""
        rate = {"learning_rate": Choice([3e-3])}
        return SearchSpace(
            {
                "student": {"none": {}, "width": {"fraction": Choice(self.widths)}},
                "pruning": {"none": {}, "magnitude": {"ratio": Choice([0.5])}},
                "factorization": {"none": {}},
                "recovery": {
                    "none": {},
                    "finetune": {"epochs": Choice([self.finetune]), **rate},
                    "distill": {"epochs": Choice(self.distill), **rate},
                },
                "quantization": {
                    "float32": {},
                    "bfloat16": {},
                    "static_int8": {},
                    "dynamic_int8": {},
                    "weight_only": {"bits": Choice([8])},
                    "packed": {"bits": Choice([4, 2])},
                    "codebook": {"clusters": Choice([16])},
                },
                "runtime": {"eager": {}, "onnxruntime": {}, "openvino": {}},
                "parallel": {"default": {}},
            }
        )

    def recipes(self) -> Iterator[Recipe]:
        """Yield every candidate once, those of one network in a row, the original's first."""
        every = map(Recipe.of, self.space().points())
        found = {recipe.id: recipe for recipe in every}
        networks = {r.stage_id("network"): not r.is_original for r in found.values()}
        order = sorted(networks, key=lambda key: networks[key])
        yield from sorted(found.values(), key=lambda r: order.index(r.stage_id("network")))


SUBJECTS: Mapping[str, Subject] = {
    "cnn": Subject((0.25, 0.5), finetune=4, distill=(6, 16)),
    "mlp": Subject((0.25, 0.375, 0.5), finetune=8, distill=(8, 32)),
}


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search_table")
    parser.add_argument("--output", type=Path, default=TABLE)
    parser.add_argument("--cache", type=Path, default=Path("search-table-cache"))
    options = parser.parse_args()
    # Two models at a time on two cores: each has one thread, and neither waits for the other.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(len(SUBJECTS), get_context("spawn")) as pool:
        tables = list(pool.map(_measured, SUBJECTS, [options.cache] * len(SUBJECTS)))
    content = {"environment": environment.describe(), **dict(zip(SUBJECTS, tables, strict=True))}
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    options.output.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{sum(map(len, tables))} candidates, {options.output.stat().st_size} bytes")


def _measured(name: str, cache: Path) -> list[dict[str, Any]]:
    """Return one row a candidate of a model's space."""
    import torch

    torch.set_num_threads(1)
    evaluator = _evaluator(name, cache / name)
    done = cache / f"{name}.jsonl"
    lines = done.read_text().splitlines() if done.exists() else []
    known = {Recipe.from_dict(row["recipe"]).id: row for row in map(json.loads, lines)}
    recipes = list(SUBJECTS[name].recipes())
    with done.open("a") as file:
        for recipe in recipes:
            if recipe.id not in known:
                known[recipe.id] = _row(evaluator, recipe)
                file.write(json.dumps(known[recipe.id]) + "\n")
                file.flush()
    return [known[recipe.id] for recipe in recipes]


def _row(evaluator: Evaluator, recipe: Recipe) -> dict[str, Any]:
    """Build and measure one candidate; a failure is a row with its cause."""
    row: dict[str, Any] = {"recipe": recipe.to_dict(), "seconds": {}}
    measurement: Measurement | None = None
    stages: tuple[Stage, ...] = ("network", "artifact", "deployment")
    for stage in stages:
        outcome = evaluator.run(stage, recipe)
        if isinstance(outcome, Failure):
            return row | {"failure": f"{outcome.kind}: {outcome.message[:200]}"}
        # What came from the cache counts what it once took.
        built = outcome.built
        row["seconds"][stage] = _short(built.cost if built else outcome.seconds)
        measurement = outcome.measurement
    figures = _figures(measurement)
    for _ in range(ATTEMPTS - 1):
        if _width(figures) <= WIDE:
            break
        outcome = evaluator.run("deployment", recipe)
        if isinstance(outcome, Done):
            figures = min(figures, _figures(outcome.measurement), key=_width)
            row["seconds"]["deployment"] = _short(outcome.seconds)
    return row | figures


def _width(figures: Mapping[str, float]) -> float:
    """Return the upper end of the latency's interval over the lower one."""
    return figures["latency_high"] / figures["latency_low"]


def _figures(measured: Measurement | None) -> dict[str, float]:
    """Return what a candidate measured: the latency as a share of the original's beside it."""
    if measured is None or measured.speedup is None or measured.test is None:
        raise ValueError("a deployment must give quality, latency and size, but this gave less")
    speedup = measured.speedup
    return {
        "error": _short(1 - measured.stats["accuracy"].value),
        "test_error": _short(1 - measured.test.value),
        "latency": _short(1 / speedup.value),
        "latency_low": _short(1 / speedup.high),
        "latency_high": _short(1 / speedup.low),
        "size": _short(measured.stats["size"].value),
    }


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _evaluator(name: str, cache: Path) -> Evaluator:
    """Return what builds and measures candidates of one model in this process."""
    from autoopt.build import Bench
    from autoopt.cache import Cache
    from autoopt.demo.data import digits
    from autoopt.evaluate import Evaluator
    from autoopt.measure import MeasurePlan
    from autoopt.targets import load_target
    from autoopt.task import make_task

    task = make_task(_model(name), digits(), metric="accuracy", request_size=16, threads=1)
    bench = Bench(task, load_target("cpu"), Cache(cache))
    plan = MeasurePlan(("quality", "latency", "size"), MEASURE_SECONDS)
    return Evaluator(bench, plan, SUBJECTS[name].space(), Recipe.of({}))


def _model(name: str) -> nn.Module:
    """Return one of the two models, trained on the digits."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from autoopt.demo.data import CLASSES, IMAGE_SIZE, digits

    torch.manual_seed(0)
    if name == "cnn":
        widths = (1, 32, 64, 64)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(widths[-1] * (IMAGE_SIZE // 8) ** 2, CLASSES)]
    else:
        layers = [nn.Flatten(), nn.Linear(IMAGE_SIZE**2, HIDDEN), nn.ReLU()]
        layers += [nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)]
    model = nn.Sequential(*layers)
    images, targets = digits()[0].tensors
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(15):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), targets[rows]).backward()
            optimizer.step()
    return model.eval()


if __name__ == "__main__":
    main()
