"""The joint space: every combination of one option a slot and its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from random import Random
from typing import Any, final

from search_spaces import reshape, table, yaml_format
from search_spaces.dimensions import Dimension, Scalar
from search_spaces.errors import PointError, SpaceError, UnknownNameError
from search_spaces.menu import NEUTRAL, SLOTS, STAGES, Options, Point, freeze, known

__all__ = ["NEUTRAL", "SLOTS", "STAGES", "Point", "SearchSpace"]


@final
@dataclass(frozen=True, repr=False)
class SearchSpace:
    """All candidates of a search; every operation gives a new space.

    Parameters
    ----------
    slots : mapping
        Slot → option → setting → dimension. Every one of `SLOTS` with at least one option.

    Examples
    --------
    >>> space = balanced().narrow(quantization=["static_int8"]).fix(student="none")
    >>> space = space.extend(pruning={"mine": {"ratio": Choice([0.5, 0.9])}})
    """

    slots: Mapping[str, Options]

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", freeze(self.slots))

    def narrow(self, **slots: object) -> SearchSpace:
        """Keep only what is named; slots that are not named stay as they are.

        Parameters
        ----------
        **slots
            A list of options, or a mapping option → {setting: list of values or (low, high)};
            settings that are not named keep their ranges.

        Raises
        ------
        UnknownNameError, DimensionError
            If a name or value is not in the space, or nothing is left.
        """
        return self._with({s: reshape.narrow(s, self._options(s), w) for s, w in slots.items()})

    def fix(self, **slots: object) -> SearchSpace:
        """Settle slots on one option: its name, or (option, {setting: value}).

        Settings that are not named keep their ranges.

        Raises
        ------
        UnknownNameError, DimensionError
            If a name or value is not in the space.
        """
        return self._with({s: reshape.fix(s, self._options(s), w) for s, w in slots.items()})

    def extend(self, *others: SearchSpace, **slots: Options) -> SearchSpace:
        """Add options and values; no point is lost and the usual settings stay.

        Parameters
        ----------
        *others : SearchSpace
            Whole spaces to unite with.
        **slots
            Option → {setting: dimension}: a new option, or more values for a known one.

        Raises
        ------
        SpaceError
            If a known option would get other settings, or two ranges do not make one.
        """
        space = self
        for other in others:
            both = {s: reshape.unite(s, space.slots[s], other.slots[s]) for s in SLOTS}
            space = SearchSpace(both)
        added = {s: reshape.extend(s, space._options(s), more) for s, more in slots.items()}
        return space._with(added)

    def __or__(self, other: SearchSpace) -> SearchSpace:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.extend(other)

    @property
    def size(self) -> int | float:
        """Number of points, exact; ``math.inf`` with a continuous setting."""
        return _product([sum(map(_points, options.values())) for options in self.slots.values()])

    def points(self) -> Iterator[Point]:
        """Go through all points, the last slot changing fastest.

        Raises
        ------
        SpaceError
            If a setting is continuous.
        """
        if self.size == math.inf:
            raise SpaceError("only a finite space lists its points; give every Float a step")
        return self._points(SLOTS)

    def contains(self, point: object) -> bool:
        """Tell whether `point` lies in the space."""
        try:
            self.check(point)
        except SpaceError:
            return False
        return True

    def check(self, point: object) -> None:
        """Raise unless `point` lies in the space.

        Raises
        ------
        PointError, UnknownNameError
            What is wrong with the point, and what the space knows.
        """
        if not isinstance(point, Mapping):
            raise PointError(f"a point must map every slot to (option, settings); got {point!r}")
        for slot in point:
            known("slot", slot, self.slots)
        for slot in SLOTS:
            if slot not in point:
                raise PointError(f"a point must name every slot; {slot!r} is missing in {point!r}")
            self._check_choice(slot, point[slot])

    def usual(self, slot: str, option: str) -> dict[str, Scalar]:
        """Give the usual setting of every dimension of an option.

        Raises
        ------
        UnknownNameError
            If the slot or option is not in the space.
        """
        settings = self._settings(slot, option)
        return {name: dimension.usual for name, dimension in settings.items()}

    def sample(self, random: Random) -> Point:
        """Draw a point: an option a slot, all equally likely, then its settings."""
        point: dict[str, tuple[str, Mapping[str, Scalar]]] = {}
        for slot, options in self.slots.items():
            option = random.choice(list(options))
            settings = options[option].items()
            point[slot] = option, {name: dimension.sample(random) for name, dimension in settings}
        return point

    def describe(self) -> str:
        """Give the space as a table of slot, option, setting, range and number of points."""
        return table.as_text(self.slots, self.size)

    def to_dict(self) -> dict[str, Any]:
        """Give the space as plain dicts, lists and scalars, fit for JSON."""
        return yaml_format.as_dict(self.slots)

    @classmethod
    def from_dict(cls, plain_dict: object) -> SearchSpace:
        """Read what `to_dict` gave.

        Raises
        ------
        SpaceFileError
            If it holds no search space, or one of an unknown version.
        """
        return yaml_format.guarded(lambda: cls(yaml_format.slots_from(plain_dict)))

    def to_yaml(self, path: str | PathLike[str] | None = None) -> str:
        """Give the space as YAML and, with `path`, write it there."""
        return yaml_format.write(self.to_dict(), path)

    @classmethod
    def from_yaml(cls, path_or_text: str | PathLike[str]) -> SearchSpace:
        """Read a YAML file, or YAML text (a string of several lines, or one in braces).

        Raises
        ------
        SpaceFileError
            If it is not there, no YAML, no search space, or of an unknown version.
        """
        return cls.from_dict(yaml_format.read(path_or_text))

    def __hash__(self) -> int:
        return hash(
            tuple(
                frozenset((name, frozenset(settings.items())) for name, settings in options.items())
                for options in self.slots.values()
            )
        )

    def __reduce__(self) -> tuple[type[SearchSpace], tuple[dict[str, Any]]]:
        # Read-only mappings do not pickle; a space travels to other processes as plain dicts.
        plain_slots = {
            slot: {name: dict(settings) for name, settings in options.items()}
            for slot, options in self.slots.items()
        }
        return SearchSpace, (plain_slots,)

    def __repr__(self) -> str:
        options = ", ".join(f"{slot} {len(options)}" for slot, options in self.slots.items())
        return f"<SearchSpace of {table.count(self.size)}; options: {options}>"

    def _repr_html_(self) -> str:
        return table.as_html(self.slots, self.size)

    def _options(self, slot: str) -> Options:
        return self.slots[known("slot", slot, self.slots)]

    def _settings(self, slot: str, option: str) -> Mapping[str, Dimension]:
        options = self._options(slot)
        return options[known(f"option of slot {slot!r}", option, options)]

    def _with(self, changed: Mapping[str, Options]) -> SearchSpace:
        return SearchSpace({**self.slots, **changed})

    def _points(self, slots: tuple[str, ...]) -> Iterator[Point]:
        if not slots:
            yield {}
            return
        for option, settings in self.slots[slots[0]].items():
            for values in _combinations(tuple(settings.items())):
                for rest in self._points(slots[1:]):
                    yield {slots[0]: (option, dict(values)), **rest}

    def _check_choice(self, slot: str, choice: object) -> None:
        if not isinstance(choice, tuple | list) or len(choice) != 2:
            raise PointError(f"a slot must hold (option, settings); {slot}: {choice!r}")
        option, values = choice
        settings = self._settings(slot, option)
        place = f"{slot}.{option}"
        if not isinstance(values, Mapping):
            raise PointError(f"settings must be a mapping; {place}: {values!r}")
        for name in values:
            if name not in settings:
                raise UnknownNameError(f"setting of {place}", name, settings)
        for name, dimension in settings.items():
            if name not in values:
                raise PointError(f"a point must give every setting; {place}.{name} is missing")
            if not dimension.contains(values[name]):
                raise PointError(
                    f"a value must lie in its range; {place}.{name}: "
                    f"{values[name]!r} is not in {dimension!r}"
                )


def _points(settings: Mapping[str, Dimension]) -> int | float:
    return _product([dimension.size for dimension in settings.values()])


def _product(sizes: list[int | float]) -> int | float:
    # Not math.prod alone: a large integer times inf overflows.
    return math.inf if math.inf in sizes else math.prod(sizes)


def _combinations(settings: tuple[tuple[str, Dimension], ...]) -> Iterator[dict[str, Scalar]]:
    # Lazy, unlike itertools.product, which would first list a range of a billion integers.
    if not settings:
        yield {}
        return
    (name, dimension), rest = settings[0], settings[1:]
    for value in dimension:
        for others in _combinations(rest):
            yield {name: value, **others}
