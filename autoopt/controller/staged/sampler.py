"""The staged search as an Optuna sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoopt.controller.parameters import Parameters
from autoopt.controller.staged.codes import Floats
from autoopt.controller.staged.goal import Observation
from autoopt.controller.staged.staged import StagedSearch
from autoopt.recipe import Recipe

NOISE = "noise"
"""User attribute of a trial: the standard deviation of each of its values."""

NETWORK = "network"
"""User attribute of a failed trial: whether its network is there nevertheless; None where
that was not tried."""


@final
class StagedSampler(BaseSampler):
    """Proposes what a `StagedSearch` chooses, and tells it what became of every trial.

    Trials that somebody else added to the study count like its own. A trial that failed is
    heard of if it says whether its `NETWORK` is there; other failures were never tried.

    Parameters
    ----------
    search
        Where decisions are made; its kitchen's space is the one that trials are asked for.
    logarithmic
        For each objective, whether its ratios matter rather than its differences.
    """

    def __init__(self, search: StagedSearch, logarithmic: Sequence[bool] = ()) -> None:
        self._search = search
        self._logarithmic = tuple(logarithmic)
        self._parameters = Parameters(search.kitchen.codes.space)
        self._heard: set[int] = set()
        self._decided: Recipe | None = None

    def decide(self, study: Study, left: float = np.inf) -> Recipe | None:
        """Return what the next trial will be, or None where nothing fits into what is left.

        The decision stands until the trial is asked for. Without this call the trial itself
        decides, as if everything could be afforded.
        """
        self._hear(study)
        self._decided = self._search.ask(left)
        return self._decided

    def believed(self, study: Study) -> Floats:
        """Return what is expected of every finished trial, in order: its values without noise.

        Trials outside the space are left out; less is better on every axis.
        """
        self._hear(study)
        return self._search.believed()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters of every option; a trial needs those of the chosen ones."""
        return self._parameters.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of what was decided."""
        recipe = self._decided or self.decide(study)
        self._decided = None
        if recipe is None:
            return {}
        return {k: v for k, v in self._parameters.of(recipe).items() if k in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw what was not decided, such as a parameter that the space does not have."""
        from optuna.samplers import RandomSampler

        random = RandomSampler(seed=self._search.seed + trial.number)
        return random.sample_independent(study, trial, param_name, param_distribution)

    def _hear(self, study: Study) -> None:
        """Tell the search of every trial that ended since."""
        signs = [1 if d == StudyDirection.MINIMIZE else -1 for d in study.directions]
        states = (TrialState.COMPLETE, TrialState.FAIL)
        for trial in study.get_trials(deepcopy=False, states=states):
            if trial.number in self._heard:
                continue
            self._heard.add(trial.number)
            recipe = self._parameters.recipe(trial.params)
            if trial.state == TrialState.COMPLETE:
                self._search.tell(self._observed(recipe, trial, signs))
            elif recipe is not None and NETWORK in trial.user_attrs:
                self._search.tell(Observation(recipe, None, network=trial.user_attrs[NETWORK]))

    def _observed(
        self, recipe: Recipe | None, trial: FrozenTrial, signs: Sequence[int]
    ) -> Observation:
        values = np.array(trial.values, dtype=float)
        noise = np.array(trial.user_attrs.get(NOISE, np.zeros(len(values))))
        for axis, wanted in enumerate(self._logarithmic):
            if wanted:
                noise[axis] /= max(abs(values[axis]), 1e-300)
                values[axis] = np.log(max(values[axis], 1e-300))
        return Observation(recipe, tuple(values * np.array(signs)), tuple(noise))
