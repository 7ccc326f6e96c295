"""Which layer of one network plays the part of a layer of another.

A recipe that names layers is carried over by what they are: their kind, how deep they lie, and
what they are called in their block (``query``, ``conv1``, ``fc``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.precision import Weight, quantizable

NAME_WEIGHT = 0.25
"""How far apart in depth two layers may be for a common name to make up for it."""

NAME_REACH = 0.4
"""How far apart in depth two layers of one whole name may be to be taken for the same."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights, as far as its part in the network goes.

    Attributes
    ----------
    name
        Dotted, as ``network.named_modules()`` gives it.
    kind
        ``"linear"``, ``"convolution"`` or ``"recurrent"``.
    """

    name: str
    kind: str


def layers_of(network: Any) -> tuple[Layer, ...]:
    """Return the layers of a network whose weights can be quantized, in its order."""
    return tuple(Layer(name, _kind(weight)) for name, weight in quantizable(network).items())


def _kind(weight: Weight) -> str:
    if weight.recurrent:
        return "recurrent"
    return "linear" if weight.tensor.ndim == 2 else "convolution"


def counterparts(name: str, source: Sequence[Layer], target: Sequence[Layer]) -> tuple[str, ...]:
    """Return the layers of `target` that play the part of a layer or stage of `source`.

    Parameters
    ----------
    name
        Of a layer, or of a stage: the common beginning of several layers' names.
    source, target
        The layers of both networks, in order.

    Returns
    -------
    tuple of str
        The name itself where the target has it and it plays the same part there, or the source
        does not know it; else one layer for a layer, and for a stage all layers at its depths.
        Empty where neither knows the name, or no layer of the target is of its kind.
    """
    places, there = _places(name, source), _places(name, target)
    if there and (not places or _part_is_same(places, source, there, target)):
        return (name,)
    if not places:
        return ()
    kinds = {source[place].kind for place in places}
    if not any(source[place].name == name for place in places):
        low, high = _depth(places[0], source), _depth(places[-1], source)
        return tuple(
            layer.name
            for place, layer in enumerate(target)
            if layer.kind in kinds and low <= _depth(place, target) <= high
        )
    mine = source[places[0]]
    alike = [(place, layer) for place, layer in enumerate(target) if layer.kind == mine.kind]
    # First and last play parts of their own, whatever lies between them.
    ends = {0: 0, len(source) - 1: len(target) - 1}
    if places[0] in ends and (end := ends[places[0]]) in dict(alike):
        return (target[end].name,)

    def distance(item: tuple[int, Layer]) -> float:
        named = _last(item[1].name) == _last(mine.name)
        return abs(_depth(item[0], target) - _depth(places[0], source)) - NAME_WEIGHT * named

    return (min(alike, key=distance)[1].name,) if alike else ()


def _places(name: str, layers: Sequence[Layer]) -> list[int]:
    return [place for place, layer in enumerate(layers) if _within(layer.name, name)]


def _part_is_same(
    places: Sequence[int], source: Sequence[Layer], there: Sequence[int], target: Sequence[Layer]
) -> bool:
    """Say whether layers of one name agree in kind, in being first or last, and about in depth.

    Names of plain sequences are numbers, which say nothing of what a layer does.
    """
    if {source[place].kind for place in places} != {target[place].kind for place in there}:
        return False
    if (0 in places) != (0 in there):
        return False
    if (len(source) - 1 in places) != (len(target) - 1 in there):
        return False
    middle = (_depth(places[0], source) + _depth(places[-1], source)) / 2
    other = (_depth(there[0], target) + _depth(there[-1], target)) / 2
    return abs(middle - other) <= NAME_REACH


def _within(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")


def _depth(place: int, layers: Sequence[Layer]) -> float:
    """Return how deep a layer lies, from 0 for the first to 1 for the last."""
    return place / max(1, len(layers) - 1)


def _last(name: str) -> str:
    """Return what a layer is called in its block, without a number."""
    words = [word for word in name.split(".") if not word.isdigit()]
    return words[-1].rstrip("0123456789") if words else ""
