"""Does a measurement that is repeated say the same again? Ours, torch's timer and a plain loop.

Twenty candidates are measured in five rounds on the machine as it is, and in five more while
another process burns one core. Every candidate is loaded anew for each of its measurements. Ours
comes first, since it decides itself when it is done; each peer then gets the time that ours took.
Peers are asked where it is hard, beside the busy process.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

from tests.benchmarks.registry import Report

ROUNDS = 5
SECONDS = 0.35
"""Time after which ours begins no round once it has its fewest."""

THREADS = 2
REQUEST = 8
WIDTHS = (36, 42, 48, 54, 60)
FORMS = (
    ("openvino", "float32"),
    ("openvino", "static"),
    ("onnxruntime", "float32"),
    ("onnxruntime", "static"),
)
"""Runtime and precision; with each of the widths that makes twenty candidates."""

METHODS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"quiet": ("ours",), "loaded": ("ours", "torch", "loop")}
)
"""Condition to the methods that measure under it."""

_BURN = "while True: pass"


@dataclass(frozen=True)
class Taken:
    """One measurement by one method, with the interval where the method gives one.

    Values are in milliseconds; `reference_ms` is what the original took meanwhile where the value
    is relative to it, and `seconds` the time that measuring took.
    """

    candidate: str
    condition: str
    round: int
    method: str
    value: float
    low: float
    high: float
    seconds: float
    reference_ms: float | None = None


def run(argv: Sequence[str] = ()) -> Report:
    """Measure all candidates again and again, alone and beside a busy process."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as scratch:
        candidates = build_candidates(Path(scratch))
        taken = without_drift(list(_rounds(candidates, "quiet", options)))
        with burning_core():
            taken += without_drift(list(_rounds(candidates, "loaded", options)))
    return Report(figures(taken), {"measurements": [asdict(item) for item in taken]})


def without_drift(taken: Sequence[Taken]) -> list[Taken]:
    """Return measurements scaled by how far the original was from its median, as a search does."""
    known = [item.reference_ms for item in taken if item.reference_ms]
    usual = median(known) if known else 0.0
    factors = [usual / item.reference_ms if item.reference_ms else 1.0 for item in taken]
    return [
        replace(item, value=item.value * f, low=item.low * f, high=item.high * f)
        for item, f in zip(taken, factors, strict=True)
    ]


def figures(taken: Sequence[Taken]) -> dict[str, float]:
    """Return agreement between rounds for every method and condition, and our coverage."""
    found = {}
    for condition, method in [(c, m) for c, methods in METHODS.items() for m in methods]:
        table = _table(taken, condition, method)
        name = f"tau_{condition}" if method == "ours" else f"{method}_tau_{condition}"
        found[name] = mean_tau(table)
    medians = {c: median(v.values()) for c, v in _table(taken, "quiet", "ours").items()}
    found["coverage"] = coverage(taken, "quiet")
    found["coverage_loaded"] = coverage(taken, "loaded")
    found["span"] = max(medians.values()) / min(medians.values())
    own = [t for t in taken if (t.condition, t.method) == ("quiet", "ours")]
    found["half_width"] = median((t.high - t.low) / 2 / t.value for t in own)
    found["seconds_each"] = median(t.seconds for t in own)
    found["candidates"] = float(len(medians))
    loaded = [t for t in taken if (t.condition, t.method) == ("loaded", "ours")]
    found["paired_quiet"] = fmean(t.reference_ms is not None for t in own)
    found["paired_loaded"] = fmean(t.reference_ms is not None for t in loaded)
    return found


def mean_tau(table: dict[str, dict[int, float]]) -> float:
    """Return Kendall's tau of candidates' order, averaged over all pairs of rounds."""
    from scipy.stats import kendalltau

    rounds = sorted(next(iter(table.values())))
    columns = [[table[name][number] for name in sorted(table)] for number in rounds]
    return fmean(
        float(kendalltau(one, other).statistic) for one, other in itertools.combinations(columns, 2)
    )


def coverage(taken: Sequence[Taken], condition: str) -> float:
    """Return how often our stated 95 % interval holds the candidate's median of all rounds."""
    own = [t for t in taken if (t.condition, t.method) == (condition, "ours")]
    table = _table(taken, condition, "ours")
    truth = {name: median(values.values()) for name, values in table.items()}
    return fmean(t.low <= truth[t.candidate] <= t.high for t in own)


