"""Precisions and ways to launch them on a CUDA device, for a ResNet-50 and a BERT-base.

Each is built and served by the project's own runtimes, and timed by the device's events while the
requests rotate and the device's cache is overwritten between two calls, so that nothing is timed
that lies in the cache only. Weights are random: what is asked is how fast, not how good.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoopt.devices import PlacedDeployment, device_of
from autoopt.errors import (
    ArtifactError,
    AutooptError,
    DisagreementError,
    RefusedError,
    UntraceableError,
)
from autoopt.interfaces import Parallel, Quantization
from autoopt.measurement import Stat
from autoopt.objectives.clock import clock_of
from autoopt.objectives.tail import percentile_stat
from autoopt.objectives.timing import Clock
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.runtimes.opening import open_own
from tests.benchmarks.progress import told
from tests.benchmarks.registry import CannotRunError, Report

if TYPE_CHECKING:
    from autoopt.interfaces import Array
    from autoopt.task import Task

NONE_HERE = (
    "the benchmark 'cuda' needs a CUDA device, and torch finds none here; run it on a machine that "
    "has one, with a torch that was built for it."
)
PRECISIONS: Mapping[str, Quantization] = MappingProxyType(
    {
        "fp32": Quantization(),
        "fp16": Quantization("float16", 16),
        "bf16": Quantization("bfloat16", 16),
        "int8": Quantization("dynamic", 8),
        "fp8": Quantization("fp8", 8),
        "int4": Quantization("int4", 4, "per_group", scheme="affine", group=128),
    }
)
WAYS = ("eager", "compiled", "cudagraphs")
BATCH = 32
SAMPLES = 2 * BATCH
"""Samples to train on, which calibrate, and as many to validate and to test on together."""

LENGTH, WORDS = 128, 30522
CLASSES = 1000
REQUESTS = 8
"""Requests that are answered in turn."""

CACHES = 2
"""Times the size of the device's cache that is written between two calls."""

LAST_SCALE = 0.2
"""Of the last batch norm of a block."""

WARM_CALLS = 20
FEWEST_CALLS = 30
SECONDS = 2.0


class Logits(nn.Module):
    """A network of the library `transformers` that gives its scores alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Any:
        return self.network(x).logits


@dataclass(frozen=True)
class Timed:
    """One precision launched in one way.

    Attributes
    ----------
    outcome
        ``"ok"``, or ``"refused"`` and ``"failed"`` with a reason.
    ms, low, high
        Median of a request's milliseconds, with its 95 % interval.
    calls
        That it comes from.
    per_s
        Samples a second.
    device_mb
        Peak of torch's allocator meanwhile, requests and the buffer that overwrites the cache left
        out.
    layers
        In the precision asked for; `computed` says what it became, `stayed` how many are float32.
    """

    network: str
    precision: str
    way: str
    outcome: str
    reason: str = ""
    ms: float = 0.0
    low: float = 0.0
    high: float = 0.0
    calls: int = 0
    per_s: float = 0.0
    device_mb: float = 0.0
    size_mb: float = 0.0
    layers: int = 0
    stayed: int = 0
    computed: str = ""
    error: float = 0.0


def run(argv: Sequence[str] = ()) -> Report:
    """Time every precision in every way; words in `argv` name networks, precisions or ways."""
    options = _options(argv)
    if not torch.cuda.is_available():
        raise CannotRunError(NONE_HERE)
    device = device_of(options.device)
    cells = chosen(options.only)
    rows: list[Timed] = []
    tasks: dict[str, Task] = {}
    for network, precision, way in told(cells, [" ".join(cell) for cell in cells]):
        if network not in tasks:
            tasks = {network: NETWORKS[network]()}
        rows.append(_cell((network, precision, way), tasks[network], device, options.seconds))
    return report(rows, device)


def chosen(only: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the cells that words name: all networks, precisions or ways where none is named.

    Raises
    ------
    SystemExit
        If a word is none of them.
    """
    kinds = (tuple(NETWORKS), tuple(PRECISIONS), WAYS)
    known = [name for kind in kinds for name in kind]
    if unknown := [word for word in only if word not in known]:
        raise SystemExit(f"{unknown[0]!r} is none of {', '.join(known)}")
    picked = [[name for name in kind if name in only] or list(kind) for kind in kinds]
    return [(a, b, c) for a, b, c in itertools.product(*picked)]


