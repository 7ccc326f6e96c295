"""The main job on real input: train, search, choose, export, load elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import autoopt
from autoopt.demo.data import digits
from autoopt.demo.model import train_model
from autoopt.errors import FolderError, SearchError
from autoopt.handle.handle import Search
from autoopt.handle.strategy import Strategy
from autoopt.runtimes import package_of
from autoopt.settings import Budget

REQUEST_SIZE = 16
THREADS = 2
SEARCH_DROP = 0.03
"""The search shows what up to three points of accuracy would buy; the pick gives up one at most."""

MAX_DROP = 0.01
WIDTH = 140
"""Columns of the table where the output is no terminal."""

_CHECK = """
import sys
import numpy as np
import autoopt
data = np.load(sys.argv[2])
with autoopt.load(sys.argv[1]) as predict:
    answers = np.concatenate([predict(part) for part in np.array_split(data["images"], 23)])
assert "torch" not in sys.modules or sys.argv[3] == "torch", "loading needs no torch"
print((answers.argmax(axis=1) == data["targets"]).mean())
"""


def run_demo(budget: str, output: Path) -> dict[str, Any]:
    """Train, search for `budget`, print and export the pick, and write ``report.json``.

    Returns
    -------
    dict
        What the report holds.

    Raises
    ------
    FolderError
        If `output` holds something that no demo wrote.
    SearchError
        If the export answers otherwise in a new process than it did in the search.
    """
    wanted = Budget.parse(budget)
    _prepare(output)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print("Training a residual network on scikit-learn's digits …")
    model, accuracy = train_model()
    console.print(f"validation accuracy {accuracy:.4f}\nSearching for {wanted} …")
    folder = output / "search"
    search = autoopt.search(
        model,
        digits(),
        budget=wanted,
        folder=folder,
        cache=folder / "cache",
        request_size=REQUEST_SIZE,
        threads=THREADS,
        max_drop=SEARCH_DROP,
        block=True,
    )
    pick = search.best(max_drop=MAX_DROP)
    exported = pick.export(output / "export", overwrite=True)
    served = _accuracy_elsewhere(exported, pick)
    report = build_report(search, pick)
    (output / "report.json").write_text(json.dumps(report, indent=2))
    _print(console, report)
    console.print(f"Loaded in a new process, the export has test accuracy {served:.4f}.")
    if abs(served - report["pick"]["test_accuracy"]) > 1e-6:
        raise SearchError(
            "the export must answer as it did in the search, but its test accuracy is "
            f"{served:.4f} instead of {report['pick']['test_accuracy']:.4f}"
        )
    console.print(f"Export: {exported}   Report: {output / 'report.json'}", soft_wrap=True)
    return report


def build_report(search: Search, pick: Strategy) -> dict[str, Any]:
    """Return the figures of a search as plain values."""
    history = search.strategies[0].history
    status = search.status
    return {
        "baseline": entry(search.pick(0)),
        "uniform": [entry(s) for s in search.strategies if s.record.role == "uniform"],
        "front": [entry(search.pick(record.number)) for record in history.front.members],
        "pick": entry(pick),
        "trials": status.trials,
        "networks_trained": status.networks_trained,
        "artifacts_built": status.artifacts_built,
        "failures": [
            {"number": record.number, "recipe": record.recipe.to_dict(), "cause": str(failure)}
            for record in history.records
            if (failure := record.failure) is not None
        ],
        "seconds": status.seconds_elapsed,
        "orchestration_share": 1 - history.work_seconds / status.seconds_elapsed,
    }


def entry(strategy: Strategy) -> dict[str, Any]:
    """Return one strategy's figures as plain values."""
    measured = strategy.measurement
    return {
        "number": strategy.number,
        "recipe": strategy.recipe.to_dict(),
        "summary": strategy.recipe.summary,
        "accuracy": strategy["accuracy"].value,
        "accuracy_low": strategy["accuracy"].low,
        "accuracy_high": strategy["accuracy"].high,
        "test_accuracy": measured.test.value if measured.test else None,
        "latency_ms": strategy["latency"].value,
        "latency_ms_low": strategy["latency"].low,
        "latency_ms_high": strategy["latency"].high,
        "size_mb": strategy["size"].value,
        "speedup": measured.speedup.value if measured.speedup else None,
    }


def _prepare(output: Path) -> None:
    """Clear what an earlier demo left, and nothing else."""
    if output.exists() and not output.is_dir():
        raise FolderError(f"the output must be a folder, but {output} is a file")
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    earlier = (output / "search" / "log.sqlite").is_file() or "search" not in names
    if not names <= {"search", "export", "report.json"} or not earlier:
        raise FolderError(
            f"the output folder must be empty or that of an earlier demo, but {output} holds "
            f"{', '.join(sorted(names)[:5])}"
        )
    shutil.rmtree(output / "search", ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)


def _accuracy_elsewhere(exported: Path, pick: Strategy) -> float:
    """Return the test accuracy of an export, loaded in a process that knows nothing of it."""
    images, targets = digits()[2].tensors
    library = "torch" if package_of(pick.recipe["runtime"].option) == "torch" else "none"
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "test.npz"
        np.savez(data, images=images.numpy(), targets=targets.numpy())
        done = subprocess.run(
            [sys.executable, "-c", _CHECK, str(exported.resolve()), str(data), library],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SearchError(f"the export could not be loaded in a new process:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def _print(console: Console, report: dict[str, Any]) -> None:
    table = Table(title="Baseline, single techniques, front and pick")
    for name in ("", "#", "strategy"):
        table.add_column(name)
    for name in ("accuracy", "test", "latency ms", "size MB", "speedup"):
        table.add_column(name, justify="right")
    groups = [("baseline", [report["baseline"]]), ("single", report["uniform"])]
    groups += [("front", report["front"]), ("pick", [report["pick"]])]
    for name, entries in groups:
        for row in entries:
            table.add_row(
                name,
                str(row["number"]),
                row["summary"],
                f"{row['accuracy']:.4f}",
                f"{row['test_accuracy']:.4f}",
                f"{row['latency_ms']:.2f}",
                f"{row['size_mb']:.3f}",
                f"{row['speedup']:.1f}×",
                style="bold" if name == "pick" else "",
            )
        table.add_section()
    console.print(table)
    console.print(
        f"{report['trials']} trials, {report['networks_trained']} networks trained, "
        f"{report['artifacts_built']} artefacts built, {len(report['failures'])} failures, "
        f"{report['seconds']:.0f} s ({report['orchestration_share']:.1%} orchestration)"
    )
