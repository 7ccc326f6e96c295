"""The staged search at work in a real search: its costs, its bounds, what it may not choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from optuna.samplers import BaseSampler

from autoopt.constraint import parse_constraints
from autoopt.controller.allowance import SECONDS_A_NETWORK, may_train_more
from autoopt.controller.bars import quality_bar, stricter
from autoopt.controller.costs import Costs, trained_epochs
from autoopt.controller.forms import one_form
from autoopt.controller.leftovers import Leftovers
from autoopt.controller.staged import Codes, Goal, Kitchen, StagedSampler, StagedSearch
from autoopt.controller.staged.features import recipe_features, stands_for_its_shape
from autoopt.controller.study import Study
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.settings import Settings

PROMISE = 1e-3
"""Share of the front's hypervolume below which what is expected of a network counts as nothing."""

PATIENCE = 12
"""Decisions in a row that promise nothing, each told by then, after which the search ends."""

USUAL_DROP = 0.05
"""Loss of quality, relative to the original's, beyond which nothing is sought unless it is said."""


@dataclass
class StagedPolicy:
    """Chooses the next recipe by expected improvement per expected second.

    Attributes
    ----------
    settings
        Of the search.
    open_study
        Makes the study of a sampler.
    refused
        Says whether a recipe is known not to run here.
    paid
        Networks that an earlier search has trained.
    trains
        Whether new networks may be trained at all.
    seed
        Of the decisions.
    barred
        Says whether a recipe is known to break a cap: asked in every round, so it must be quick.
    """

    settings: Settings
    open_study: Callable[[BaseSampler], Study]
    refused: Callable[[Recipe], bool]
    paid: Sequence[Recipe] = ()
    trains: bool = True
    seed: int = 0
    barred: Callable[[Recipe], bool] = lambda recipe: False
    _more: bool = True
    _idle: int = 0
    _costs: Costs = field(default_factory=lambda: Costs((), {}, {}))

    def __post_init__(self) -> None:
        """Make the sampler and its study."""
        self._paid = {recipe.stage_id("network") for recipe in self.paid}
        settings = self.settings
        same = partial(one_form, threads=settings.threads, request_size=settings.request_size)
        self._leftovers = Leftovers(
            settings.space, self.refused, same, self.trains, Random(self.seed)
        )
        kitchen = Kitchen(
            Codes(settings.space),
            recipe_features,
            self._network_seconds,
            lambda recipe: self._costs.building(recipe),
            lambda recipe: math.inf if self.barred(recipe) else self._costs.measuring(recipe),
            self._out_of_reach,
            same,
            stands_for_its_shape,
        )
        logarithmic = [bool(axis.unit) for axis in settings.axes]
        self._search = StagedSearch(kitchen, _goal(settings, logarithmic), self.seed)
        for recipe in self.paid:
            self._search.offer(recipe)
        self._sampler = StagedSampler(self._search, logarithmic)
        self.study = self.open_study(self._sampler)

    def next(self, history: History, seconds_left: float) -> Recipe | None:
        """Return the next recipe that fits into the time left, or None when there is none.

        There is none either once `PATIENCE` decisions in a row promised nothing.
        """
        self._costs, self._more = Costs.learn(history), may_train_more(history)
        self._search.expect(history.pending)
        left = seconds_left / self._costs.caution
        recipe = self._decided(left)
        if recipe is None and not self._more:
            # With no completion left, what was kept back from training has no better use.
            self._more = True
            recipe = self._decided(left)
        if recipe is not None:
            self._idle = self._idle + 1 if self._search.promise < PROMISE else 0
            return recipe if self._idle < PATIENCE else None
        return self._leftovers.next(history, self._costs, seconds_left)

    def bar(self, history: History, recipe: Recipe) -> float | None:
        """Return the quality below which no completion of a network matters, None for none.

        It breaks a bound that was asked for, or what is measured dominates it even if it is as
        fast and small as it may be.
        """
        axis = self.settings.axes[0]
        asked, turned = quality_bar(history), self._search.largest_loss(recipe)
        if math.isinf(turned):
            return asked
        beaten = math.exp(axis.sign * turned) if axis.unit else axis.sign * turned
        return beaten if asked is None else stricter(axis, asked, beaten)

    def exhausted(self, seconds_left: float) -> str:
        """Say what it means that there is no next recipe."""
        if self._idle >= PATIENCE:
            return (
                f"nothing promises a gain: the last {PATIENCE} decisions were expected to add less "
                f"than {PROMISE:.1%} each to the hypervolume of the front"
            )
        return self._leftovers.exhausted(seconds_left)

    def _decided(self, left: float) -> Recipe | None:
        self._search.reprice()
        return self.study.decided(self._sampler, left)

    def _network_seconds(self, recipe: Recipe) -> float:
        if not self._more:
            return math.inf
        if recipe.stage_id("network") in self._paid:
            return 0.0
        # Where networks are few, even a quick one takes the place of another.
        scarce = SECONDS_A_NETWORK / 2 if self.settings.budget.seconds else 0.0
        return max(self._costs.network(recipe), scarce)

    def _out_of_reach(self, recipe: Recipe) -> bool:
        trained = trained_epochs(recipe) > 0
        forbidden = not self.trains and recipe.stage_id("network") not in self._paid
        return self.refused(recipe) or (forbidden and (trained or not recipe.is_original))


def _goal(settings: Settings, logarithmic: Sequence[bool]) -> Goal:
    """Return the caps that were asked for, less is better on every axis."""
    caps = [math.nan] * len(settings.axes)
    names = [axis.name for axis in settings.axes]
    for bound in parse_constraints(settings.constraints, settings.bounded_axes):
        if bound.objective not in names:
            # Measured for its bound alone: no model of it decides.
            continue
        axis = names.index(bound.objective)
        value = math.log(bound.bound) if logarithmic[axis] and bound.bound > 0 else bound.bound
        if bound.sense == ("<=" if settings.axes[axis].sign > 0 else ">="):
            caps[axis] = value * settings.axes[axis].sign
    # A point just at the bound is allowed, and must be worth something.
    drop = USUAL_DROP if settings.max_drop is None else 1.05 * settings.max_drop + 1e-6
    return Goal(tuple(caps), drop, even=frozenset(a for a, log in enumerate(logarithmic) if log))
