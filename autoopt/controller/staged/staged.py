"""The decision of each round: a new network, or a completion of one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from autoopt.controller.staged import opening
from autoopt.controller.staged.candidates import CAPACITY, Candidates, Kitchen
from autoopt.controller.staged.codes import Code, Floats, keys
from autoopt.controller.staged.finalists import HORIZON, Group, finalists, one_too_many
from autoopt.controller.staged.goal import Goal, Observation
from autoopt.controller.staged.hope import DEVIATIONS, largest_loss
from autoopt.controller.staged.improvement import Boxes, complementary
from autoopt.controller.staged.models import Models
from autoopt.controller.staged.points import Points
from autoopt.controller.staged.view import View
from autoopt.recipe import Recipe

KEPT = 3 * CAPACITY // 4
"""Candidates that remain in a pool that has outgrown its capacity."""

CURIOUS = 5
"""Decisions of which one is for an artefact that is there, served in another way."""

OPTIMISM = 0.4
"""Standard deviations below the mean at which candidates are screened."""

COMPLETIONS = 100
"""Completions drawn for a network about to be made, to see what may become of it; and as many of
the best that were observed."""

ROUGH = 0.2
"""The same for candidates of which only the mean is known, in deviations of the prior."""

SCREENED = 480
"""Candidates of the pool whose deviation is computed."""

DRAWS = 8
"""Points of the quasi-Monte-Carlo sequence that stand for what a model does not know."""


@dataclass
class StagedSearch:
    """Chooses recipes by expected hypervolume improvement per expected second.

    A network that is there is worth what its best completions add to the hypervolume over what
    they cost; a new one the same, its own cost added. The first observation is the original.

    Attributes
    ----------
    kitchen
        What is known of recipes and their costs.
    goal
        What makes a point worth something.
    seed
        The same seed and observations give the same choices.
    promise
        Share of the front's hypervolume that the network chosen last is expected to add to it
        with all its completions; infinite while nothing is expected of anything.
    """

    kitchen: Kitchen
    goal: Goal
    seed: int = 0
    promise: float = np.inf
    _original: Floats | None = None
    _rows: list[Code] = field(default_factory=list)
    _points: list[Points] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _noise: list[Floats] = field(default_factory=list)
    _present: dict[bytes, Code] = field(default_factory=dict)
    _built: set[bytes] = field(default_factory=set)
    _decisions: int = 0
    _awaited: dict[bytes, tuple[bytes, Recipe]] = field(default_factory=dict)
    _promising: Code = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int16))

    @cached_property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def _pool(self) -> Candidates:
        return Candidates(self.kitchen, self._random)

    @property
    def _observed(self) -> Points:
        return Points.joined(self._points)

    @cached_property
    def _models(self) -> Models:
        return Models(self.goal, self.seed)

    @cached_property
    def _draws(self) -> Floats:
        from scipy.stats import norm, qmc

        sequence = qmc.Sobol(len(self.goal.caps), seed=self.seed).random(DRAWS)
        draws: Floats = norm.ppf(np.clip(sequence, 1e-3, 1 - 1e-3))
        return draws

    def tell(self, observation: Observation) -> None:
        """Take in what became of a recipe."""
        if self._original is None and observation.values is not None:
            self._original = np.array(observation.values)
        recipe = observation.recipe
        row = self.kitchen.codes.encode(recipe) if recipe else None
        if recipe is None or row is None:
            return
        (network,) = keys(row[None, self.kitchen.codes.network])
        self._pool.ban(row)
        if observation.network:
            self._present.setdefault(network, row)
        elif observation.values is None and observation.network is False:
            self._pool.ban_network(network)
        if observation.values is None:
            return
        self._built.update(keys(row[None, self.kitchen.codes.built]))
        self._rows.append(row)
        self._points.append(self._pool.describe(row[None], [recipe]))
        self._values.append(np.array(observation.values))
        self._noise.append(np.array(observation.noise or np.zeros(len(observation.values))))

    def believed(self) -> Floats:
        """Return what the models expect of all that was observed, a row an observation."""
        if len(self._values) < 2:
            return np.array(self._values)
        with threadpool_limits(1):
            self._fit()
            return self._front()

    def largest_loss(self, recipe: Recipe) -> float:
        """Return the value on the axis of quality beyond which a network cannot matter.

        Its completions, the best that were observed and some that are drawn, are taken to be as
        good as they may be on all other axes, and what was observed as bad; infinite while little
        is known.
        """
        codes, quality = self.kitchen.codes, self.goal.quality
        row = codes.encode(recipe)
        if row is None or quality is None or not self._models.scales:
            return np.inf
        # The generator of decisions is left alone: whether it is asked for this changes nothing.
        drawn = codes.draw(COMPLETIONS, np.random.default_rng(self.seed))
        from moocore import pareto_rank

        best = np.argsort(pareto_rank(np.array(self._values)), kind="stable")[:COMPLETIONS]
        tried = np.concatenate([row[None], np.array(self._rows)[best], drawn])
        rows = np.unique(codes.tidy(np.where(codes.network, row, tried)), axis=0)
        with threadpool_limits(1):
            points = self._pool.describe(rows, [codes.decode(each) for each in rows])
            mean, deviation = self._models.predict(points)
        hoped = self._models.back(mean - DEVIATIONS * deviation)
        feared = np.array(self._values) + DEVIATIONS * np.array(self._noise)
        return largest_loss(hoped, feared, quality)

    def offer(self, recipe: Recipe) -> None:
        """Note that the network of a recipe is there though nothing of it was measured yet."""
        row = self.kitchen.codes.encode(recipe)
        if row is not None:
            self._present.setdefault(keys(row[None, self.kitchen.codes.network])[0], row)

    def expect(self, pending: Sequence[Recipe]) -> None:
        """Note what is under way: it counts as if it measured what the models expect of it.

        Nothing else of its network is chosen meanwhile, unless the network is there.
        """
        rows = [(self.kitchen.codes.encode(recipe), recipe) for recipe in pending]
        network = self.kitchen.codes.network
        self._awaited = {
            keys(row[None])[0]: (keys(row[None, network])[0], recipe)
            for row, recipe in rows
            if row is not None
        }

    def reprice(self) -> None:
        """Ask again what candidates are predicted to take: more was learnt of it."""
        if len(self._pool):
            self._pool.reprice()

    def ask(self, left: float = np.inf) -> Recipe | None:
        """Return the recipe that is worth most, or None where none fits into what is left.

        Parameters
        ----------
        left
            Seconds that may still be spent.
        """
        with threadpool_limits(1):
            first = self._unmodelled(left)
            if first is not None or len(self._values) < 2:
                return first
            self._fit()
            front = self._front()
            self._breed(front)
            if not len(self._pool):
                return None
            return self._choose(front, left)

    def _unmodelled(self, left: float) -> Recipe | None:
        """Return what is to be tried whatever the models say, or None where they decide."""
        codes, observed = self.kitchen.codes, np.array(self._rows)
        for rows in opening.steps(codes, observed, self._present, self._random):
            if (recipe := self._unlike(rows, left)) is not None:
                return recipe
        self._decisions += 1
        if self._decisions % CURIOUS or not len(observed):
            return None
        return self._unlike(opening.served_otherwise(codes, observed, self._random), left)

    def _unlike(self, rows: Code, left: float) -> Recipe | None:
        """Return the one of some points that is least like all that was seen, if any fits."""
        pool = self._pool
        pool.add(rows)
        wanted = set(keys(rows))
        fits = np.array([key in wanted for key in keys(pool.rows)], dtype=bool)
        if not fits.any():
            return None
        fits &= self._fitting(left)
        fits &= np.array([self.kitchen.opening(recipe) for recipe in pool.recipes])
        if not fits.any():
            return None
        seen = self._observed.inputs if self._points else np.zeros((0, 0))
        return pool.recipes[opening.farthest(pool, fits, seen)]

    def _fitting(self, left: float) -> npt.NDArray[np.bool_]:
        """Say which candidates of the pool can be paid for."""
        networks, completions = self._prices()
        needed = networks + completions
        # What may not be made is priced at infinity, which no budget affords.
        fits: npt.NDArray[np.bool_] = (needed <= left) & np.isfinite(needed)
        if self._awaited:
            made = {network for network, _ in self._awaited.values()} - set(self._present)
            fits &= np.array([key not in made for key in self._pool.networks], dtype=bool)
            fits &= np.array([key not in self._awaited for key in keys(self._pool.rows)])
        return fits

    def _prices(self) -> tuple[Floats, Floats]:
        """Return the seconds for the network of each candidate, zero if it is there, and after."""
        pool = self._pool
        missing = np.array([key not in self._present for key in pool.networks], dtype=bool)
        unbuilt = np.array([key not in self._built for key in pool.artifacts], dtype=bool)
        network, artifact, deployment = pool.seconds.T
        completion = np.maximum(np.where(unbuilt, artifact, 0.0) + deployment, 1e-9)
        return np.where(missing, network, 0.0), completion

    def _fit(self) -> None:
        """Fit the models to what was observed."""
        self._models.fit(self._observed, np.array(self._values), np.array(self._noise), self._base)

    def _front(self) -> Floats:
        """Return what the models expect of all that was observed: values without their noise."""
        return self._models.expected(self._observed)

    def _believed_of_awaited(self) -> Floats:
        """Return what the models expect of what is under way (a kriging believer)."""
        recipes = [recipe for _, recipe in self._awaited.values()]
        if not recipes:
            return np.zeros((0, len(self.goal.caps)))
        rows = np.array([np.frombuffer(key, dtype=np.int16) for key in self._awaited])
        return self._models.expected(self._pool.describe(rows, recipes))

    @property
    def _base(self) -> Floats:
        """Values of the original, which is observed first."""
        if self._original is None:
            raise ValueError("the original must be observed first, but nothing was")
        return self._original

    def _breed(self, expected: Floats) -> None:
        """Renew the pool from the best points and networks known."""
        from moocore import pareto_rank

        corner = self.goal.corner(self._base, expected)
        excess = np.maximum(expected - corner, 0) / np.maximum(np.ptp(expected, axis=0), 1e-12)
        rank = pareto_rank(expected) + 3.0 * np.ceil(10 * excess.sum(axis=1))
        order = np.argsort(rank, kind="stable")
        rows = np.array(self._rows)[order]
        parents = rows[: max(12, int((rank == 0).sum()))]
        seen = dict.fromkeys(keys(rows[:, self.kitchen.codes.network]))
        present = [*seen, *(key for key in self._present if key not in seen)]
        table = np.array([self._present[key] for key in present if key in self._present])
        rounds = 1 if len(self._pool) >= CAPACITY // 2 else 4
        for _ in range(rounds):
            self._pool.refresh(parents, table, self._promising)

    def _choose(self, front: Floats, left: float) -> Recipe | None:
        """Return the best completion of the network that is worth most."""
        pool, (networks, completions) = self._pool, self._prices()
        fits = self._fitting(left)
        if not fits.any():
            return None
        view = self._view(np.concatenate([front, self._believed_of_awaited()]))
        screened = np.zeros(len(pool))
        mean, deviation, looked = self._screen(view, screened, fits)
        there, new = finalists(pool.networks, self._present, screened, (networks, completions))
        self._promising = pool.rows[[int(group[0]) for group in new]]
        if not there and not new:
            # Nothing is expected anywhere: look where least is known.
            self.promise = 0.0
            spread = np.where(fits[looked], deviation.sum(axis=1), -1.0)
            return pool.recipes[int(looked[spread.argmax()])]
        place = np.zeros(len(pool), dtype=np.int64)
        place[looked] = np.arange(len(looked))
        believed = mean[place], deviation[place]
        chosen, gained = self._best([*there, *new], view, believed, (networks, completions))
        self.promise = gained / max(view.volume, 1e-12)
        recipe = pool.recipes[chosen]
        self._trim(screened / (networks / HORIZON + completions))
        return recipe

    def _best(
        self,
        groups: Sequence[Group],
        view: View,
        believed: tuple[Floats, Floats],
        prices: tuple[Floats, Floats],
    ) -> tuple[int, float]:
        """Return the candidate to take of the network that is worth most, and what all of it adds.

        Parameters
        ----------
        groups
            Candidates of a network each.
        view
            Where volumes are measured.
        believed
            Mean and deviation of each candidate that is in a group.
        prices
            Seconds for the network of each, zero if it is there, and after.
        """
        (mean, deviation), (networks, completions) = believed, prices
        flat = np.concatenate(groups)
        drawn = mean[flat, None] + deviation[flat, None] * self._draws
        gains = np.zeros(len(mean))
        gains[flat] = view.boxes.gain(view.points(drawn)).mean(axis=1)
        chosen, worth, gained = int(flat[0]), 0.0, 0.0
        for group in groups:
            picks = complementary(view.boxes, view.points(mean[group]), gains[group], HORIZON)
            spent = networks[group[0]] + sum(completions[group[index]] for index, _ in picks)
            gain = sum(gain for _, gain in picks)
            if picks and gain / spent > worth:
                first = max(picks, key=lambda pick: pick[1] / completions[group[pick[0]]])
                chosen, worth, gained = int(group[first[0]]), gain / spent, gain
        return chosen, gained

    def _view(self, front: Floats) -> View:
        """Return the undominated region, every axis from 0 (best seen) to 1 (of no more use)."""
        corner = self.goal.corner(self._base, front)
        best = np.minimum(front.min(axis=0), corner - 1e-9)
        unit = corner - best
        boxes = Boxes.around((front - best) / unit, np.ones(len(unit)))
        return View(self._models.scales, best, unit, boxes)

    def _screen(
        self, view: View, screened: Floats, fits: npt.NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Group]:
        """Write into `screened` what each candidate may gain at best.

        All are looked at as if little was known of them; the most hopeful again by what the
        models know, which is dearer.

        Returns
        -------
        mean, deviation, positions
            Of those on the models' scales, and where they stand in the pool.
        """
        points, models = self._pool.points, self._models
        rough = models.means(points) - ROUGH * models.prior
        hope = np.where(fits, view.boxes.gain(view.points(rough)), -1.0)
        looked = np.sort(np.argsort(-hope, kind="stable")[:SCREENED])
        mean, deviation = models.predict(points[looked])
        gains = view.boxes.gain(view.points(mean - OPTIMISM * deviation))
        screened[looked] = np.where(fits[looked], gains, 0.0)
        return mean, deviation, looked

    def _trim(self, score: Floats) -> None:
        """Drop the least hopeful from a pool that has outgrown its capacity."""
        if len(score) > CAPACITY:
            score = np.where(one_too_many(self._pool.networks, score), 0.0, score)
            least = np.partition(score, len(score) - KEPT)[len(score) - KEPT]
            self._pool.keep(score >= max(least, np.finfo(float).tiny))
