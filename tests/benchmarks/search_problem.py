"""What a search problem of the benchmark is, and how one is read from a person's own file."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoopt.recipe import Recipe
from search_spaces import SearchSpace

Floats = npt.NDArray[np.float64]

NEEDED = ("space", "evaluate", "cost", "reference", "exact_front")


@dataclass(frozen=True)
class Problem:
    """A space whose exact front is known.

    Attributes
    ----------
    space
        The joint space.
    evaluate
        ``(recipe, seed) -> {objective: value}``, noisy; every objective is minimised.
    cost
        ``(stage, recipe) -> seconds`` of one stage that is not in the cache.
    reference
        Objective to the worst value that is of any use: the corner of the hypervolume.
    exact_front
        Returns the non-dominated points without noise: one mapping a point.
    constraints
        Objective to ``"<= bound"``; what breaks one is of no use.
    features
        ``recipe -> {name: value}``: what is known of a candidate without building it.
    probe
        ``recipe -> {name: value}``: what a cheap look at the original tells of a candidate.
    truth
        ``recipe -> {objective: value}`` without noise, where it is known.
    refused
        Says whether a recipe is known not to run, so that no method is charged for it.
    first
        Recipes that every strategy starts with, the original first.
    """

    space: SearchSpace
    evaluate: Callable[[Recipe, int], Mapping[str, float]]
    cost: Callable[[str, Recipe], float]
    reference: Mapping[str, float]
    exact_front: Callable[[], list[Mapping[str, float]]]
    constraints: Mapping[str, float | str] = field(default_factory=dict)
    features: Callable[[Recipe], Mapping[str, float]] | None = None
    probe: Callable[[Recipe], Mapping[str, float]] | None = None
    truth: Callable[[Recipe], Mapping[str, float]] | None = None
    refused: Callable[[Recipe], bool] = lambda recipe: False
    first: tuple[Recipe, ...] = ()

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, in order."""
        return tuple(self.reference)

    @property
    def bounds(self) -> dict[str, float]:
        """Objective to its upper bound, as numbers."""
        return {
            name: float(str(bound).replace("<=", "").strip())
            for name, bound in self.constraints.items()
        }

    def row(self, values: Mapping[str, float]) -> Floats:
        """Return the objectives of one point as an array."""
        return np.array([float(values[name]) for name in self.objectives])


def read_problem(path: Path) -> Problem:
    """Read a problem from a Python file that defines `Problem`'s attributes as globals.

    Raises
    ------
    ValueError
        If one of those that are needed is missing.
    """
    found: dict[str, Any] = runpy.run_path(str(path))
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise ValueError(
            f"a problem file must define {', '.join(NEEDED)}, but {path} lacks {missing[0]!r}"
        )
    optional = ("constraints", "features", "probe", "truth", "refused", "first")
    given = {name: found[name] for name in (*NEEDED, *optional) if found.get(name) is not None}
    return Problem(**given)