def report(rows: Sequence[Timed], device: str) -> Report:
    """Return milliseconds and gains over eager float32, and say what failed."""
    done = {(row.network, row.precision, row.way): row for row in rows if row.outcome == "ok"}
    figures = {f"{'_'.join(cell)}_ms": row.ms for cell, row in done.items()}
    for cell, row in done.items():
        usual = done.get((cell[0], "fp32", "eager"))
        if usual is not None and row is not usual:
            figures[f"{'_'.join(cell)}_speedup"] = usual.ms / row.ms
    counts = {f"{name}_cells": float(sum(row.outcome == name for row in rows))
              for name in ("ok", "refused", "failed")}  # fmt: skip
    missed = [
        f"{row.network} {row.precision} {row.way}: {row.reason}"
        for row in rows
        if row.outcome == "failed"
    ]
    where = [describe(device)] if device.startswith("cuda") else []
    lists = {"cells": [asdict(row) for row in rows], "device": where}
    return Report({**figures, **counts}, lists, missed)


def describe(device: str) -> dict[str, object]:
    """Return device, cache, driver and libraries: without them a figure means nothing."""
    from autoopt.measure.environment import environment_of

    found = environment_of(device)
    return {**found, "cache_mb": cache_bytes(device) / 1e6}


def cache_bytes(device: str) -> int:
    """Return the bytes of the cache that all multiprocessors of a device share."""
    return int(torch.cuda.get_device_properties(torch.device(device)).L2_cache_size)


def _cell(cell: tuple[str, str, str], task: Task, device: str, seconds: float) -> Timed:
    """Build and time one cell; what is refused or fails says why."""
    network, precision, way = cell
    runtime, request = load_runtime(way), PRECISIONS[precision]

    def ended(outcome: str, reason: object) -> Timed:
        return Timed(network, precision, way, outcome, " ".join(str(reason).split())[:500])

    from autoopt.targets import load_target

    if reason := runtime.refuse(request, task, load_target(device)):
        return ended("refused", reason)
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as scratch:
        folder = Path(scratch)
        try:
            runtime.build(task.model, request, task, folder, device=device)
            with closing(open_own(folder, Parallel(task.threads))) as deployment:
                assert isinstance(deployment, PlacedDeployment)
                stat, held = on_device(deployment, requests_of(task), device, seconds)
        except (UntraceableError, DisagreementError) as error:
            return ended("failed", error)
        except RefusedError as error:
            return ended("refused", error)
        except (ArtifactError, AutooptError, RuntimeError, AssertionError, ValueError) as error:
            return ended("failed", f"{type(error).__name__}: {error}")
        realised = read_manifest(folder).realised
        return Timed(
            network, precision, way, "ok",
            ms=stat.value, low=stat.low, high=stat.high, calls=stat.n,
            per_s=1e3 * BATCH / stat.value,
            device_mb=held / 1e6,
            size_mb=artifact_size(folder) / 1e6,
            layers=realised["layers_quantized"],
            stayed=len(realised.get("stayed_in_float32", ())),
            computed=realised["precision"],
            error=realised["agreement"]["relative_error"],
        )  # fmt: skip


