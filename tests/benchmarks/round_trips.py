"""Every technique in every format: exported, loaded in a new process, and compared with before.

Answers and sizes are compared exactly; a latency agrees where its interval, measured again by
`benchmark` in the new process, shares a point with the reported one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks.registry import Report, below
from tests.round_trips import Trip, all_recipes, searched, trips

SECONDS = 0.5
"""For which each candidate is measured, before and after."""

PROMISED = {"answers_equal": 1.0, "sizes_equal": 1.0, "latency_within": 0.9}
"""Shares that are reached at least; intervals of 95 % miss each other now and then."""


def run(argv: Sequence[str] = ()) -> Report:
    """Return how many exports are, in a new process, what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks round-trips")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    options = parser.parse_args(argv)
    recipes = all_recipes()
    with tempfile.TemporaryDirectory(prefix="autoopt-trips-") as scratch:
        search = searched(
            recipes, Path(scratch), objectives=["latency", "size"], seconds=options.seconds
        )
        found = trips(search, Path(scratch), seconds=options.seconds)
    failed = [r for r in search._known().records if r.failure and r.failure.kind != "refused"]
    figures = {
        "asked": len(recipes),
        "exported": len(found),
        "failed": len(failed),
        "answers_equal": _share([np.array_equal(t.answers, t.wanted) for t in found]),
        "sizes_equal": _share([t.size == round(t.strategy["size"].value * 1e6) for t in found]),
        "latency_within": _share([trip.within for trip in found]),
        "latency_ratio": median(trip.again["ratio"] for trip in found),
    }
    missed = below(figures, PROMISED)
    if failed:
        missed.append(f"{len(failed)} candidates failed that nothing had refused")
    return Report(figures, {"trips": [_row(trip) for trip in found]}, missed)


def _share(true: Sequence[bool]) -> float:
    return sum(true) / len(true)


def _row(trip: Trip) -> dict[str, object]:
    reported = trip.strategy["latency"]
    return {
        "recipe": trip.strategy.recipe.summary,
        "reported": [reported.low, reported.value, reported.high],
        "again": [trip.again["low"], trip.again["high"]],
        "furthest": float(np.abs(np.subtract(trip.answers, trip.wanted, dtype=float)).max()),
        "bytes": trip.size,
    }
