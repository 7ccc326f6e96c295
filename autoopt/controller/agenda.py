"""What a search tries in which order: the original, the baselines, then what is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from autoopt.controller import baselines
from autoopt.controller.costs import Costs, trained_epochs
from autoopt.controller.session import Ended, Session
from autoopt.controller.study import Study
from autoopt.errors import SearchError
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.record import Failure, Role


class Chooser(Protocol):
    """Decides about the next candidate.

    Attributes
    ----------
    study
        The Optuna study, which is told of every record.
    """

    study: Study

    def next(self, history: History, seconds_left: float) -> Recipe | None:
        """Return the next recipe that fits into the time left, or None when there is none."""

    def bar(self, history: History, recipe: Recipe) -> float | None:
        """Return the quality below which no completion of a network matters, None for none."""

    def exhausted(self, seconds_left: float) -> str:
        """Say what it means that there is no next recipe."""


@dataclass
class Agenda:
    """Yields candidates one after the other; each is decided when it is asked for.

    Attributes
    ----------
    session
        The run that this belongs to.
    chooser
        Decides once the baselines are through.
    land
        Evaluates what still waits; returns whether anything did.
    """

    session: Session
    chooser: Chooser
    land: Callable[[], bool]
    _left_out: int = 0

    def __iter__(self) -> Iterator[tuple[Recipe, Role]]:
        """Yield what is next.

        Raises
        ------
        Ended
            When nothing is left that would be worth it or fit into the budget.
        SearchError
            If the original failed.
        """
        settings = self.session.job.settings
        yield baselines.original(), "original"
        outcome = self.session.history.raw[0].outcome
        if isinstance(outcome, Failure):
            raise SearchError(f"the original itself failed: {outcome}\n{outcome.log}")
        if settings.only_given:
            yield from self._given()
            raise Ended("every recipe that was given is measured")
        for recipe in baselines.original_elsewhere(settings.space, self.session.refused):
            yield from self._admitted(recipe, "baseline")
        # What worked elsewhere comes before single techniques: it is what the search begins with.
        yield from self._given()
        yield from self._uniform()
        if self._left_out:
            self.session.append("note", {"text": (
                f"budget: {self._left_out} of the usual single steps were left out, because they "
                f"were not likely to fit into {self.session.budget}"
            )})  # fmt: skip
        yield from self._chosen()

    def _uniform(self) -> Iterator[tuple[Recipe, Role]]:
        """Yield each technique alone.

        Where trained networks were handed over, none is trained for it: whoever found them has
        been through the single steps, and what was good of these is among them.
        """
        settings, records = self.session.job.settings, self.session.history.records
        known = any(trained_epochs(Recipe.from_dict(given)) for given in settings.given)
        spared: set[str] = set()
        for recipe in baselines.uniform(settings.space, self.session.refused, records):
            if known and self.trains(recipe):
                spared.add(recipe.stage_id("network"))
            elif not self._hopeless(recipe) and not self.session.refused(recipe):
                yield from self._admitted(recipe, "uniform")
        if spared:
            self.session.append("note", {"text": (
                f"warm start: {len(spared)} networks of the usual single steps are not trained, "
                "because trained ones were handed over"
            )})  # fmt: skip

    def trains(self, recipe: Recipe) -> bool:
        """Say whether a candidate's network has to be trained first."""
        known = self.session.history.networks
        return trained_epochs(recipe) > 0 and recipe.stage_id("network") not in known

    def _chosen(self) -> Iterator[tuple[Recipe, Role]]:
        while True:
            following = self.chooser.next(self.session.history, self._left())
            if following is not None:
                yield following, "search"
            elif not self.land():
                raise Ended(self.chooser.exhausted(self.session.seconds_left()))

    def _left(self) -> float:
        """Return the seconds that are neither reserved nor promised to what is under way."""
        session = self.session
        left = session.seconds_left() - session.reserve()
        pending = session.history.pending
        if not pending or left == float("inf"):
            return left
        costs = Costs.learn(session.history)
        training = max(costs.network(recipe) for recipe in pending)
        return left - training - costs.caution * sum(map(costs.completion, pending))

    def _admitted(self, recipe: Recipe, role: Role) -> Iterator[tuple[Recipe, Role]]:
        """Yield a candidate if nine of ten like it would fit into what is left."""
        costs, left = Costs.learn(self.session.history), self._left()
        # With nothing left at all, the search ends for that reason once this is begun.
        if left <= 0 or costs.upper(recipe, trains=self.trains(recipe)) <= left:
            yield recipe, role
        else:
            self._left_out += 1

    def _given(self) -> Iterator[tuple[Recipe, Role]]:
        """Yield the recipes that the search was handed, unless their network failed already."""
        for given in self.session.job.settings.given:
            recipe = Recipe.from_dict(given)
            if not self._hopeless(recipe):
                yield recipe, "given"

    def _hopeless(self, recipe: Recipe) -> bool:
        """Say whether this network failed already, as it would in every other runtime."""
        return any(
            record.number not in self.session.retried
            and record.failure is not None
            and record.failure.bars_network
            and record.recipe.stage_id("network") == recipe.stage_id("network")
            for record in self.session.history.raw.values()
        )
