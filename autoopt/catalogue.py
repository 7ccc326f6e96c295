"""What can be searched: slots, options, settings and their ranges, each with a line of words.

The words are the first line of the class's docstring, read from its source: a listing imports none
of the libraries that techniques need.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autoopt.runtimes import RUNTIMES
from autoopt.techniques import TECHNIQUES
from search_spaces import PRESETS, QUANTIZATION, SLOTS, Choice, Dimension, preset, thorough

ALL_CORES = 64
"""For a listing that does not depend on the machine: no range is capped."""


@dataclass(frozen=True)
class Entry:
    """One option of one slot.

    Attributes
    ----------
    slot, option
        Where it stands.
    summary
        What it does, in a line.
    settings
        Setting to range; empty where it has none, or is not on the menu.
    presets
        Names of the presets that offer it.
    """

    slot: str
    option: str
    summary: str
    settings: Mapping[str, Dimension]
    presets: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "slot": self.slot,
            "option": self.option,
            "summary": self.summary,
            "settings": {name: found.to_dict() for name, found in self.settings.items()},
            "presets": list(self.presets),
        }


def entries() -> Iterator[Entry]:
    """Yield everything that the tables know, in the order of the slots."""
    tables = {**TECHNIQUES, "runtime": RUNTIMES}
    menu = dict(thorough(ALL_CORES).slots)
    # What is written by hand is on the menu, but in no preset.
    menu["quantization"] = {**QUANTIZATION, **menu["quantization"]}
    spaces = {name: preset(name, ALL_CORES) for name in PRESETS}
    for slot in SLOTS:
        package = "autoopt.runtimes" if slot == "runtime" else "autoopt.techniques"
        for option, place in tables[slot].items():
            yield Entry(
                slot,
                option,
                _summary(package, place),
                menu[slot].get(option, {}),
                tuple(name for name, space in spaces.items() if option in space.slots[slot]),
            )


def as_text(listed: Iterator[Entry]) -> str:
    """Return the entries as lines: option and words, then a line for each setting."""
    lines: list[str] = []
    slot = ""
    for entry in listed:
        if entry.slot != slot:
            slot = entry.slot
            lines += ["", slot] if lines else [slot]
        lines.append(f"  {entry.option:<18} {entry.summary}")
        lines += [f"    {name:<16} {_range(found)}" for name, found in entry.settings.items()]
    return "\n".join(lines)


def _range(dimension: Dimension) -> str:
    usual = f"(usually {_shown(dimension.usual)})"
    if isinstance(dimension, Choice):
        return f"{', '.join(map(_shown, dimension.values_list()))} {usual}"
    step = f" in steps of {dimension.step}" if dimension.step is not None else ""
    return f"{dimension.low} to {dimension.high}{step} {usual}"


def _shown(value: object) -> str:
    """Return a value as it is read, and an empty text as one that is there."""
    return str(value) if value != "" else repr(value)


def _summary(package: str, place: str) -> str:
    """Return the first line of the docstring of ``module:Class``."""
    module, _, name = place.partition(":")
    for node in _parsed(f"{package}.{module}").body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(f"{package}.{module} must define the class {name!r}, but does not")


@cache
def _parsed(module: str) -> ast.Module:
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    return ast.parse(Path(found.origin).read_text(encoding="utf-8"))