def _table(taken: Sequence[Taken], condition: str, method: str) -> dict[str, dict[int, float]]:
    table: dict[str, dict[int, float]] = {}
    for item in taken:
        if (item.condition, item.method) == (condition, method):
            table.setdefault(item.candidate, {})[item.round] = item.value
    return table


def _rounds(
    candidates: dict[str, Path], condition: str, options: argparse.Namespace
) -> Iterator[Taken]:
    from autoopt.interfaces import Parallel
    from autoopt.objectives.timing import time_pairs
    from autoopt.runtimes.opening import open_artifact

    parallel = Parallel(THREADS)
    request = _task(_original()).example[0].numpy()
    with closing(open_artifact(candidates["original"], parallel)) as reference:
        names = [name for name in candidates if name != "original"]
        for number, name in itertools.product(range(options.rounds), names):
            with closing(open_artifact(candidates[name], parallel)) as deployment:
                begin = time.perf_counter()
                paired = time_pairs(
                    lambda: deployment(request), lambda: reference(request), seconds=options.seconds
                )
                stat, reference_ms = paired.time()
                seconds = time.perf_counter() - begin
                ours = (stat.value, stat.low, stat.high)
                yield Taken(name, condition, number, "ours", *ours, seconds, reference_ms)
                for method in METHODS[condition][1:]:
                    found = _PEERS[method](lambda: deployment(request), seconds)
                    yield Taken(name, condition, number, method, found, found, found, seconds)


def _torch(call: Callable[[], object], seconds: float) -> float:
    from torch.utils.benchmark import Timer

    timer = Timer("call()", globals={"call": call}, num_threads=THREADS)
    return 1e3 * float(timer.blocked_autorange(min_run_time=seconds).median)


def _loop(call: Callable[[], object], seconds: float) -> float:
    """Time as most scripts do: a few calls to warm up, then a loop; time over calls."""
    for _number in range(3):
        call()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        call()
        calls += 1
    return 1e3 * (time.perf_counter() - start) / calls


_PEERS = {"torch": _torch, "loop": _loop}


@contextmanager
def burning_core() -> Iterator[None]:
    """Let another process keep one core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", _BURN])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def build_candidates(folder: Path) -> dict[str, Path]:
    """Build residual networks of several widths in several runtimes, and the original."""
    from autoopt.runtimes import export_program

    made = {"original": _built(folder, "eager", "float32", _original())}
    for width in WIDTHS:
        network = _network(width)
        exported = export_program(network, _task(network))
        for runtime, precision in FORMS:
            name = f"{runtime} {precision} {width}"
            made[name] = _built(folder, runtime, precision, network, exported=exported)
    return made


def _built(
    folder: Path, runtime: str, precision: str, network: Any, *, exported: Any = None
) -> Path:
    from autoopt.interfaces import Quantization
    from autoopt.runtimes import load_runtime

    place = Path(tempfile.mkdtemp(dir=folder))
    request = Quantization("static", 8) if precision == "static" else Quantization()
    load_runtime(runtime).build(network, request, _task(network), place, exported=exported)
    return place


@cache
def _original() -> Any:
    """Return what candidates are timed beside: the widest of the networks, in eager float32."""
    return _network(WIDTHS[-1])


def _network(width: int) -> Any:
    """Return a residual network whose three stages are `width`, 1.5 and 2 times as wide."""
    import torch
    from torch import nn

    from autoopt.demo.model import BasicBlock

    torch.manual_seed(width)
    widths = (width, width, 3 * width // 2, 2 * width)
    blocks = [
        BasicBlock(before, after, stride=1 if before == after else 2)
        for before, after in itertools.pairwise(widths)
    ]
    stem = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10)]
    return nn.Sequential(*stem, *blocks, *head).eval()


@cache
def _task(network: Any) -> Any:
    from autoopt.demo.data import digits
    from autoopt.task import make_task

    return make_task(network, digits(), request_size=REQUEST, threads=THREADS)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time that ours may take")
    return parser.parse_args(list(argv))
