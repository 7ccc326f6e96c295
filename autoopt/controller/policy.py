"""Which candidate is next: a new network, or a cheap completion of one that is there.

Networks are the scarce good. Each new one is followed by a few completions (quantization,
runtime, parallel configuration), beginning with the completion that was best so far; training
may take a share of the budget and no more. What is proposed comes from Optuna's sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from statistics import fmean, median

from autoopt.controller.allowance import may_train_more
from autoopt.controller.bars import quality_bar
from autoopt.controller.costs import Costs, relative_size, trained_epochs
from autoopt.controller.forms import one_form
from autoopt.controller.leftovers import Leftovers
from autoopt.controller.study import Study
from autoopt.front import Front
from autoopt.history import History
from autoopt.measurement import Axis
from autoopt.recipe import Recipe
from autoopt.record import Record
from search_spaces import STAGES, SearchSpace

TRAINING_SHARE = 0.25
"""Largest share of a budget in seconds that training may take."""

COMPLETIONS = 4
"""Candidates of one network before another one is trained."""

BRED_SHARE = 0.6
"""Share of the new networks that are children of good ones; the sampler proposes the others."""

NEAR = 0.005
"""Relative miss of the bounds on quality beyond which a network gets no further completion."""

PATIENCE = 25
"""Proposals in a row that may be known already before one is drawn at random."""

NETWORK_SLOTS = STAGES["network"]
COMPLETION_SLOTS = (*STAGES["artifact"], *STAGES["deployment"])


@dataclass
class Policy:
    """Chooses the next recipe of the search phase.

    Attributes
    ----------
    space, threads, request_size
        Of the search; the last two tell which parallel configurations are the same.
    study
        Gives proposals.
    refused
        Says whether a recipe is known not to run here.
    paid
        Networks that an earlier search has trained, oldest first: they come before new ones.
    trains
        Whether new networks may be trained at all.
    random
        For draws beside the sampler's.
    """

    space: SearchSpace
    study: Study
    refused: Callable[[Recipe], bool]
    threads: int
    request_size: int
    paid: Sequence[Recipe]
    trains: bool
    random: Random
    _exhausted: set[str] = field(default_factory=set)

    def next(self, history: History, seconds_left: float) -> Recipe | None:
        """Return the next recipe that fits into the time left, or None when there is none."""
        seen = {recipe.id for recipe in history.started.values()}
        costs = Costs.learn(history)
        self.study.expect(history.pending)
        if costs.caution * costs.cheapest() > seconds_left:
            return None
        unfinished = self._unfinished(history)
        recipe = self._completion(unfinished, history, costs, seen, seconds_left)
        recipe = recipe or self._new_network(history, costs, seen, seconds_left)
        recipe = recipe or self._completion(
            self._by_promise(history), history, costs, seen, seconds_left
        )
        # With no completion left, what was kept back from training has no better use.
        recipe = recipe or self._new_network(history, costs, seen, seconds_left, thrifty=False)
        return recipe or self._leftovers.next(history, costs, seconds_left)

    def bar(self, history: History, recipe: Recipe) -> float | None:
        """Return the quality below which no completion of a network matters, None for none."""
        return quality_bar(history)

    def exhausted(self, seconds_left: float) -> str:
        """Say what it means that there is no next recipe."""
        return self._leftovers.exhausted(seconds_left)

    @cached_property
    def _leftovers(self) -> Leftovers:
        return Leftovers(self.space, self.refused, self.same, self.trains, self.random)

    def same(self, recipe: Recipe) -> Recipe:
        """Return a recipe with its parallel configuration in one form for all that do the same."""
        return one_form(recipe, threads=self.threads, request_size=self.request_size)

    def _unfinished(self, history: History) -> list[Recipe]:
        """Return the networks that have not had their completions, the newest first.

        One whose quality is far from what is asked gets none: no completion would mend it.
        """
        front = history.front
        counts: dict[str, int] = {}
        for recipe in history.started.values():
            key = recipe.stage_id("network")
            counts[key] = counts.get(key, 0) + 1
        promising: dict[str, Recipe] = {}
        for record in front.measured:
            key = record.recipe.stage_id("network")
            near = self._quality_miss(front, record) <= NEAR
            if near and not record.recipe.is_original and counts[key] < COMPLETIONS:
                promising[key] = record.recipe
        return [recipe for recipe in reversed(promising.values()) if self._open(recipe)]

    def _quality_miss(self, front: Front, record: Record) -> float:
        """Return by how much a record breaks the bounds on the quality, relative to them."""
        bounds = [c for c in front.constraints if c.objective == front.axes[0].name]
        return replace(front, constraints=tuple(bounds)).violation(record)

    def _open(self, network: Recipe) -> bool:
        """Say whether a network lies in the space and has completions left."""
        key = network.stage_id("network")
        return key not in self._exhausted and self._offers(network, NETWORK_SLOTS)

    def _new_network(
        self,
        history: History,
        costs: Costs,
        seen: set[str],
        seconds_left: float,
        *,
        thrifty: bool = True,
    ) -> Recipe | None:
        """Return a network not tried yet, with its likely best completion.

        A `thrifty` one keeps to the share of the budget that training may take.
        """
        known = {recipe.stage_id("network") for recipe in history.started.values()}
        ranked = ranked_completions(history)
        for recipe, paid in self._network_proposals(history, costs, known):
            candidate = self._likely(recipe, ranked, seen)
            if candidate is None:
                continue
            needed = 2 * costs.completion(candidate) + (0.0 if paid else costs.network(candidate))
            if needed <= seconds_left and (
                not thrifty or self._affordable(history, costs, candidate)
            ):
                return candidate
        return None

    def _network_proposals(
        self, history: History, costs: Costs, known: set[str]
    ) -> Iterator[tuple[Recipe, bool]]:
        """Yield networks not tried yet and whether they are paid for; those that are come first."""
        for recipe in self.paid:
            if recipe.stage_id("network") not in known and self._offers(recipe, NETWORK_SLOTS):
                yield recipe, True
        odds = self._odds(history, costs)
        for attempt in range(2 * PATIENCE if self.trains else 0):
            if attempt >= PATIENCE:
                recipe = Recipe.of(self.space.sample(self.random))
            elif self.random.random() < BRED_SHARE:
                recipe = self._bred(history)
            else:
                recipe = self.study.propose()
            fresh = recipe.stage_id("network") not in known and not recipe.is_original
            if fresh and not self.refused(recipe) and self.random.random() <= odds(recipe):
                yield recipe, False

    def _odds(self, history: History, costs: Costs) -> Callable[[Recipe], float]:
        """Return the chance with which a proposed network is taken.

        It is the share of networks with its least lucky option that kept the quality (half of
        one more is assumed, so that an untried option has an even chance), and less for a
        network that is dearer than those trained so far, in proportion.
        """
        front = history.front
        kept: dict[str, bool] = {}
        recipes: dict[str, Recipe] = {}
        for record in front.measured:
            key = record.recipe.stage_id("network")
            recipes[key] = record.recipe
            kept[key] = kept.get(key, False) or self._quality_miss(front, record) <= 0
        usual = self._usual_cost(costs, recipes.values())
        smallest = min((relative_size(r) for key, r in recipes.items() if kept[key]), default=1.0)

        def odds(recipe: Recipe) -> float:
            shares = []
            for slot in NETWORK_SLOTS:
                like = [k for k, r in recipes.items() if r[slot].option == recipe[slot].option]
                shares.append((0.5 + sum(kept[key] for key in like)) / (1 + len(like)))
            larger = min(1.0, smallest / relative_size(recipe))
            return min(shares) * larger * min(1.0, usual / costs.network(recipe))

        return odds

    def _usual_cost(self, costs: Costs, recipes: Iterable[Recipe]) -> float:
        """Return the median of what training these networks is predicted to cost."""
        trained = [costs.network(recipe) for recipe in recipes if trained_epochs(recipe)]
        return median(trained) if trained else math.inf

    def _bred(self, history: History) -> Recipe:
        """Return a child of two good networks: a choice of either in each slot, one drawn anew."""
        front = history.front
        axis = _second(front.axes)
        good = [r for r in front.measured if front.feasible(r) and not r.recipe.is_original]
        good.sort(key=lambda record: _badness(record, axis))
        parents: dict[str, Recipe] = {}
        for record in good:
            parents.setdefault(record.recipe.stage_id("network"), record.recipe)
        drawn = Recipe.of(self.space.sample(self.random)).point()
        if not parents:
            return Recipe.of(drawn)
        # The fastest come first, and are drawn most often.
        weights = [1 / (rank + 1) for rank in range(len(parents))]
        point = dict(drawn)
        for slot in NETWORK_SLOTS:
            point[slot] = self.random.choices([*parents.values()], weights)[0].point()[slot]
        anew = self.random.choice(NETWORK_SLOTS)
        point[anew] = drawn[anew]
        return Recipe.of(point)

    def _affordable(self, history: History, costs: Costs, recipe: Recipe) -> bool:
        """Say whether a network may be made: what it costs counts even if it was paid earlier.

        So a second run of the same search stops at about the same network. One that needs no
        training is held to the same share: cut and not trained, few keep their quality.
        """
        budget = history.settings.budget if history.settings else None
        if budget is None:
            return True
        trained = {
            stage["key"]: stage["cost"]
            for stage in history.stages
            if stage["stage"] == "network" and stage.get("trained")
        }
        if not may_train_more(history):
            return False
        if budget.seconds is None:
            return True
        usual = self._usual_cost(costs, history.started.values())
        needed = max(costs.network(recipe), usual if trained else 0.0)
        planned = float(sum(trained.values())) + needed
        return planned <= TRAINING_SHARE * budget.seconds

    def _likely(self, network: Recipe, ranked: Sequence[Recipe], seen: set[str]) -> Recipe | None:
        """Return the untried completion of a network that was fastest on other networks."""
        for completion in ranked:
            recipe = self._completed(network, completion)
            if recipe.id not in seen and not self.refused(recipe):
                return recipe
        return None

    def _completed(self, network: Recipe, completion: Recipe | None) -> Recipe:
        """Return a network with the completion of another recipe, if the space has it."""
        if completion is None or not self._offers(completion, COMPLETION_SLOTS):
            completion = Recipe.of(self.space.sample(self.random))
        point = {**network.point(), **{s: completion.point()[s] for s in COMPLETION_SLOTS}}
        return self.same(Recipe.of(point))

    def _offers(self, recipe: Recipe, slots: Sequence[str]) -> bool:
        """Say whether the space holds a recipe's choices in some slots."""
        inside = self.space.sample(self.random)
        return self.space.contains({**inside, **{slot: recipe.point()[slot] for slot in slots}})

    def _completion(
        self,
        networks: Iterable[Recipe],
        history: History,
        costs: Costs,
        seen: set[str],
        seconds_left: float,
    ) -> Recipe | None:
        """Return an untried completion of the first network that has one."""
        ranked = ranked_completions(history)
        for network in networks:
            key = network.stage_id("network")
            tried = sum(r.stage_id("network") == key for r in history.started.values())
            # In turn: what was fast on other networks, and what the sampler proposes.
            drawn = self._likely(network, ranked, seen) if tried % 2 == 0 else None
            drawn = drawn or self._draw(network, costs, seen)
            if drawn is None:
                self._exhausted.add(network.stage_id("network"))
            elif costs.caution * costs.completion(drawn) <= seconds_left:
                return drawn
        return None

    def _draw(self, network: Recipe, costs: Costs, seen: set[str]) -> Recipe | None:
        """Return a new completion; one that costs over twice the cheapest is drawn less often."""
        spare: Recipe | None = None
        for attempt in range(3 * PATIENCE):
            if attempt < PATIENCE:
                recipe = self.study.propose(network, NETWORK_SLOTS)
            else:
                sampled = Recipe.of(self.space.sample(self.random))
                recipe = Recipe.of(
                    {**sampled.point(), **{s: network.point()[s] for s in NETWORK_SLOTS}}
                )
            recipe = self.same(recipe)
            if recipe.id in seen or self.refused(recipe):
                continue
            if self.random.random() * costs.completion(recipe) <= 2 * costs.cheapest():
                return recipe
            spare = recipe
        return spare

    def _by_promise(self, history: History) -> list[Recipe]:
        """Return the networks that are there, the most promising first.

        Promise is the best figure on one objective, drawn anew each time so that every end of
        the front is served, among networks that keep the constraints; each completion already
        spent on a network counts against it.
        """
        front = history.front
        axis = self.random.choice([*front.axes, _second(front.axes)])
        groups: dict[str, list[Record]] = {}
        for record in front.measured:
            groups.setdefault(record.recipe.stage_id("network"), []).append(record)
        scored = []
        for records in groups.values():
            if not self._open(records[0].recipe):
                continue
            feasible = [record for record in records if front.feasible(record)]
            miss = 0.0 if feasible else 1 + min(front.violation(record) for record in records)
            best = min(_badness(record, axis) for record in feasible or records)
            scored.append((miss, best, len(records), records[0].recipe))
        order = sorted(scored, key=lambda item: (item[0], item[1]))
        ranked = [(rank + count / 3, recipe) for rank, (*_, count, recipe) in enumerate(order)]
        return [recipe for _, recipe in sorted(ranked, key=lambda item: item[0])]


def ranked_completions(history: History) -> list[Recipe]:
    """Return a recipe for each completion tried so far, those that were fastest first.

    Each record is compared with the fastest of its own network, so that completions tried on
    different networks can stand in one order.
    """
    front = history.front
    axis = _second(front.axes)
    groups: dict[str, list[Record]] = {}
    for record in front.measured:
        groups.setdefault(record.recipe.stage_id("network"), []).append(record)
    behind: dict[str, list[float]] = {}
    example: dict[str, Recipe] = {}
    for records in groups.values():
        best = min(_badness(record, axis) for record in records)
        for record in records:
            key = repr([record.recipe.point()[slot] for slot in COMPLETION_SLOTS])
            behind.setdefault(key, []).append((_badness(record, axis) - best) / abs(best or 1.0))
            example.setdefault(key, record.recipe)
    return [example[key] for key in sorted(behind, key=lambda key: fmean(behind[key]))]


def _second(axes: Sequence[Axis]) -> Axis:
    """Return the objective after the quality, or the quality where it is alone."""
    return axes[min(1, len(axes) - 1)]


def _badness(record: Record, axis: Axis) -> float:
    stat = record.stat(axis.name)
    return axis.sign * stat.value if stat else math.inf
