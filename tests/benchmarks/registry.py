"""The table of benchmarks: one line a benchmark, imported when it is run."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

Benchmark = Callable[[], Mapping[str, float]]

BENCHMARKS: Mapping[str, str] = MappingProxyType(
    {
        "overhead": "tests.benchmarks.overhead:run",
        "panel": "tests.benchmarks.panel:run",
    }
)


def resolve(name: str, *, table: Mapping[str, str] = BENCHMARKS) -> Benchmark:
    """Import the benchmark `name` of `table`.

    Raises
    ------
    KeyError
        If the table has no such name; the message lists the known ones.
    """
    if name not in table:
        known = ", ".join(sorted(table))
        raise KeyError(f"unknown benchmark {name!r}; known: {known}")
    module, _, function = table[name].partition(":")
    benchmark: Benchmark = getattr(importlib.import_module(module), function)
    return benchmark


def measure(name: str, benchmark: Benchmark) -> dict[str, float]:
    """Run `benchmark` and check that what it returns are figures.

    Raises
    ------
    ValueError
        If it returns no figure, or one that is not a finite number.
    """
    figures = dict(benchmark())
    if not figures:
        raise ValueError(f"benchmark {name!r} must return at least one figure, but returned none")
    for figure, value in figures.items():
        if not _is_figure(value):
            raise ValueError(
                f"a figure must be a finite number, but {name!r} returned {figure}={value!r}"
            )
    return figures


def _is_figure(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
