"""The decision of each round: a new network, or a completion of one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from autoopt.controller.staged.candidates import CAPACITY, Candidates, Kitchen
from autoopt.controller.staged.codes import Code, Floats, keys
from autoopt.controller.staged.goal import Goal, Observation
from autoopt.controller.staged.improvement import Boxes, complementary
from autoopt.controller.staged.scale import Scale, fitting
from autoopt.controller.staged.surrogate import Surrogate
from autoopt.controller.staged.view import View
from autoopt.recipe import Recipe

Group = npt.NDArray[np.int64]
"""Positions in the pool of candidates of one network."""

KEPT = 3 * CAPACITY // 4
"""Candidates that remain in a pool that has outgrown its capacity."""

HORIZON = 6
"""Complementary completions that are credited to a network: about what it will be given."""

SPREAD_NETWORKS, SPREAD_COMPLETIONS = 3, 2
"""Networks far from one another that are made first, and the completions of each."""

REACH = 0.7
"""How far those may lie from the original, of the way to the ends of each range."""

OPTIMISM = 0.4
"""Standard deviations below the mean at which candidates are screened."""

ROUGH = 0.2
"""The same for candidates of which only the mean is known, in deviations of the prior."""

SCREENED = 480
"""Candidates of the pool whose deviation is computed."""

FINALISTS = 8
"""Networks of each kind, there and new, that are looked at closely."""

LOOKED_AT = 8
"""Completions of each finalist that are looked at closely."""

ENOUGH = 12
"""Completions of each network that remain in a pool that has outgrown its capacity."""

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
    """

    kitchen: Kitchen
    goal: Goal
    seed: int = 0
    _original: Floats | None = None
    _rows: list[Code] = field(default_factory=list)
    _features: list[Floats] = field(default_factory=list)
    _inputs: list[Floats] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _noise: list[Floats] = field(default_factory=list)
    _present: dict[bytes, Code] = field(default_factory=dict)
    _models: list[Surrogate] = field(default_factory=list)
    _awaited: dict[bytes, tuple[bytes, Recipe]] = field(default_factory=dict)
    _promising: Code = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int16))

    @cached_property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def _pool(self) -> Candidates:
        return Candidates(self.kitchen, self._random)

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
        elif observation.values is None:
            self._pool.ban_network(network)
        if observation.values is None:
            return
        features, inputs = self._pool.describe(row[None], [recipe])
        self._rows.append(row)
        self._features.append(features[0])
        self._inputs.append(inputs[0])
        self._values.append(np.array(observation.values))
        self._noise.append(np.array(observation.noise or np.zeros(len(observation.values))))

    def believed(self) -> Floats:
        """Return what the models expect of all that was observed, a row an observation."""
        if len(self._values) < 2:
            return np.array(self._values)
        with threadpool_limits(1):
            return self._front(self._fit())

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
            opening = self._opening(left)
            if opening is not None or len(self._values) < 2:
                return opening
            scales = self._fit()
            front = self._front(scales)
            self._breed(front)
            if not len(self._pool):
                return None
            return self._choose(scales, front, left)

    def _opening(self, left: float) -> Recipe | None:
        """Return the next of the networks that lie far apart, or None once these are made."""
        counts: dict[bytes, int] = dict.fromkeys(self._present, 0)
        for key in keys(np.array(self._rows)[:, self.kitchen.codes.network]) if self._rows else ():
            counts[key] += 1
        unfinished = [k for k, n in counts.items() if n < SPREAD_COMPLETIONS]
        if len(counts) > SPREAD_NETWORKS or (len(counts) == SPREAD_NETWORKS and not unfinished):
            return None
        codes = self.kitchen.codes
        drawn = self._moderate(codes.draw(50 * HORIZON, self._random))
        if unfinished and len(counts) > 1:
            drawn = codes.tidy(np.where(codes.network, self._present[unfinished[-1]], drawn))
        self._pool.add(drawn)
        if not len(self._pool):
            return None
        fits = self._fitting(left)
        fits &= np.array([self.kitchen.opening(recipe) for recipe in self._pool.recipes])
        if unfinished and len(counts) > 1:
            fits &= np.array([key == unfinished[-1] for key in self._pool.networks], dtype=bool)
        if not fits.any():
            return None
        seen = np.array(self._inputs) if self._inputs else np.zeros((1, self._pool.inputs.shape[1]))
        distance = ((self._pool.inputs[:, None] - seen) ** 2).sum(axis=2).min(axis=1)
        return self._pool.recipes[int(np.where(fits, distance, -1.0).argmax())]

    def _moderate(self, rows: Code) -> Code:
        """Return rows with networks brought nearer to the original: far ones rarely are of use."""
        if not self._rows:
            return rows
        codes, original = self.kitchen.codes, self._rows[0]
        ordered = np.array([column.ordered for column in codes.columns])
        share = self._random.uniform(0.0, REACH, rows.shape)
        nearer = np.round(original + share * (rows - original)).astype(np.int16)
        return codes.tidy(np.where(codes.network & ordered, nearer, rows))

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
        missing = np.array([key not in self._present for key in self._pool.networks], dtype=bool)
        return np.where(missing, self._pool.network_seconds, 0.0), self._pool.completion_seconds

    def _fit(self) -> list[Scale]:
        """Fit the models to what was observed; return the scale of each."""
        values, noise = np.array(self._values), np.array(self._noise)
        features, inputs = np.array(self._features), np.array(self._inputs)
        corner = self._corner(values)
        if not self._models:
            self._models = [Surrogate(self.seed) for _ in self.goal.caps]
        scales = []
        for axis, model in enumerate(self._models):
            observed = values[:, axis]
            scale = (
                Scale()
                if axis in self.goal.even
                else fitting(
                    observed,
                    quality=axis == self.goal.quality,
                    original=float(self._base[axis]),
                    unit=0.2 * float(corner[axis] - self._base[axis]),
                )
            )
            spread = scale.spread(observed, noise[:, axis])
            model.fit(features, inputs, scale.forward(observed), spread)
            scales.append(scale)
        return scales

    def _front(self, scales: list[Scale]) -> Floats:
        """Return what the models expect of all that was observed: values without their noise."""
        return self._expected(scales, np.array(self._features), np.array(self._inputs))

    def _expected(self, scales: list[Scale], features: Floats, inputs: Floats) -> Floats:
        expected = [
            scale.back(model.expect(features, inputs))
            for scale, model in zip(scales, self._models, strict=True)
        ]
        return np.stack(expected, axis=1)

    def _believed_of_awaited(self, scales: list[Scale]) -> Floats:
        """Return what the models expect of what is under way (a kriging believer)."""
        recipes = [recipe for _, recipe in self._awaited.values()]
        if not recipes:
            return np.zeros((0, len(scales)))
        rows = np.array([np.frombuffer(key, dtype=np.int16) for key in self._awaited])
        return self._expected(scales, *self._pool.describe(rows, recipes))

    def _corner(self, observed: Floats) -> Floats:
        """Return the worst values that are of any use."""
        return self.goal.reference(self._base, np.maximum(0.05 * np.ptp(observed, axis=0), 1e-6))

    @property
    def _base(self) -> Floats:
        """Values of the original, which is observed first."""
        if self._original is None:
            raise ValueError("the original must be observed first, but nothing was")
        return self._original

    def _breed(self, expected: Floats) -> None:
        """Renew the pool from the best points and networks known."""
        from moocore import pareto_rank

        corner = self._corner(expected)
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

    def _choose(self, scales: list[Scale], front: Floats, left: float) -> Recipe | None:
        """Return the best completion of the network that is worth most."""
        pool, (networks, completions) = self._pool, self._prices()
        fits = self._fitting(left)
        if not fits.any():
            return None
        view = self._view(scales, np.concatenate([front, self._believed_of_awaited(scales)]))
        screened = np.zeros(len(pool))
        mean, deviation, looked = self._screen(view, screened, fits)
        groups = self._finalists(screened, networks, completions)
        if not groups:
            # Nothing is expected anywhere: look where least is known.
            spread = np.where(fits[looked], deviation.sum(axis=1), -1.0)
            return pool.recipes[int(looked[spread.argmax()])]
        place = np.zeros(len(pool), dtype=np.int64)
        place[looked] = np.arange(len(looked))
        flat = place[np.concatenate(groups)]
        drawn = mean[flat, None] + deviation[flat, None] * self._draws
        gains = np.zeros(len(pool))
        gains[looked[flat]] = view.boxes.gain(view.points(drawn)).mean(axis=1)
        chosen, worth = int(groups[0][0]), 0.0
        for group in groups:
            expected = view.points(mean[place[group]])
            picks = complementary(view.boxes, expected, gains[group], HORIZON)
            spent = networks[group[0]] + sum(completions[group[index]] for index, _ in picks)
            if picks and (rate := sum(gain for _, gain in picks) / spent) > worth:
                first = max(picks, key=lambda pick: pick[1] / completions[group[pick[0]]])
                chosen, worth = int(group[first[0]]), rate
        recipe = pool.recipes[chosen]
        self._trim(screened / (networks / HORIZON + completions))
        return recipe

    def _view(self, scales: list[Scale], front: Floats) -> View:
        """Return the undominated region, every axis from 0 (best seen) to 1 (of no more use)."""
        corner = self._corner(front)
        best = np.minimum(front.min(axis=0), corner - 1e-9)
        unit = corner - best
        boxes = Boxes.around((front - best) / unit, np.ones(len(unit)))
        return View(scales, best, unit, boxes)

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
        features, inputs = self._pool.features, self._pool.inputs
        rough = np.stack([model.expect(features, inputs) for model in self._models], axis=1)
        prior = np.array([model.prior for model in self._models])
        hope = np.where(fits, view.boxes.gain(view.points(rough - ROUGH * prior)), -1.0)
        looked = np.sort(np.argsort(-hope, kind="stable")[:SCREENED])
        found = [model.predict(features[looked], inputs[looked]) for model in self._models]
        mean = np.stack([item[0] for item in found], axis=1)
        deviation = np.stack([item[1] for item in found], axis=1)
        gains = view.boxes.gain(view.points(mean - OPTIMISM * deviation))
        screened[looked] = np.where(fits[looked], gains, 0.0)
        return mean, deviation, looked

    def _trim(self, score: Floats) -> None:
        """Drop the least hopeful from a pool that has outgrown its capacity."""
        if len(score) > CAPACITY:
            score = np.where(self._spare(score), 0.0, score)
            least = np.partition(score, len(score) - KEPT)[len(score) - KEPT]
            self._pool.keep(score >= max(least, np.finfo(float).tiny))

    def _spare(self, score: Floats) -> npt.NDArray[np.bool_]:
        """Say which candidates are one too many of their network."""
        counts: dict[bytes, int] = {}
        spare = np.zeros(len(score), dtype=bool)
        for index in np.argsort(-score, kind="stable").tolist():
            key = self._pool.networks[index]
            counts[key] = counts.get(key, 0) + 1
            spare[index] = counts[key] > ENOUGH
        return spare

    def _finalists(self, screened: Floats, networks: Floats, completions: Floats) -> list[Group]:
        """Return the most hopeful candidates of the most hopeful networks, there and new."""
        members: dict[bytes, list[int]] = {}
        for index in np.argsort(-screened, kind="stable").tolist():
            if screened[index] <= 0:
                break
            members.setdefault(self._pool.networks[index], []).append(index)
        ranked: dict[bool, list[tuple[float, Group]]] = {True: [], False: []}
        for key, indices in members.items():
            group = np.array(indices[:LOOKED_AT])
            few = group[:HORIZON]
            rate = screened[few].sum() / (networks[few[0]] + completions[few].sum())
            ranked[key in self._present].append((float(rate), group))
        best = [sorted(list_, key=lambda item: -item[0])[:FINALISTS] for list_ in ranked.values()]
        self._promising = self._pool.rows[[int(group[0]) for _, group in best[1]]]
        return [group for list_ in best for _, group in list_]
