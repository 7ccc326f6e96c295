"""Structural plans: what was cut out of a network, as data that any process can replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autoopt.errors import ModelError


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
    """Leave out one block: what it takes first is what is given on."""

    module: str


@dataclass(frozen=True)
class Assign:
    """Set a whole number that a module keeps about its own shape, such as its heads."""

    module: str
    attribute: str
    value: int


@dataclass(frozen=True)
class Factor:
    """Replace one linear layer or convolution by two whose product is its best approximation.

    Attributes
    ----------
    module
        Dotted name of the layer.
    rank
        Channels between the two.
    scheme
        ``"channel"``: the whole kernel, then 1 × 1; ``"spatial"``: a column kernel, then a row.
    """

    module: str
    rank: int
    scheme: Literal["channel", "spatial"] = "channel"


@dataclass(frozen=True)
class Tie:
    """Let layers of equal shape share one weight, the mean of theirs; biases stay their own."""

    modules: tuple[str, ...]


Edit = Keep | Drop | Assign | Factor | Tie


def to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Return plain JSON values."""
    return [_plain(edit) for edit in edits]


def from_json(data: Iterable[Mapping[str, Any]]) -> tuple[Edit, ...]:
    """Build edits from what `to_json` gave."""
    return tuple(_edit(item) for item in data)


def _plain(edit: Edit) -> dict[str, Any]:
    match edit:
        case Keep(module, axis, indices):
            return {"keep": module, "axis": axis, "indices": list(indices)}
        case Drop(module):
            return {"drop": module}
        case Assign(module, attribute, value):
            return {"assign": module, "attribute": attribute, "value": value}
        case Factor(module, rank, scheme):
            return {"factor": module, "rank": rank, "scheme": scheme}
        case Tie(modules):
            return {"tie": list(modules)}


def _edit(item: Mapping[str, Any]) -> Edit:
    match item:
        case {"keep": module, "axis": axis, "indices": indices}:
            return Keep(module, axis, tuple(indices))
        case {"drop": module}:
            return Drop(module)
        case {"assign": module, "attribute": attribute, "value": value}:
            return Assign(module, attribute, value)
        case {"factor": module, "rank": rank, "scheme": scheme}:
            return Factor(module, rank, scheme)
        case {"tie": modules}:
            return Tie(tuple(modules))
    raise ModelError(f"A plan holds keep, drop, assign, factor and tie, but got {dict(item)!r}.")
