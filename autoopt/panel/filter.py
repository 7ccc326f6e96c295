"""The filter that chart, coordinates, table and Python share: what it may hold, who passes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from autoopt.panel.messages import Level, Row

_KEYS: Final = ("bounds", "choices", "front", "text")


class Filter(TypedDict):
    """What a trial must be like to be shown.

    ``bounds`` maps an objective to the least and the most that is wanted (None: no bound),
    ``choices`` a slot or ``slot.setting`` to the values that may be (None: absent), ``front``
    leaves what is not dominated, ``text`` must stand in the summary.
    """

    bounds: dict[str, list[float | None]]
    choices: dict[str, list[Level | None]]
    front: bool
    text: str


def parse_filter(given: object) -> Filter:
    """Check a filter and fill what is missing.

    Parameters
    ----------
    given
        A mapping with some of the keys of `Filter`.

    Returns
    -------
    Filter
        With all keys; bounds that bound nothing are left out.

    Raises
    ------
    ValueError
        If a key is unknown or a value has another shape; the message says which.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"a filter must be a mapping with {', '.join(_KEYS)}, but got {given!r}")
    if unknown := [key for key in given if key not in _KEYS]:
        raise ValueError(f"unknown key {unknown[0]!r} in a filter; known: {', '.join(_KEYS)}")
    bounds = {str(name): _bound(name, pair) for name, pair in _mapping(given, "bounds").items()}
    choices = {
        str(name): _levels(name, wanted) for name, wanted in _mapping(given, "choices").items()
    }
    front, text = given.get("front", False), given.get("text", "")
    if not isinstance(front, bool):
        raise ValueError(f"`front` of a filter must be True or False, but got {front!r}")
    if not isinstance(text, str):
        raise ValueError(f"`text` of a filter must be a string, but got {text!r}")
    kept = {name: pair for name, pair in bounds.items() if pair != [None, None]}
    return {"bounds": kept, "choices": choices, "front": front, "text": text}


def passes(row: Row, wanted: Filter) -> bool:
    """Say whether a measured trial keeps bounds, choices and text; ``front`` needs them all."""
    if row["state"] == "failed":
        return False
    for name, (low, high) in wanted["bounds"].items():
        value = next(iter(row["values"].get(name, ())), None)
        if value is None or not math.isfinite(value):
            return False
        if (low is not None and value < low) or (high is not None and value > high):
            return False
    if any(row["choices"].get(name) not in among for name, among in wanted["choices"].items()):
        return False
    return wanted["text"].lower() in f"#{row['number']} {row['summary']}".lower()


def _mapping(given: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = given.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` of a filter must be a mapping, but got {value!r}")
    return value


def _bound(name: object, pair: object) -> list[float | None]:
    if isinstance(pair, Sequence) and len(pair) == 2 and all(map(_is_bound, pair)):
        return [None if end is None else float(end) for end in pair]
    raise ValueError(
        f"a bound in a filter must be [low, high], each a finite number or None, "
        f"but {name!r} has {pair!r}"
    )


def _is_bound(end: object) -> bool:
    if end is None:
        return True
    return isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)


def _levels(name: object, wanted: object) -> list[Level | None]:
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return list(wanted)
    raise ValueError(
        f"the choices of a filter must be a list of values, but {name!r} has {wanted!r}"
    )