def on_device(
    deployment: PlacedDeployment, requests: Sequence[Sequence[Array]], device: str, seconds: float
) -> tuple[Stat, int]:
    """Return the time of a request on a CUDA device, and the bytes that it holds meanwhile."""
    place = torch.device(device)
    before = torch.cuda.memory_allocated(place)
    buffer = torch.empty(CACHES * cache_bytes(device), dtype=torch.int8, device=place)
    calls = [deployment.placed(*request) for request in requests]
    ours = torch.cuda.memory_allocated(place) - before
    torch.cuda.reset_peak_memory_stats(place)
    stat = rotated(calls, clock_of(device), flush=lambda: buffer.zero_(), seconds=seconds)
    return stat, torch.cuda.max_memory_allocated(place) - ours


def rotated(
    calls: Sequence[Callable[[], object]],
    clock: Clock,
    *,
    flush: Callable[[], object],
    seconds: float,
) -> Stat:
    """Return the median milliseconds of calls that are made in turn, each with a cold cache.

    Parameters
    ----------
    calls
        Each answers another request that lies on the device.
    clock
        What times one; it waits until the device is idle, so that `flush` is over then.
    flush
        Overwrites the cache; not timed.
    seconds
        Sum of the times after which no further call is made, once there are enough.
    """
    turn: Iterator[Callable[[], object]] = itertools.cycle(calls)
    for _ in range(WARM_CALLS):
        flush()
        clock(next(turn))
    times: list[float] = []
    while len(times) < FEWEST_CALLS or sum(times) < 1e3 * seconds:
        flush()
        times.append(1e3 * clock(next(turn)))
    return percentile_stat(times, 0.5)[0]


def requests_of(task: Task) -> list[list[Array]]:
    """Return requests that differ, as many as are answered in turn."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(REQUESTS):
        order = generator.permutation(len(task.example[0]))
        found.append([tensor.numpy()[order] for tensor in task.example])
    return found


def resnet50() -> Task:
    """Return ResNet-50 of the library `transformers` on images of 224 × 224."""
    library: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = library.ResNetConfig(num_labels=CLASSES)
    network = library.ResNetForImageClassification(config)
    images = np.random.default_rng(0).standard_normal((2 * SAMPLES, 3, 224, 224)).astype(np.float32)
    _settle(network, torch.from_numpy(images[:BATCH]))
    return _task(network, images)


def bert_base() -> Task:
    """Return BERT-base of the library `transformers` on texts of 128 tokens."""
    library: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = library.BertConfig(num_labels=CLASSES)
    network = library.BertForSequenceClassification(config)
    texts = np.random.default_rng(0).integers(0, WORDS, (2 * SAMPLES, LENGTH))
    return _task(network, texts)


NETWORKS: Mapping[str, Callable[[], Task]] = MappingProxyType(
    {"resnet50": resnet50, "bert_base": bert_base}
)


def _settle(network: nn.Module, images: torch.Tensor) -> None:
    """Give random weights the nature of trained ones, as far as rounding goes.

    Batch norms get the statistics of what they see, and what a block adds is small beside what
    passes it by: else fifty layers of noise make much of every rounding.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            if name.endswith("layer.2.normalization"):
                nn.init.constant_(module.weight, LAST_SCALE)
    network.train()
    with torch.no_grad():
        network(images)
    network.eval()


def _task(network: nn.Module, inputs: Array) -> Task:
    """Return a task whose targets are the network's own outputs."""
    from autoopt.task import make_task

    model = Logits(network).eval()
    with torch.no_grad():
        parts = [model(torch.from_numpy(part)) for part in np.array_split(inputs, 4)]
    targets = torch.cat(parts).numpy()
    train, valid = (slice(0, SAMPLES), slice(SAMPLES, None))
    data = ((inputs[train], targets[train]), (inputs[valid], targets[valid]))
    return make_task(model, data, metric="r2", request_size=BATCH)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks cuda")
    names = ", ".join((*NETWORKS, *PRECISIONS, *WAYS))
    parser.add_argument("only", nargs="*", help=f"what to time, of {names}; all when absent")
    parser.add_argument("--device", default="cuda", help="cuda or cuda:N (default: the first)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time of a cell at least")
    return parser.parse_args(argv)
