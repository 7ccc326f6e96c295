"""What is left when nothing promises a gain: any point that was not tried and fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from autoopt.controller.costs import Costs
from autoopt.history import History
from autoopt.recipe import Recipe
from search_spaces import SearchSpace

LISTED = 3000
"""Points of a space that are gone through one by one, or draws from a larger one."""


@dataclass(frozen=True)
class Leftovers:
    """Untried points of a space, whatever they promise.

    Attributes
    ----------
    space
        Of the search.
    refused
        Says whether a recipe is known not to run here.
    same
        Gives the one form of recipes that do the same.
    trains
        Whether new networks may be trained at all.
    random
        For the order.
    """

    space: SearchSpace
    refused: Callable[[Recipe], bool]
    same: Callable[[Recipe], Recipe]
    trains: bool
    random: Random

    def next(self, history: History, costs: Costs, seconds_left: float) -> Recipe | None:
        """Return any recipe that was not tried and fits into the time left, or None."""
        seen = {recipe.id for recipe in history.started.values()}
        made = {recipe.stage_id("network") for recipe in history.started.values()}
        failed = {
            record.recipe.stage_id("network")
            for record in history.raw.values()
            if record.failure and record.failure.bars_network
        }
        if self.space.size <= LISTED:
            points = list(self.space.points())
            self.random.shuffle(points)
        else:
            points = [self.space.sample(self.random) for _ in range(LISTED)]
        for point in points:
            recipe = self.same(Recipe.of(point))
            network = recipe.stage_id("network")
            if recipe.id in seen or network in failed or self.refused(recipe):
                continue
            there = recipe.is_original or network in made
            if not there and not self.trains:
                continue
            needed = costs.completion(recipe) + (0.0 if there else costs.network(recipe))
            if costs.caution * needed <= seconds_left:
                return recipe
        return None

    def exhausted(self, seconds_left: float) -> str:
        """Say what it means that there is no next recipe."""
        if seconds_left < float("inf"):
            return "nothing that is untried fits into the time left"
        if not self.trains:
            return "every network that the cache holds was measured in every way that can run here"
        if self.space.size <= LISTED:
            return "every point of the space that can run here was measured"
        return f"no untried point was found in {LISTED:,} draws from the space"
