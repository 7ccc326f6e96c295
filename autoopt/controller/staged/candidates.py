"""The pool of candidates that a search keeps, improves and chooses from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autoopt.controller.staged.codes import Code, Codes, Floats, keys
from autoopt.controller.staged.points import Points
from autoopt.recipe import Recipe

CAPACITY = 1200
"""Candidates that the pool holds; a space of no more points is listed whole."""

FRESH_NETWORKS, FRESH_COMPLETIONS = 48, 2
"""New networks bred a round, and the completions that each is given."""

REVISITED, REVISITED_COMPLETIONS = 6, 10
"""Networks that are there and get further completions a round."""

PROMISING, PROMISING_COMPLETIONS = 8, 4
"""The same for new networks that promised most in the last round."""

DRAWN = 0.25
"""Share of what is bred that is drawn anew, so that no region is out of reach."""

Features = Callable[[Recipe], Mapping[str, float]]


@dataclass(frozen=True)
class Kitchen:
    """What a search knows of its candidates beside their points.

    Attributes
    ----------
    codes
        Translates between recipes and rows.
    features
        What is computed of a recipe without building it; always the same names.
    network_seconds, artifact_seconds, deployment_seconds
        What each stage is predicted to take where it has to be done.
    refused
        Says whether a recipe is known not to run.
    same
        Brings recipes that do the same to one form.
    opening
        Says whether a recipe may be among those far from one another that come first: one whose
        network stands for others of its shape.
    """

    codes: Codes
    features: Features
    network_seconds: Callable[[Recipe], float]
    artifact_seconds: Callable[[Recipe], float]
    deployment_seconds: Callable[[Recipe], float]
    refused: Callable[[Recipe], bool] = lambda recipe: False
    same: Callable[[Recipe], Recipe] = lambda recipe: recipe
    opening: Callable[[Recipe], bool] = lambda recipe: True


@dataclass
class Candidates:
    """Recipes that may be next, with all that a model needs of each.

    Attributes
    ----------
    kitchen
        What is known of recipes.
    random
        Where children come from.
    rows
        One a candidate.
    points
        The same as models see them.
    recipes, networks, artifacts
        The recipe of each, and the keys of its network and its artefact.
    seconds
        What each stage of each is predicted to take if it has to be done, a column a stage.
    """

    kitchen: Kitchen
    random: np.random.Generator
    rows: Code = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int16))
    points: Points = field(
        default_factory=lambda: Points(np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0, np.int64))
    )
    recipes: list[Recipe] = field(default_factory=list)
    networks: list[bytes] = field(default_factory=list)
    artifacts: list[bytes] = field(default_factory=list)
    seconds: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    _known: set[bytes] = field(default_factory=set)
    _barred: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.recipes)

    def ban(self, row: Code) -> None:
        """Never hold a point again: it was measured, or it failed."""
        (key,) = keys(row[None])
        if key in self._known:
            self.keep(np.array([k != key for k in keys(self.rows)], dtype=bool))
        self._known.add(key)

    def ban_network(self, key: bytes) -> None:
        """Never hold a candidate of a network again: it cannot be made."""
        self._barred.add(key)
        self.keep(np.array([other != key for other in self.networks], dtype=bool))

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Drop the candidates that the mask leaves out; they may come back."""
        if mask.all() or not len(self):
            return
        self._known.difference_update(keys(self.rows[~mask]))
        for name in ("rows", "points", "seconds"):
            setattr(self, name, getattr(self, name)[mask])
        for name in ("recipes", "networks", "artifacts"):
            setattr(self, name, list(itertools.compress(getattr(self, name), mask)))

    def add(self, rows: Code) -> None:
        """Take in those that are new, can run, and lie in the space in their one form."""
        codes, found, recipes = self.kitchen.codes, [], []
        for row, key in zip(rows, keys(rows), strict=True):
            if key in self._known:
                continue
            recipe = self.kitchen.same(codes.decode(row))
            tidy = codes.encode(recipe)
            if tidy is None:
                continue
            (key,), (network,) = keys(tidy[None]), keys(tidy[None, codes.network])
            if key in self._known or network in self._barred:
                continue
            if not self.kitchen.refused(recipe):
                self._known.add(key)
                found.append(tidy)
                recipes.append(recipe)
        if found:
            self._append(np.array(found), recipes)

    def describe(self, rows: Code, recipes: Sequence[Recipe]) -> Points:
        """Return rows of recipes as models see them."""
        codes = self.kitchen.codes
        known = np.array([list(self.kitchen.features(recipe).values()) for recipe in recipes])
        networks = np.array([hash(key) for key in keys(rows[:, codes.network])], dtype=np.int64)
        return Points(known.reshape(len(rows), -1), codes.inputs(rows), networks)

    def _append(self, rows: Code, recipes: list[Recipe]) -> None:
        points = self.describe(rows, recipes)
        self.points = Points.joined([self.points, points]) if len(self) else points
        self.rows = np.concatenate([self.rows, rows]) if len(self) else rows
        self.seconds = np.concatenate([self.seconds, self._prices(recipes)])
        self.recipes += recipes
        self.networks += keys(rows[:, self.kitchen.codes.network])
        self.artifacts += keys(rows[:, self.kitchen.codes.built])

    def reprice(self) -> None:
        """Ask again what everything is predicted to take."""
        self.seconds = self._prices(self.recipes)

    def _prices(self, recipes: Sequence[Recipe]) -> Floats:
        kitchen = self.kitchen
        stages = (kitchen.network_seconds, kitchen.artifact_seconds, kitchen.deployment_seconds)
        found = [[stage(recipe) for stage in stages] for recipe in recipes]
        return np.array(found, dtype=float).reshape(-1, len(stages))

    def refresh(self, parents: Code, present: Code, promising: Code) -> None:
        """Breed more candidates.

        Parameters
        ----------
        parents
            Rows worth breeding from, the best first.
        present
            One row of each network that is there, those worth most first.
        promising
            One row of each network that may be made next.
        """
        codes = self.kitchen.codes
        if codes.space.size <= CAPACITY:
            if not len(self):
                self.add(_every(codes))
            return
        if len(parents):
            self.add(self._children(parents))
        else:
            self.add(codes.draw(FRESH_NETWORKS * FRESH_COMPLETIONS, self.random))
        if len(present):
            order = self.random.geometric(min(0.5, 6 / (len(present) + 1)), REVISITED) - 1
            chosen = present[np.minimum(order, len(present) - 1)]
            self.add(self._completions(parents, chosen, REVISITED_COMPLETIONS))
        if len(promising):
            self.add(self._completions(parents, promising, PROMISING_COMPLETIONS))

    def _children(self, parents: Code) -> Code:
        """Return new networks with some completions each."""
        codes = self.kitchen.codes
        networks = self._bred(parents, FRESH_NETWORKS)
        rows = np.repeat(networks, FRESH_COMPLETIONS, axis=0)
        completions = self._bred(parents, len(rows))
        return codes.tidy(np.where(codes.network, rows, completions))

    def _completions(self, parents: Code, networks: Code, count: int) -> Code:
        """Return so many further completions of each network."""
        codes = self.kitchen.codes
        rows = np.repeat(networks, count, axis=0)
        completions = self._bred(parents if len(parents) else rows, len(rows))
        return codes.tidy(np.where(codes.network, rows, completions))

    def _bred(self, parents: Code, count: int) -> Code:
        """Return children: each column from either parent, some a step further, some drawn."""
        codes, random = self.kitchen.codes, self.random
        first = parents[self._favoured(len(parents), count)]
        second = parents[self._favoured(len(parents), count)]
        children = np.where(random.random((count, first.shape[1])) < 0.5, first, second)
        moved = random.random(children.shape) < 1.5 / children.shape[1]
        steps = random.choice(np.array([-2, -1, 1, 2], dtype=np.int16), children.shape)
        ordered = np.array([column.ordered for column in codes.columns])
        drawn = codes.draw(count, random)
        stepped = np.clip(children + steps, 0, codes.sizes - 1)
        children = np.where(moved, np.where(ordered, stepped, drawn), children)
        anew = random.random(count) < DRAWN
        bred: Code = np.where(anew[:, None], drawn, children).astype(np.int16)
        return codes.tidy(bred)

    def _favoured(self, available: int, count: int) -> npt.NDArray[np.int64]:
        """Return positions, the first ones more often."""
        return np.asarray((available * self.random.random(count) ** 1.5).astype(np.int64))


def _every(codes: Codes) -> Code:
    """Return every point of a small space as a row."""
    rows = [codes.encode(Recipe.of(point)) for point in codes.space.points()]
    return np.array([row for row in rows if row is not None])
