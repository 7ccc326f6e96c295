"""Points of a space as rows of whole numbers, which a search can breed and compare quickly."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from autoopt.recipe import QAT, Recipe
from search_spaces import STAGES, Dimension, SearchSpace

Code = npt.NDArray[np.int16]
"""One row, or a table of rows: the position of the option of each slot and of each setting."""

Floats = npt.NDArray[np.float64]

Choice = tuple[str, str, tuple[tuple[str, Any], ...]]
"""Slot, option and settings, as recipes have them."""

GRID = 17
"""Values that stand for a range with more of them."""

LISTED = 10_000
"""Values of a range that can be listed."""


@dataclass(frozen=True)
class Column:
    """One position of a row.

    Attributes
    ----------
    slot
        Where it belongs.
    option, setting
        The setting whose value it holds; both empty where it holds the option of the slot.
    values
        What can be chosen, in order.
    usual
        Position that stands there while the setting's option is not the chosen one.
    """

    slot: str
    option: str
    setting: str
    values: tuple[Any, ...]
    usual: int = 0

    @cached_property
    def ordered(self) -> bool:
        """Whether neighbouring positions are alike: numbers in ascending or descending order."""
        if not self.setting or any(isinstance(value, bool | str) for value in self.values):
            return False
        return len({a < b for a, b in itertools.pairwise(self.values)}) <= 1

    @cached_property
    def _places(self) -> dict[tuple[type, Any], int]:
        # True is no 1, but 4.0 is 4.
        return {(_kind(value), value): place for place, value in enumerate(self.values)}

    def position(self, value: Any) -> int | None:
        """Return where a value stands, or None where it is not among the values.

        Between the values of a range the nearest one is meant.
        """
        place = self._places.get((_kind(value), value))
        if place is None and self.ordered and _kind(value) is float:
            low, high = sorted((self.values[0], self.values[-1]))
            if low < value < high:
                place = int(np.argmin([abs(known - value) for known in self.values]))
        return place


@dataclass(frozen=True)
class Codes:
    """Translates between recipes and rows of one space.

    Attributes
    ----------
    space
        The joint space. Ranges of more than `GRID` values are searched on a grid of that many.
    """

    space: SearchSpace

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """One column a slot, and one a setting of each of its options."""
        found = []
        for slot, options in self.space.slots.items():
            found.append(Column(slot, "", "", tuple(options)))
            for option, settings in options.items():
                for name, dimension in settings.items():
                    values = _values(dimension)
                    nearest = [value == dimension.usual for value in values]
                    usual = nearest.index(True) if any(nearest) else len(values) // 2
                    found.append(Column(slot, option, name, values, usual))
        return tuple(found)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of values of each column."""
        return np.array([len(column.values) for column in self.columns])

    @cached_property
    def network(self) -> npt.NDArray[np.bool_]:
        """Which columns decide about the network."""
        return np.array([column.slot in STAGES["network"] for column in self.columns])

    @cached_property
    def built(self) -> npt.NDArray[np.bool_]:
        """Which columns decide about the files of the artefact, those of the network included."""
        return np.array([column.slot not in STAGES["deployment"] for column in self.columns])

    @cached_property
    def _owners(self) -> list[tuple[int, int, int]]:
        """Each setting's column, the column of its slot, and the position of its option there."""
        slots = {c.slot: i for i, c in enumerate(self.columns) if not c.setting}
        return [
            (i, slots[c.slot], self.columns[slots[c.slot]].values.index(c.option))
            for i, c in enumerate(self.columns)
            if c.setting
        ]

    def tidy(self, rows: Code) -> Code:
        """Return rows with every setting that does not apply at its usual position."""
        tidied = rows.copy()
        for column, slot, option in self._owners:
            tidied[tidied[:, slot] != option, column] = self.columns[column].usual
        return tidied

    @cached_property
    def _places(self) -> dict[str, slice]:
        """Slot to its columns, which stand side by side."""
        slots = [column.slot for column in self.columns]
        return {
            slot: slice(slots.index(slot), slots.index(slot) + slots.count(slot))
            for slot in self.space.slots
        }

    @cached_property
    def _encoded(self) -> dict[Choice, Code | None]:
        """Choices seen so far to their positions: slots combine freely, so these are few."""
        return {}

    @cached_property
    def _decoded(self) -> dict[tuple[str, bytes], Choice]:
        return {}

    @cached_property
    def _networks(self) -> dict[bytes, Recipe]:
        """Networks decoded so far, by the positions of their columns."""
        return {}

    def encode(self, recipe: Recipe) -> Code | None:
        """Return a recipe's row, or None where the space does not hold it."""
        row = np.empty(len(self.columns), dtype=np.int16)
        for choice in recipe.choices:
            if choice not in self._encoded:
                self._encoded[choice] = self._positions(choice)
            positions = self._encoded[choice]
            if positions is None:
                return None
            if len(positions):
                row[self._places[choice[0]]] = positions
        return row

    def _positions(self, choice: Choice) -> Code | None:
        """Return the positions of a slot's columns, or None where the space lacks the choice."""
        slot, option, settings = choice
        columns = self.columns[self._places[slot]] if slot in self._places else ()
        known, found = dict(settings), [column.usual for column in columns]
        for i, column in enumerate(columns):
            if not column.setting:
                position = column.position(option)
            elif column.option != option:
                continue
            else:
                position = (
                    column.position(known[column.setting]) if column.setting in known else None
                )
            if position is None:
                return None
            found[i] = position
        return np.array(found, dtype=np.int16)

    def decode(self, row: Code) -> Recipe:
        """Return the recipe of a row."""
        key = row[self.network].tobytes()
        if key not in self._networks:
            slots = [slot for slot in self._places if slot in STAGES["network"]]
            self._networks[key] = Recipe.of({slot: self._pick(slot, row) for slot in slots})
        network = self._networks[key]
        if network["recovery"].option == QAT:
            # It decides about the quantization as well.
            return Recipe.of({slot: self._pick(slot, row) for slot in self._places})
        return Recipe(
            tuple(
                choice
                if choice[0] in STAGES["network"] or choice[0] not in self._places
                else self._choice(choice[0], row)
                for choice in network.choices
            )
        )

    def _choice(self, slot: str, row: Code) -> Choice:
        """Return the choice of a slot that no other slot has a say in."""
        key = slot, row[self._places[slot]].tobytes()
        if key not in self._decoded:
            alone = Recipe.of({slot: self._pick(slot, row)})
            self._decoded[key] = next(choice for choice in alone.choices if choice[0] == slot)
        return self._decoded[key]

    def _pick(self, slot: str, row: Code) -> tuple[str, dict[str, Any]]:
        place = self._places[slot]
        columns, positions = self.columns[place], row[place].tolist()
        option = columns[0].values[positions[0]]
        return option, {
            column.setting: column.values[position]
            for column, position in zip(columns[1:], positions[1:], strict=True)
            if column.option == option
        }

    def draw(self, count: int, random: np.random.Generator) -> Code:
        """Return rows drawn evenly."""
        return self.tidy(random.integers(0, self.sizes, (count, len(self.sizes))).astype(np.int16))

    def inputs(self, rows: Code) -> Floats:
        """Return what a model sees: ordered positions from 0 to 1, an indicator an option."""
        parts = []
        for i, column in enumerate(self.columns):
            count = len(column.values)
            if count == 1:
                continue
            if column.ordered:
                parts.append(rows[:, i : i + 1] / (count - 1))
            else:
                # The last indicator follows from the others.
                parts.append((rows[:, i : i + 1] == np.arange(count - 1)).astype(float))
        return np.hstack(parts) if parts else np.zeros((len(rows), 0))


