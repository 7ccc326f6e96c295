"""The table of benchmarks: one line a benchmark, imported when it is run."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


class CannotRunError(Exception):
    """A benchmark that this machine cannot run; its message is the reason, in a sentence."""


@dataclass(frozen=True)
class Report:
    """What a benchmark gives that has more to say than figures.

    Attributes
    ----------
    figures
        Name to finite number.
    lists
        Name to rows of plain values; they stand in the JSON beside the figures.
    missed
        What falls short of what is promised, in words; the command then ends with status 1.
    """

    figures: Mapping[str, float]
    lists: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    missed: Sequence[str] = ()


def below(figures: Mapping[str, float], promised: Mapping[str, float]) -> list[str]:
    """Say which figures are less than promised."""
    return [
        f"{name} is {figures[name]:.3g}, at least {least} is promised"
        for name, least in promised.items()
        if figures[name] < least
    ]


Benchmark = Callable[..., "Mapping[str, float] | Report"]
"""Returns its figures; one that has options of its own takes them as a list of words."""

BENCHMARKS: Mapping[str, str] = MappingProxyType(
    {
        "agreement": "tests.benchmarks.agreement:run",
        "cuda": "tests.benchmarks.cuda:run",
        "early-stop": "tests.benchmarks.early_stop:run",
        "matrix": "tests.benchmarks.matrix:run",
        "matrix-quick": "tests.benchmarks.matrix:run_quick",
        "measurement": "tests.benchmarks.measurement:run",
        "overhead": "tests.benchmarks.overhead:run",
        "panel": "tests.benchmarks.panel:run",
        "parallel": "tests.benchmarks.parallel:run",
        "round-trips": "tests.benchmarks.round_trips:run",
        "scaling": "tests.benchmarks.scaling:run",
        "search": "tests.benchmarks.search:run",
        "techniques": "tests.benchmarks.techniques:run",
        "transfer": "tests.benchmarks.transfer:run",
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


def measure(name: str, benchmark: Benchmark) -> Report:
    """Run `benchmark` and check that what it returns are figures.

    Raises
    ------
    ValueError
        If it returns no figure, or one that is not a finite number.
    """
    found = benchmark()
    report = found if isinstance(found, Report) else Report(found)
    figures = dict(report.figures)
    if not figures:
        raise ValueError(f"benchmark {name!r} must return at least one figure, but returned none")
    for figure, value in figures.items():
        if not _is_figure(value):
            raise ValueError(
                f"a figure must be a finite number, but {name!r} returned {figure}={value!r}"
            )
    return Report(figures, report.lists, report.missed)


def _is_figure(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
