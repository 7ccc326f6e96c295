"""The strategies that are compared: ours, Optuna's, and those of Optuna with staged reuse."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from autoopt.controller.parameters import Parameters
from autoopt.controller.staged import (
    Codes,
    Goal,
    Kitchen,
    StagedSampler,
    StagedSearch,
)
from autoopt.controller.staged.features import stands_for_its_shape
from autoopt.recipe import Recipe
from search_spaces import NEUTRAL, STAGES
from tests.benchmarks.search_problem import Floats, Problem

REUSED = 6
"""Completions that a strategy with staged reuse gives every new network."""


PATIENCE = 200
"""Proposals in a row that may be known not to run; the second half is drawn at random."""


@dataclass(frozen=True)
class Method:
    """One way to search.

    Attributes
    ----------
    sampler
        ``(problem, seed) -> sampler``.
    completions
        Further completions of each new network before the sampler may choose the next one.
    """

    sampler: Callable[[Problem, int], BaseSampler]
    completions: int = 0


def staged(problem: Problem, seed: int) -> BaseSampler:
    """Return ours."""
    return StagedSampler(StagedSearch(kitchen(problem), goal(problem), seed))


def kitchen(problem: Problem) -> Kitchen:
    """Return what a problem tells of its candidates."""

    def known(recipe: Recipe) -> Mapping[str, float]:
        computed = problem.features(recipe) if problem.features else {}
        return {**computed, **(problem.probe(recipe) if problem.probe else {})}

    trains = set(problem.space.slots["recovery"]) != {NEUTRAL["recovery"]}
    return Kitchen(
        Codes(problem.space),
        known,
        lambda recipe: problem.cost("network", recipe),
        lambda recipe: problem.cost("artifact", recipe),
        lambda recipe: problem.cost("deployment", recipe),
        problem.refused,
        # As in a real search, where there is training.
        opening=stands_for_its_shape if trains else lambda recipe: True,
    )


def _without_costs(problem: Problem, seed: int) -> BaseSampler:
    """Return ours as if every candidate took the same."""
    free = replace(
        kitchen(problem),
        network_seconds=lambda recipe: 0.0,
        artifact_seconds=lambda recipe: 0.0,
        deployment_seconds=lambda recipe: 1.0,
    )
    return StagedSampler(StagedSearch(free, goal(problem), seed))


def goal(problem: Problem) -> Goal:
    """Return the corner that a problem's hypervolume is measured from."""
    logs = {axis for axis, name in enumerate(problem.objectives) if name.startswith("log_")}
    return Goal(tuple(problem.reference.values()), even=frozenset(logs))


def _nsga(population: int) -> Callable[[Problem, int], BaseSampler]:
    return lambda problem, seed: optuna.samplers.NSGAIISampler(
        population_size=population, seed=seed
    )


def _tpe(*, multivariate: bool) -> Callable[[Problem, int], BaseSampler]:
    return lambda problem, seed: optuna.samplers.TPESampler(
        seed=seed, multivariate=multivariate, group=multivariate
    )


def _gp(problem: Problem, seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False)


METHODS: Mapping[str, Method] = {
    "staged": Method(staged),
    "random": Method(lambda problem, seed: optuna.samplers.RandomSampler(seed=seed)),
    "nsga2_20": Method(_nsga(20)),
    "nsga2_50": Method(_nsga(50)),
    "tpe": Method(_tpe(multivariate=False)),
    "tpe_multivariate": Method(_tpe(multivariate=True)),
    "gp": Method(_gp),
    "random_reuse": Method(lambda problem, seed: optuna.samplers.RandomSampler(seed=seed), REUSED),
    "nsga2_20_reuse": Method(_nsga(20), REUSED),
    "nsga2_50_reuse": Method(_nsga(50), REUSED),
    "tpe_reuse": Method(_tpe(multivariate=False), REUSED),
    "tpe_multivariate_reuse": Method(_tpe(multivariate=True), REUSED),
    "gp_reuse": Method(_gp, REUSED),
}


ABLATIONS: Mapping[str, Method] = {
    "staged_no_costs": Method(_without_costs),
    "staged_no_features": Method(staged),
}
"""Ours without one of its ideas; that without features is handed a problem that tells none."""


@dataclass
class Proposals:
    """Asks a sampler for recipes, with staged reuse where the method has it."""

    problem: Problem
    method: Method
    seed: int

    def __post_init__(self) -> None:
        """Make the study."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            # `multivariate` and `group` are marked experimental since Optuna 2.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self.method.sampler(self.problem, self.seed)
        self.parameters = Parameters(self.problem.space)
        self.study = optuna.create_study(
            directions=["minimize"] * len(self.problem.objectives), sampler=sampler
        )
        self._random = Random(self.seed)
        self._network: Recipe | None = None
        self._owed = 0

    def ask(self) -> Recipe:
        """Return the next recipe that can run; the trial is told by `tell`."""
        for attempt in range(PATIENCE):
            recipe = self._asked(at_random=attempt >= PATIENCE // 2)
            if not self.problem.refused(recipe):
                return recipe
            self.study.tell(self._trial, state=TrialState.FAIL)
        raise ValueError(f"{PATIENCE} proposals in a row were refused; the space has hardly others")

    def _asked(self, *, at_random: bool) -> Recipe:
        if at_random:
            point = self.problem.space.sample(self._random)
            self.study.enqueue_trial(self.parameters.of(Recipe.of(point)))
        elif self._owed and self._network is not None:
            self._owed -= 1
            self.study.enqueue_trial(self.parameters.of(self._network, STAGES["network"]))
            self._trial = self.study.ask()
            return self.parameters.suggest(self._trial)
        self._trial = self.study.ask()
        recipe = self.parameters.suggest(self._trial)
        if self.method.completions:
            self._network, self._owed = recipe, self.method.completions
        return recipe

    def believed(self) -> Floats | None:
        """Return what ours expects of all that was measured, in order; None of other methods."""
        sampler = self.study.sampler
        return sampler.believed(self.study) if isinstance(sampler, StagedSampler) else None

    def start(self, recipe: Recipe) -> None:
        """Take a first recipe that every method starts with."""
        self.study.enqueue_trial(self.parameters.of(recipe))
        self._trial = self.study.ask()
        self.parameters.suggest(self._trial)

    def tell(self, values: Mapping[str, float]) -> None:
        """Tell the sampler what the recipe measured."""
        for name, bound in self.problem.bounds.items():
            self._trial.set_constraint(name, values[name] - bound)
        self.study.tell(self._trial, [values[name] for name in self.problem.objectives])
