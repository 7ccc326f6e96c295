"""How the options of one slot are narrowed, fixed and extended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search_spaces.dimensions import Dimension, union
from search_spaces.errors import DimensionError, SpaceError
from search_spaces.menu import Options, Settings, known, require_dimension

__all__ = ["extend", "fix", "narrow", "unite"]


def narrow(slot: str, options: Options, wanted: object) -> Options:
    """Keep the listed options, or the keys of a mapping with their settings narrowed.

    Raises
    ------
    UnknownNameError, DimensionError
        If a name or value is not there.
    SpaceError
        If `wanted` is neither, or empty.
    """
    changes: Mapping[str, object] = {}
    if isinstance(wanted, Mapping):
        changes = wanted
    elif isinstance(wanted, Sequence | set | frozenset) and not isinstance(wanted, str | bytes):
        changes = {known(f"option of slot {slot!r}", name, options): {} for name in wanted}
    if not changes:
        raise SpaceError(
            "narrow takes a non-empty list of options, or a mapping option -> {setting: list of "
            f"values or (low, high)}}; got {slot}={wanted!r}"
        )
    for name in changes:
        known(f"option of slot {slot!r}", name, options)
    return {
        name: _narrow_settings(f"{slot}.{name}", settings, changes[name])
        for name, settings in options.items()
        if name in changes
    }


def fix(slot: str, options: Options, wanted: object) -> Options:
    """Keep one option: a name, or (name, {setting: value}).

    Raises
    ------
    UnknownNameError, DimensionError
        If a name or value is not there.
    SpaceError
        If `wanted` is neither.
    """
    name, values = wanted if isinstance(wanted, tuple) and len(wanted) == 2 else (wanted, {})
    if not isinstance(name, str) or not isinstance(values, Mapping):
        raise SpaceError(
            "fix takes an option's name, or (option, {setting: value}); for several options use "
            f"narrow; got {slot}={wanted!r}"
        )
    return narrow(slot, options, {name: {setting: [value] for setting, value in values.items()}})


def extend(slot: str, options: Options, added: Options) -> Options:
    """Add new options, and values to known ones.

    Raises
    ------
    SpaceError
        If a known option would get new settings, or two ranges do not make one.
    """
    if not isinstance(added, Mapping):
        raise SpaceError(
            f"extend takes a mapping option -> {{setting: dimension}}; got {slot}={added!r}"
        )
    result = dict(options)
    for name, settings in added.items():
        mine = options.get(name)
        result[name] = settings if mine is None else _extend_settings(slot, name, mine, settings)
    return result


def unite(slot: str, options: Options, others: Options) -> Options:
    """Unite the options of two spaces.

    Raises
    ------
    SpaceError
        If an option has other settings in the two, or two ranges do not make one.
    """
    for name in options:
        if name in others and set(options[name]) != set(others[name]):
            raise SpaceError(
                f"an option must have the same settings in both spaces; {slot}.{name} has "
                f"{sorted(options[name])} and {sorted(others[name])}; rename one"
            )
    return extend(slot, options, others)


def _narrow_settings(place: str, settings: Settings, wanted: object) -> Settings:
    if not isinstance(wanted, Mapping):
        raise SpaceError(
            "settings are narrowed with {setting: list of values or (low, high)}; "
            f"got {place}: {wanted!r}"
        )
    result = dict(settings)
    for name, values in wanted.items():
        dimension = settings[known(f"setting of {place}", name, settings)]
        try:
            result[name] = dimension.narrow(values)
        except DimensionError as error:
            raise DimensionError(f"{place}.{name}: {error}") from None
    return result


def _extend_settings(slot: str, option: str, settings: Settings, added: Settings) -> Settings:
    place = f"{slot}.{option}"
    if not isinstance(added, Mapping):
        raise SpaceError(f"an option must map settings to dimensions; {place}: {added!r}")
    result: dict[str, Dimension] = dict(settings)
    for name, dimension in added.items():
        # A new setting would leave the points that exist without a value for it.
        mine = settings[known(f"setting of {place}", name, settings)]
        require_dimension(f"{place}.{name}", dimension)
        try:
            result[name] = union(mine, dimension)
        except DimensionError as error:
            raise DimensionError(f"{place}.{name}: {error}") from None
    return result
