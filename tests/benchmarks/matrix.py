"""Every technique on every common architecture: what works, what is refused, and why.

The command fails where a cell does, and where the whole matrix falls short of `PROMISED`.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from tests.architectures import ARCHITECTURES, trained_task
from tests.benchmarks.progress import told
from tests.benchmarks.registry import Report, below
from tests.contract import Cell, Contract
from tests.subjects import Subject, subjects

QUICK = ("mlp", "resnet", "gpt2")
"""A table, images, text: one of each for the quick run."""

MARKS = {"ok": "+", "refused": "r", "not_applicable": ".", "failed": "F"}

PROMISED = {"techniques_ok": 20, "architectures": 11, "ok_share": 0.8}
"""What the whole matrix reaches at least; the techniques are those that work somewhere."""

WIDEST = 200
"""Characters of a line: the matrix must not be folded where no terminal is."""


def run(names: Sequence[str] = ()) -> Report:
    """Check every technique on the architectures named, or on all of them, and print the matrix.

    Raises
    ------
    ValueError
        If a name is no architecture; the message lists the known ones.
    """
    if unknown := set(names) - set(ARCHITECTURES):
        raise ValueError(
            f"unknown architectures {sorted(unknown)}; known: {', '.join(ARCHITECTURES)}"
        )
    made = report(cells(_watched(names or ARCHITECTURES)), console=Console(width=WIDEST))
    return made if names else replace(made, missed=[*made.missed, *below(made.figures, PROMISED)])


def run_quick() -> Report:
    """Check all techniques on a few architectures."""
    return report(cells(_watched(QUICK)), console=Console(width=WIDEST))


def _watched(names: Iterable[str]) -> Iterable[str]:
    """Say on standard error how far it is, with an estimate."""
    listed = list(names)
    return told(listed, listed)


def cells(architectures: Iterable[str], chosen: Sequence[Subject] = ()) -> Iterator[Cell]:
    """Yield one cell after the other, architecture by architecture: each is trained once."""
    every = tuple(chosen) or tuple(subjects())
    for architecture in architectures:
        task = trained_task(architecture)
        with tempfile.TemporaryDirectory(prefix="autoopt-matrix-") as folder:
            contract = Contract(task, Path(folder), architecture=architecture)
            for subject in every:
                outcome, reason = contract.check(subject)
                yield Cell(subject.name, architecture, outcome, reason)


def report(found: Iterable[Cell], *, console: Console) -> Report:
    """Count the outcomes, print the matrix, and say why what failed has failed."""
    start = time.monotonic()
    listed = list(found)
    counts = Counter(cell.outcome for cell in listed)
    applying = len(listed) - counts["not_applicable"]
    console.print(matrix(listed))
    for cell in listed:
        if cell.outcome == "failed":
            console.print(f"{cell.technique} on {cell.architecture}: {cell.reason}", markup=False)
    options = [(cell.technique.partition("[")[0], cell.outcome) for cell in listed]
    figures = {
        "techniques": float(len({option for option, _ in options})),
        "techniques_ok": float(len({option for option, outcome in options if outcome == "ok"})),
        "architectures": float(len({cell.architecture for cell in listed})),
        "ok": float(counts["ok"]),
        "refused": float(counts["refused"]),
        "not_applicable": float(counts["not_applicable"]),
        "failed": float(counts["failed"]),
        "ok_share": counts["ok"] / applying if applying else 0.0,
        "seconds": time.monotonic() - start,
    }
    missed = [f"{counts['failed']} cells fail"] if counts["failed"] else []
    return Report(figures, {"cells": [asdict(cell) for cell in listed]}, missed)


def matrix(listed: Sequence[Cell]) -> Table:
    """Return techniques by architectures as a table of marks."""
    columns = list(dict.fromkeys(cell.architecture for cell in listed))
    table = Table(
        title="+ works   r refused with a reason   . the architecture lacks the part   F fails",
        title_justify="left",
        box=MARKDOWN,
    )
    table.add_column("technique", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="center", no_wrap=True)
    marks = {(cell.technique, cell.architecture): MARKS[cell.outcome] for cell in listed}
    for technique in dict.fromkeys(cell.technique for cell in listed):
        table.add_row(technique, *(marks.get((technique, name), "") for name in columns))
    return table
