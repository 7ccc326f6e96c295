"""Run one benchmark: ``python -m tests.benchmarks NAME [--json PATH] [its own options]``."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import environment, registry


def main(
    argv: Sequence[str] | None = None,
    *,
    benchmarks: Mapping[str, str] = registry.BENCHMARKS,
    console: Console | None = None,
) -> int:
    """Run the benchmark that `argv` names, print its figures, return the exit status.

    It is 1 where the benchmark misses what is promised, and 2 where it was not run.
    """
    console = console or Console()
    options, rest = _parser(benchmarks).parse_known_args(argv)
    if options.list:
        for name in sorted(benchmarks):
            console.print(name)
        return 0
    if options.name is None:
        console.print(f"give the name of a benchmark; known: {', '.join(sorted(benchmarks))}")
        return 2
    try:
        benchmark = registry.resolve(options.name, table=benchmarks)
    except KeyError as error:
        console.print(error.args[0])
        return 2
    if rest and not inspect.signature(benchmark).parameters:
        console.print(f"benchmark {options.name!r} takes no options, but got {' '.join(rest)}")
        return 2
    try:
        report = registry.measure(options.name, partial(benchmark, rest) if rest else benchmark)
    except registry.CannotRunError as error:
        console.print(str(error), markup=False, highlight=False)
        return 2
    where = environment.describe()
    console.print(_table(options.name, report.figures))
    console.print(_table("environment", where))
    if options.json is not None:
        write_report(options.json, name=options.name, report=report, where=where)
    for missed in report.missed:
        console.print(f"missed: {missed}", markup=False, highlight=False)
    return 1 if report.missed else 0


def write_report(
    path: Path, *, name: str, report: registry.Report, where: Mapping[str, object]
) -> None:
    """Write name, figures, lists and environment to `path` as JSON, making its folder."""
    content = {
        "name": name,
        "figures": dict(report.figures),
        **report.lists,
        "environment": dict(where),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _parser(benchmarks: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Run one benchmark and print its figures."
    )
    known = ", ".join(sorted(benchmarks))
    parser.add_argument("name", nargs="?", help=f"the benchmark to run: {known}")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here as well")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    return parser


def _table(title: str, rows: Mapping[str, object]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


if __name__ == "__main__":
    sys.exit(main())
