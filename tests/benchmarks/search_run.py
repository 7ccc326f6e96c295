"""One search of one method on one problem: hypervolume over what was spent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoopt.recipe import Recipe
from tests.benchmarks.search_methods import Method, Proposals
from tests.benchmarks.search_problem import Floats, Problem

HANDED_IN = 16
"""Strategies that may be handed in at a checkpoint."""

REPORTED = 500.0
"""Cost at which a method says what it would hand in."""


@dataclass
class Run:
    """What a search measured, in order.

    Attributes
    ----------
    budget
        What could be spent.
    costs
        Spent after each trial.
    measured, true
        Objectives of each trial with and without noise.
    overhead
        Seconds that the sampler took for each trial.
    networks
        Distinct networks after each trial.
    believed
        What the method itself expects of its trials up to `REPORTED`, if it says so: measured
        values without their noise.
    """

    budget: float = 0.0
    costs: list[float] = field(default_factory=list)
    measured: list[Floats] = field(default_factory=list)
    true: list[Floats] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    networks: list[int] = field(default_factory=list)
    believed: Floats | None = None

    def at(self, cost: float) -> int:
        """Return the number of trials that a cost allows."""
        return int(np.searchsorted(self.costs, cost + 1e-9, side="right"))


def search(problem: Problem, method: Method, seed: int, budget: float) -> Run:
    """Search until the budget is spent; what exceeds it is not measured."""
    run, made, built = Run(budget), set[str](), set[str]()
    proposals = Proposals(problem, method, seed)
    first, number, spent = list(problem.first), 0, 0.0
    while True:
        start = time.perf_counter()
        if first:
            recipe = first.pop(0)
            proposals.start(recipe)
        else:
            recipe = proposals.ask()
        asked = time.perf_counter() - start
        spent += _price(problem, recipe, made, built)
        if run.believed is None and spent > min(budget, REPORTED):
            run.believed = proposals.believed()
        if spent > budget:
            return run
        made.add(recipe.stage_id("network"))
        built.add(recipe.stage_id("artifact"))
        values = problem.evaluate(recipe, 100_000 * seed + number)
        start = time.perf_counter()
        proposals.tell(values)
        run.overhead.append(asked + time.perf_counter() - start)
        run.costs.append(spent)
        run.measured.append(problem.row(values))
        run.true.append(problem.row(problem.truth(recipe)) if problem.truth else run.measured[-1])
        run.networks.append(len(made))
        number += 1


def _price(problem: Problem, recipe: Recipe, made: set[str], built: set[str]) -> float:
    """Return the cost of the stages that no cache holds."""
    cost = problem.cost("deployment", recipe)
    if recipe.stage_id("artifact") not in built:
        cost += problem.cost("artifact", recipe)
    if recipe.stage_id("network") not in made:
        cost += problem.cost("network", recipe)
    return cost


def hypervolume(points: Floats, reference: Floats) -> float:
    """Return the volume that points dominate below the reference."""
    import moocore

    inside = points[(points < reference).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=reference)) if len(inside) else 0.0


def handed_in(points: Floats, reference: Floats, count: int = HANDED_IN) -> list[int]:
    """Choose the points to hand in by what they measured: greedily, the largest gain first."""
    import moocore

    chosen: list[int] = []
    inside = np.flatnonzero((points < reference).all(axis=1))
    if not len(inside):
        return chosen
    front = inside[moocore.is_nondominated(points[inside])]
    volume = 0.0
    for _ in range(min(count, len(front))):
        gains = [
            0.0 if index in chosen else hypervolume(points[[*chosen, index]], reference) - volume
            for index in front.tolist()
        ]
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        chosen.append(int(front[best]))
        volume += gains[best]
    return chosen


def curve(run: Run, problem: Problem, exact: float, costs: Sequence[float]) -> list[float]:
    """Return the share of the exact hypervolume that was found by each cost."""
    reference = np.array(list(problem.reference.values()))
    true = np.array(run.true)
    return [hypervolume(true[: run.at(cost)], reference) / exact for cost in costs]


def cost_to(run: Run, problem: Problem, exact: float, share: float) -> float:
    """Return what it cost to reach a share of the exact hypervolume; infinite if it never did."""
    reference = np.array(list(problem.reference.values()))
    true = np.array(run.true)
    low, high = 0, len(true)
    if hypervolume(true, reference) < share * exact:
        return float("inf")
    while low < high:
        middle = (low + high) // 2
        if hypervolume(true[: middle + 1], reference) >= share * exact:
            high = middle
        else:
            low = middle + 1
    return float(run.costs[low])
