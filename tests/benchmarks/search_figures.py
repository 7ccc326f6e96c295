"""From searches to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, sqrt
from statistics import median

import numpy as np

from tests.benchmarks.search_problem import Floats, Problem
from tests.benchmarks.search_run import REPORTED, Run, cost_to, curve, handed_in, hypervolume

CHECKPOINTS = (100.0, 200.0, 500.0, 1000.0, 2000.0)
WANTED = 0.8
"""Share of the exact hypervolume that the cost is asked for."""

T90 = {1: 3.08, 2: 1.89, 3: 1.64, 4: 1.53, 5: 1.48, 6: 1.44, 7: 1.41, 8: 1.40, 9: 1.38}
"""Student's t, one-sided 90 %, by degrees of freedom."""


def compare(runs: Mapping[str, Sequence[Run]], problem: Problem, exact: float) -> dict[str, float]:
    """Return what each method found by each cost, and how ours stands to the best of the others.

    A cost that was not reached counts as infinite; where the median of a method is infinite, its
    budget stands for it, and the ratio may then be a lower bound.
    """
    found: dict[str, float] = {}
    costs: dict[str, float] = {}
    for name, list_ in runs.items():
        for cost in CHECKPOINTS:
            if all(cost <= run.budget for run in list_):
                shares = [share(run, problem, exact, cost) for run in list_]
                found[f"hv_at_{cost:.0f}_{name}"] = median(shares)
                found[f"spread_at_{cost:.0f}_{name}"] = max(shares) - min(shares)
        costs[name] = median(cost_to(run, problem, exact, WANTED) for run in list_)
        if isfinite(costs[name]):
            found[f"cost_to_{WANTED}_{name}"] = costs[name]
    if "staged" not in runs:
        return found
    others = [name for name in runs if not name.startswith("staged")]
    if others and isfinite(costs["staged"]):
        least = {name: min(costs[name], runs[name][0].budget) for name in others}
        best = min(least, key=least.__getitem__)
        found["cost_ratio"] = least[best] / costs["staged"]
        found["cost_ratio_is_lower_bound"] = float(costs[best] == inf)
    found |= gaps(runs, others, problem, exact)
    return found


def gaps(
    runs: Mapping[str, Sequence[Run]], others: Sequence[str], problem: Problem, exact: float
) -> dict[str, float]:
    """Return the lower end of the 90 % interval of what ours finds more at 500, seed by seed.

    The least over all others that were given as much to spend.
    """
    ours = [share(run, problem, exact, REPORTED) for run in runs["staged"]]
    lowest = []
    for name in others:
        theirs = [share(run, problem, exact, REPORTED) for run in runs[name]]
        differences = np.array(ours) - np.array(theirs)
        if len(differences) < 2 or any(run.budget < REPORTED for run in runs[name]):
            continue
        t = T90.get(len(differences) - 1, 1.36)
        error = float(differences.std(ddof=1)) / sqrt(len(differences))
        lowest.append(float(differences.mean()) - t * error)
    return {"gap_lower": min(lowest)} if lowest else {}


def ours(runs: Sequence[Run], problem: Problem, exact: float) -> dict[str, float]:
    """Return what is asked of ours alone."""
    if not runs:
        return {}
    reference = np.array(list(problem.reference.values()))
    shares, optimism = [], []
    for run in runs:
        count = run.at(REPORTED)
        measured, true = np.array(run.measured[:count]), np.array(run.true[:count])
        believed = measured if run.believed is None else run.believed
        chosen = handed_in(believed, reference)
        shares.append(hypervolume(true[chosen], reference) / exact)
        optimism.append(reported_too_well(believed[chosen], true[chosen]))
    longest = max(runs, key=lambda run: len(run.overhead))
    found = {"hv16_at_500": median(shares), "optimism": median(optimism)}
    tail = longest.overhead[-100:]
    found[f"sampler_ms_at_{min(len(longest.overhead), 1000)}"] = 1000 * float(np.mean(tail))
    return found


def reported_too_well(reported: Floats, true: Floats) -> float:
    """Return by how much the points handed in are truly worse than reported, on average.

    On the axis where it is largest; on a logarithmic axis it is a share.
    """
    return float((true - reported).mean(axis=0).max()) if len(true) else 0.0


def share(run: Run, problem: Problem, exact: float, cost: float) -> float:
    """Return the share of the exact hypervolume found by a cost."""
    return curve(run, problem, exact, [cost])[0]
