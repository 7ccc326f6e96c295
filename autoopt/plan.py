"""Structural plans: what was cut out of a network, as data that any process can replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Keep:
    """Keep only some channels of one module.

    Attributes
    ----------
    module
        Dotted name of the module in the original model.
    axis
        ``"out"``: what the module gives; ``"in"``: what it takes.
    indices
        Sorted indices kept, counted in the module as it is when this edit is replayed.
    """

    module: str
    axis: Literal["out", "in"]
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Drop:
    """Replace one shape-preserving module by the identity."""

    module: str


Edit = Keep | Drop


def to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Return plain JSON values."""
    return [
        {"keep": edit.module, "axis": edit.axis, "indices": list(edit.indices)}
        if isinstance(edit, Keep)
        else {"drop": edit.module}
        for edit in edits
    ]


def from_json(data: Iterable[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Build edits from what `to_json` gave."""
    return tuple(
        Drop(item["drop"])
        if "drop" in item
        else Keep(item["keep"], item["axis"], tuple(item["indices"]))
        for item in data
    )