def keys(rows: Code) -> list[bytes]:
    """Return a hashable key of each row."""
    packed = np.ascontiguousarray(rows, dtype=np.int16)
    return [row.tobytes() for row in packed]


def _kind(value: Any) -> type:
    """Return the kind of a value in whose terms equal values mean the same."""
    return type(value) if isinstance(value, bool | str) else float


def _values(dimension: Dimension) -> tuple[Any, ...]:
    """Return the values of a dimension, or a grid over it."""
    if dimension.size <= GRID:
        return tuple(dimension)
    spread = np.geomspace if getattr(dimension, "log", False) else np.linspace
    if dimension.size < LISTED:
        listed = list(dimension)
        places = spread(1, len(listed), GRID).round().astype(int) - 1
        return tuple(listed[place] for place in dict.fromkeys(places.tolist()))
    # Only ranges are that large: continuous, or finer than any measurement resolves.
    low, high = dimension.low, dimension.high  # type: ignore[union-attr]  # no Choice is so long
    step = getattr(dimension, "step", None)
    grid = spread(float(low), float(high), GRID).tolist()
    if step is not None:
        grid = [low + round((value - low) / step) * step for value in grid]
    inside = [min(max(value, low), high) for value in grid]
    return tuple(dict.fromkeys(value for value in inside if dimension.contains(value)))
