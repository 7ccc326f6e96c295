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
from statistics import geometric_mean, median

import numpy as np

from search_spaces.cores import usable_cores
from tests.benchmarks import search_figures as figures
from tests.benchmarks.search_methods import ABLATIONS, METHODS
from tests.benchmarks.search_problem import Problem, read_problem
from tests.benchmarks.search_replay import Replay
from tests.benchmarks.search_run import Run, hypervolume, search
from tests.benchmarks.search_synthetic import Synthetic
from tests.benchmarks.search_table import SUBJECTS, TABLE

PEERS = tuple(name for name in METHODS if name != "staged")
SLOW = ("gp", "gp_reuse")
"""Peers whose time a trial grows so fast that they are given less to spend."""

BUDGET, OURS, SLOW_BUDGET = 2000.0, 600.0, 900.0
"""What peers may spend, what ours needs to, and what the slow ones may: by default and in full."""

REPLAYED, REPLAYED_SLOW = 600.0, 150.0
"""Seconds of the table that all may spend, and the slow ones by default."""

RATIO, DEAR = 10.0, 50.0
"""Cost of a network over that of a measurement: usually, and where costs matter most."""


@dataclass(frozen=True)
class Task:
    """One search for a process of its own.

    Attributes
    ----------
    method, seed, budget
        Of the search.
    source
        ``"synthetic"``, the name of a model in the table, or a person's file.
    ratio
        Of the synthetic problem.
    """

    method: str
    seed: int
    budget: float
    source: str | Path = "synthetic"
    ratio: float = RATIO

    def problem(self) -> Problem:
        """Return the problem that is searched."""
        if isinstance(self.source, Path):
            return read_problem(self.source)
        if self.source != "synthetic":
            return Replay(self.source).problem()
        return Synthetic(ratio=self.ratio).problem(features=self.method != "staged_no_features")

    def run(self) -> Run:
        """Search."""
        return search(self.problem(), {**METHODS, **ABLATIONS}[self.method], self.seed, self.budget)


def run(arguments: Sequence[str] = ()) -> dict[str, float]:
    """Search with every method and seed and return the figures."""
    options = _options(arguments)
    if options.problem is None and not TABLE.exists():
        print(f"nothing is replayed: python -m tests.benchmarks.search_table makes {TABLE.name}")
    tasks = _tasks(options)
    runs = dict(zip(tasks, _all(tasks), strict=True))
    found: dict[str, float] = {}
    for source in dict.fromkeys(task.source for task in tasks):
        of_source = {task: done for task, done in runs.items() if task.source == source}
        kind = "problem" if isinstance(source, Path) else source
        found |= _figures(of_source, kind)
    ratios = [found[name] for model in SUBJECTS if (name := f"{model}_cost_ratio") in found]
    if ratios:
        found["replay_cost_ratio"] = geometric_mean(ratios)
    return {name: value for name, value in found.items() if isfinite(value)}


def _figures(runs: Mapping[Task, Run], kind: str) -> dict[str, float]:
    """Return the figures of one problem, those that others may have as well under its name."""
    problem = next(iter(runs)).problem()
    reference = np.array(list(problem.reference.values()))
    front = np.array([problem.row(point) for point in problem.exact_front()])
    exact = hypervolume(front, reference)
    plain = _by_method({task: done for task, done in runs.items() if task.ratio == RATIO})
    found = figures.compare(plain, problem, exact)
    found |= figures.ours(plain.get("staged", ()), problem, exact)
    dear = {task: done for task, done in runs.items() if task.ratio == DEAR}
    for name, list_ in _by_method(dear).items():
        shares = [figures.share(item, problem, exact, 1000.0) for item in list_]
        found[f"hv_at_1000_ratio_50_{name}"] = median(shares)
    # What the sampler is judged by beside its results is that of the synthetic problem.
    bare = ("gap_lower", "optimism") if kind == "synthetic" else ()
    return {
        name if name in bare or name.startswith("sampler_ms") else f"{kind}_{name}": value
        for name, value in found.items()
        if kind == "synthetic" or not name.startswith("sampler_ms")
    }


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
            tasks.append(Task(name, seed, budget, options.problem or "synthetic"))
        if options.problem is None and TABLE.exists():
            for name in names:
                slow = name in SLOW and not full
                budget = REPLAYED_SLOW if slow else REPLAYED
                tasks += [Task(name, seed, budget, model) for model in SUBJECTS]
        if options.problem is None and not options.methods:
            tasks += [Task(name, seed, 500.0) for name in ABLATIONS]
            tasks += [
                Task(name, seed, 1000.0, ratio=DEAR)
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
