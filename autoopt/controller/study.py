"""The Optuna study: proposals from its sampler, and a copy that dashboards can open.

The sampler works on a study in memory; every finished candidate is also added to the stored
study. Both are derived from the search's log and are rebuilt from it, so neither can disagree
with it for longer than one candidate.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from autoopt.constraint import Constraint
from autoopt.measurement import Axis
from autoopt.recipe import Recipe
from autoopt.record import Record
from search_spaces import Choice, Dimension, Int, SearchSpace

logger = logging.getLogger("autoopt.controller")


def default_sampler(seed: int) -> BaseSampler:
    """Return multivariate TPE, which handles conditional settings by groups."""
    with warnings.catch_warnings():
        # `multivariate` and `group` are marked experimental since Optuna 2.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, n_startup_trials=8
        )


class Study:
    """Asks Optuna for points of the space and tells it what became of them.

    Parameters
    ----------
    space
        The joint space.
    axes
        Objectives, in order.
    sampler
        Any sampler of Optuna's for several objectives.
    storage
        URL of the stored study.
    name
        Name of the stored study.
    """

    def __init__(
        self,
        space: SearchSpace,
        axes: Sequence[Axis],
        *,
        sampler: BaseSampler,
        storage: str,
        name: str,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._axes = tuple(axes)
        directions = [axis.direction for axis in axes]
        self._memory = optuna.create_study(directions=directions, sampler=sampler)
        self._stored = optuna.create_study(
            directions=directions, storage=storage, study_name=name, load_if_exists=True
        )
        with warnings.catch_warnings():
            # Marked experimental since Optuna 3.2; dashboards label their axes by it.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._stored.set_metric_names([axis.column for axis in axes])

    def propose(self, fixed: Recipe | None = None, slots: Sequence[str] = ()) -> Recipe:
        """Return a point that the sampler suggests.

        Parameters
        ----------
        fixed
            Recipe whose choice in `slots` is taken as it is.
        slots
            Slots that are not asked for.
        """
        if fixed is not None and slots:
            self._memory.enqueue_trial(self._params(fixed, slots))
        trial = self._memory.ask()
        point = {slot: self._suggest(trial, slot) for slot in self._space.slots}
        # What was proposed is told with its outcome as a trial of its own, if it is taken at all.
        self._memory.tell(trial, state=TrialState.FAIL)
        return Recipe.of(point)

    def tell(self, record: Record, constraints: Sequence[Constraint]) -> None:
        """Add a finished candidate to both studies."""
        trial = self._frozen(record, constraints)
        self._memory.add_trial(trial)
        self._store(trial)

    def rebuild(self, records: Sequence[Record], constraints: Sequence[Constraint]) -> None:
        """Bring both studies to what the log says."""
        known = {trial.user_attrs.get("number") for trial in self._stored.get_trials(False)}
        for record in records:
            trial = self._frozen(record, constraints)
            self._memory.add_trial(trial)
            if record.number not in known:
                self._store(trial)

    def _store(self, trial: FrozenTrial) -> None:
        try:
            self._stored.add_trial(trial)
        except optuna.exceptions.StorageInternalError as error:
            # The log holds the record; the next start of a controller adds what is missing.
            logger.warning("the Optuna storage did not take trial: %s", error)

    def _frozen(self, record: Record, constraints: Sequence[Constraint]) -> FrozenTrial:
        """Return a record as a trial; every constraint stands on every measured trial."""
        params = {
            name: value
            for name, value in self._params(record.recipe, tuple(self._space.slots)).items()
            if self._holds(name, value)
        }
        values = [stat.value for axis in self._axes if (stat := record.stat(axis.name))]
        complete = len(values) == len(self._axes)
        return create_trial(
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            values=values if complete else None,
            params=params,
            distributions={name: self._distribution(name) for name in params},
            user_attrs={
                "number": record.number,
                "role": record.role,
                "summary": record.recipe.summary,
                **({"failure": str(record.failure)} if record.failure else {}),
            },
            constraints={str(item): item.violation(record) for item in constraints}
            if complete
            else None,
        )

    def _suggest(self, trial: Trial, slot: str) -> tuple[str, dict[str, Any]]:
        options = self._space.slots[slot]
        option = str(trial.suggest_categorical(slot, list(options)))
        settings = {
            setting: _ask(trial, f"{slot}.{option}.{setting}", dimension)
            for setting, dimension in options[option].items()
        }
        return option, settings

    def _params(self, recipe: Recipe, slots: Sequence[str]) -> dict[str, Any]:
        """Return the choices of some slots under the names that the studies use."""
        params: dict[str, Any] = {}
        for slot in slots:
            pick = recipe[slot]
            params[slot] = pick.option
            params |= {f"{slot}.{pick.option}.{name}": v for name, v in pick.settings.items()}
        return params

    def _holds(self, name: str, value: Any) -> bool:
        """Say whether the space has this choice; a baseline may lie outside a narrowed space."""
        slot, _, rest = name.partition(".")
        if not rest:
            return value in self._space.slots[slot]
        option, _, setting = rest.rpartition(".")
        dimension = self._space.slots[slot].get(option, {}).get(setting)
        return dimension is not None and dimension.contains(value)

    def _distribution(self, name: str) -> BaseDistribution:
        slot, _, rest = name.partition(".")
        if not rest:
            return CategoricalDistribution(tuple(self._space.slots[slot]))
        option, _, setting = rest.rpartition(".")
        return _distribution(self._space.slots[slot][option][setting])


def _ask(trial: Trial, name: str, dimension: Dimension) -> Any:
    """Ask for one setting; the ranges must be those of `_distribution`."""
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, list(dimension))
    low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
    if isinstance(dimension, Int):
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    value = trial.suggest_float(name, low, high, step=step, log=log)
    # Optuna's 0.1 + 2 · 0.1 is not 0.3: a point must have one form, and lie in the space.
    return value if dimension.contains(value) else min(dimension, key=lambda v: abs(v - value))


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension in Optuna's terms."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(tuple(dimension))
    if isinstance(dimension, Int):
        return IntDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
