"""The Optuna study: proposals from its sampler, and a copy that dashboards can open.

The sampler works on a study in memory; every finished candidate is also added to the stored
study. Both are derived from the search's log and are rebuilt from it, so neither can disagree
with it for longer than one candidate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoopt.constraint import Constraint
from autoopt.controller.parameters import Parameters
from autoopt.controller.staged import StagedSampler
from autoopt.controller.staged.sampler import NETWORK, NOISE
from autoopt.controller.stored import Stored
from autoopt.measurement import Axis
from autoopt.recipe import Recipe
from autoopt.record import Record
from search_spaces import SearchSpace


def default_sampler(seed: int) -> BaseSampler:
    """Return multivariate TPE, which handles conditional settings by groups."""
    with warnings.catch_warnings():
        # `multivariate`, `group` and `constant_liar` are marked experimental since Optuna 2.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, n_startup_trials=8, constant_liar=True
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
        URL of the stored study; None for none that lasts.
    name
        Name of the stored study.

    Raises
    ------
    SearchError
        If the storage cannot be opened.
    """

    def __init__(
        self,
        space: SearchSpace,
        axes: Sequence[Axis],
        *,
        sampler: BaseSampler,
        storage: str | None,
        name: str,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._parameters = Parameters(space)
        self._axes = tuple(axes)
        self._expected: dict[str, optuna.trial.Trial] = {}
        directions = [axis.direction for axis in axes]
        self._memory = optuna.create_study(directions=directions, sampler=sampler)
        self._stored = Stored.open(storage, name, axes)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All finished candidates as trials."""
        return self._memory.get_trials(deepcopy=False)

    def expect(self, pending: Sequence[Recipe]) -> None:
        """Let the sampler know what is under way, and what is so no more.

        It stands in the study as running; what it does not hold is passed over.
        """
        wanted = {recipe.id: recipe for recipe in pending}
        for known in [key for key in self._expected if key not in wanted]:
            self._memory.tell(self._expected.pop(known), state=TrialState.FAIL)
        for key, recipe in wanted.items():
            if key not in self._expected:
                params = self._parameters.inside(self._parameters.of(recipe))
                self._memory.enqueue_trial(params)
                trial = self._memory.ask()
                self._parameters.suggest(trial)
                self._expected[key] = trial

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
            self._memory.enqueue_trial(self._parameters.of(fixed, slots))
        trial = self._memory.ask()
        recipe = self._parameters.suggest(trial)
        # What was proposed is told with its outcome as a trial of its own, if it is taken at all.
        self._memory.tell(trial, state=TrialState.FAIL)
        return recipe

    def decided(self, sampler: StagedSampler, seconds_left: float) -> Recipe | None:
        """Return the point that our own sampler decides for, or None where nothing fits."""
        if sampler.decide(self._memory, seconds_left) is None:
            return None
        return self.propose()

    def tell(self, record: Record, constraints: Sequence[Constraint]) -> None:
        """Add a finished candidate to both studies."""
        trial = self._frozen(record, constraints)
        self._memory.add_trial(trial)
        self._stored.add([trial])

    def rebuild(self, records: Sequence[Record], constraints: Sequence[Constraint]) -> None:
        """Bring both studies to what the log says."""
        trials = [self._frozen(record, constraints) for record in records]
        for trial in trials:
            self._memory.add_trial(trial)
        self._stored.add(trials, anew=True)

    def catch_up(self) -> str:
        """Have the storage take what it lacks; return why it does not, or nothing once it has."""
        return self._stored.catch_up()

    def _frozen(self, record: Record, constraints: Sequence[Constraint]) -> FrozenTrial:
        """Return a record as a trial; every constraint stands on every measured trial."""
        params = self._parameters.inside(self._parameters.of(record.recipe))
        values = [stat.value for axis in self._axes if (stat := record.stat(axis.name))]
        complete = len(values) == len(self._axes)
        return create_trial(
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            values=values if complete else None,
            params=params,
            distributions={name: self._parameters.distribution(name) for name in params},
            user_attrs={
                "number": record.number,
                "role": record.role,
                "summary": record.recipe.summary,
                **_deviations(record, self._axes),
                **_failure(record),
            },
            constraints={str(item): item.violation(record) for item in constraints}
            if complete
            else None,
        )


def _deviations(record: Record, axes: Sequence[Axis]) -> dict[str, list[float]]:
    """Return the standard deviations of the objectives, from their 95 % intervals."""
    stats = [record.stat(axis.name) for axis in axes]
    half = [(stat.high - stat.low) / 2 for stat in stats if stat]
    return {NOISE: [value / 1.96 for value in half]} if len(half) == len(axes) else {}


def _failure(record: Record) -> dict[str, str | bool | None]:
    """Return why a record failed, and whether its network is there nevertheless."""
    failure = record.failure
    if failure is None:
        return {}
    # What breaks a cap was not made, but its network may be, for another precision.
    there = None if failure.kind == "over_cap" else failure.stage != "network"
    return {"failure": str(failure), NETWORK: there}
