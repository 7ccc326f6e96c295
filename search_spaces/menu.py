"""What a menu is: slots in their order, options in a slot, settings of an option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from search_spaces.dimensions import Choice, Dimension, Float, Int
from search_spaces.errors import SpaceError, UnknownNameError
from search_spaces.scalars import Scalar

__all__ = ["NEUTRAL", "SLOTS", "STAGES", "Options", "Point", "Settings", "freeze", "known"]

Settings: TypeAlias = Mapping[str, Dimension]
"""Setting → range."""
Options: TypeAlias = Mapping[str, Settings]
"""Option → settings: what one menu file holds."""
Point: TypeAlias = Mapping[str, tuple[str, Mapping[str, Scalar]]]
"""Slot → (option, setting → value): one candidate."""

STAGES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "network": ("student", "pruning", "factorization", "recovery"),
        "artifact": ("quantization", "runtime"),
        "deployment": ("parallel",),
    }
)
"""Stage → its slots; a stage is what a change of its slots makes anew."""

SLOTS: Final[tuple[str, ...]] = tuple(slot for slots in STAGES.values() for slot in slots)
"""All slots, in the order in which they are applied."""

NEUTRAL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "student": "none",
        "pruning": "none",
        "factorization": "none",
        "recovery": "none",
        "quantization": "float32",
        "runtime": "eager",
        "parallel": "default",
    }
)
"""Slot → the option that changes nothing: the original model as it runs in PyTorch."""

_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)


def known(kind: str, name: object, names: Mapping[str, object]) -> str:
    """Give `name` if it is one of `names`, else raise UnknownNameError, which lists them."""
    if not isinstance(name, str) or name not in names:
        raise UnknownNameError(kind, name, names)
    return name


def freeze(slots: Mapping[str, Options]) -> Mapping[str, Options]:
    """Check a whole menu and give a read-only copy with its slots in canonical order.

    Raises
    ------
    SpaceError
        If a slot is missing or empty, a name is malformed, or a range is no dimension.
    """
    _require_mapping("a space must map slots to options", slots)
    for slot in slots:
        known("slot", slot, NEUTRAL)
    missing = [slot for slot in SLOTS if slot not in slots]
    if missing:
        raise SpaceError(
            f"every slot must be present; missing {', '.join(missing)}; an option that changes "
            f'nothing is enough, such as {missing[0]}={{"{NEUTRAL[missing[0]]}": {{}}}}'
        )
    return MappingProxyType({slot: _freeze_options(slot, slots[slot]) for slot in SLOTS})


def _freeze_options(slot: str, options: Options) -> Options:
    _require_mapping(f"a slot must map options to their settings; {slot}", options)
    if not options:
        raise SpaceError(f"a slot must have at least one option; {slot} has none")
    for name in options:
        if not _is_text(name) or not _OPTION.fullmatch(name):
            raise SpaceError(
                "an option's name must start with a letter and hold letters, digits, '_', '-' "
                f"and '.'; got {name!r} in slot {slot!r}"
            )
    return MappingProxyType(
        {name: _freeze_settings(f"{slot}.{name}", options[name]) for name in options}
    )


def _freeze_settings(place: str, settings: Settings) -> Settings:
    _require_mapping(f"an option must map settings to dimensions; {place}", settings)
    for name, dimension in settings.items():
        if not _is_text(name) or not name.isidentifier():
            raise SpaceError(f"a setting's name must be an identifier; got {name!r} in {place}")
        require_dimension(f"{place}.{name}", dimension)
    return MappingProxyType(dict(settings))


def require_dimension(place: str, dimension: object) -> None:
    """Raise SpaceError unless `dimension` is one."""
    if not isinstance(dimension, Choice | Int | Float):
        raise SpaceError(f"a setting's range must be Choice, Int or Float; {place}: {dimension!r}")


def _require_mapping(rule: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise SpaceError(f"{rule}; got {value!r}")


def _is_text(name: object) -> bool:
    return isinstance(name, str)
