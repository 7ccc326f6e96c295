"""The hypervolume found for what was spent: our sampler against Optuna's.

``python -m tests.benchmarks search [--problem FILE] [--seeds N] [--full] [--json PATH]``
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from search_spaces.cores import usable_cores
from tests.benchmarks import search_figures as figures
from tests.benchmarks.search_methods import ABLATIONS, METHODS
from tests.benchmarks.search_problem import Problem, read_problem
from tests.benchmarks.search_run import Run, hypervolume, search
from tests.benchmarks.search_synthetic import Synthetic

PEERS = tuple(name for name in METHODS if name != "staged")
SLOW = ("gp", "gp_reuse")
"""Peers whose time a trial grows so fast that they are given less to spend."""

BUDGET, OURS, SLOW_BUDGET = 2000.0, 600.0, 500.0
"""What peers may spend, what ours needs to, and what the slow ones may: by default and in full."""

DEAR = 50.0
"""Cost of a network over that of a measurement, where costs matter most."""


@dataclass(frozen=True)
class Task:
    """One search for a process of its own."""

    method: str
    seed: int
    budget: float
    file: Path | None
    ratio: float = 10.0

    def problem(self) -> Problem:
        """Return the problem that is searched."""
        if self.file is not None:
            return read_problem(self.file)
        return Synthetic(ratio=self.ratio).problem(features=self.method != "staged_no_features")

    def run(self) -> Run:
        """Search."""
        return search(self.problem(), {**METHODS, **ABLATIONS}[self.method], self.seed, self.budget)


def run(arguments: Sequence[str] = ()) -> dict[str, float]:
    """Search with every method and seed and return the figures."""
    options = _options(arguments)
    tasks = _tasks(options)
    runs = dict(zip(tasks, _all(tasks), strict=True))
    problem = tasks[0].problem()
    front = np.array([problem.row(point) for point in problem.exact_front()])
    reference = np.array(list(problem.reference.values()))
    exact = hypervolume(front, reference)
    plain = {t: r for t, r in runs.items() if t.ratio == 10.0}
    found = figures.compare(_by_method(plain), problem, exact)
    found |= figures.ours([r for t, r in plain.items() if t.method == "staged"], problem, exact)
    dear = {t: r for t, r in runs.items() if t.ratio == DEAR}
    for name, list_ in _by_method(dear).items():
        shares = [figures.share(item, problem, exact, 1000.0) for item in list_]
        found[f"hv_at_1000_ratio_50_{name}"] = median(shares)
    # The names that the project is measured by; a person's own problem has names of its own.
    kind = "problem" if options.problem else "synthetic"
    named = {
        f"{kind}_{n}" if n in ("cost_ratio", "hv16_at_500") else n: v for n, v in found.items()
    }
    return {name: value for name, value in named.items() if isfinite(value)}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks search")
    parser.add_argument("--problem", type=Path, help="a Python file that defines the problem")
    parser.add_argument("--seeds", type=int, help="searches of every method; 3, in full 10")
    parser.add_argument("--full", action="store_true", help="all methods, all of the budget")
    parser.add_argument("--methods", help="only these, separated by commas")
    options = parser.parse_args(list(arguments))
    if options.seeds is None:
        options.seeds = 10 if options.full else 3
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, but got {options.seeds}")
    return options


def _tasks(options: argparse.Namespace) -> list[Task]:
    """Return what is to be run, the longest first."""
    full: bool = options.full
    names = ["staged", *(name for name in PEERS if full or name != "gp_reuse")]
    if options.methods:
        names = [name for name in names if name in options.methods.split(",")]
    tasks = []
    for seed in range(options.seeds):
        for name in names:
            budget = BUDGET if name not in SLOW or full else SLOW_BUDGET
            budget = OURS if name == "staged" and not full else budget
            tasks.append(Task(name, seed, budget, options.problem))
        if options.problem is None and not options.methods:
            tasks += [Task(name, seed, 500.0, None) for name in ABLATIONS]
            tasks += [
                Task(name, seed, 1000.0, None, DEAR)
                for name in ("staged", "staged_no_costs", "tpe_multivariate_reuse")
            ]
    order = (*SLOW, "staged", *ABLATIONS)
    return sorted(tasks, key=lambda task: order.index(task.method) if task.method in order else 9)


def _all(tasks: Sequence[Task]) -> list[Run]:
    """Run every search, as many at a time as there are cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # Fresh processes: what a fork inherits of thread pools can hang.
    with ProcessPoolExecutor(usable_cores(), get_context("spawn")) as pool:
        return list(pool.map(Task.run, tasks))


def _by_method(runs: Mapping[Task, Run]) -> dict[str, list[Run]]:
    """Return the searches of each method, by seed."""
    found: dict[str, list[Run]] = {}
    for task in sorted(runs, key=lambda task: task.seed):
        found.setdefault(task.method, []).append(runs[task])
    return found
