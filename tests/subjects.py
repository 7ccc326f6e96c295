"""What the matrix checks: every technique with usual settings, and with some unusual ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.techniques import TECHNIQUES, load_technique
from search_spaces import NEUTRAL, thorough

SLOTS = ("student", "pruning", "factorization", "recovery", "quantization")
SHORTEST = {"epochs", "rounds"}
"""Settings that are 1 here: how long something is trained."""

AS_USUAL = {"soft_threshold"}
"""Techniques whose training is the technique: made shorter it is another one."""

FIRST_SPARED = "first=0"
"""Stands for `layers` that name a network's first layer and take nothing from it."""

IN_STEPS = {"schedule": "iterative", "epochs": 2}
"""A single step would be the other schedule."""

VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "channels": (
        {"layers": FIRST_SPARED},
        {"importance": "taylor"},
        {"importance": "stability"},
        {"allocation": "sensitivity"},
        IN_STEPS,
    ),
    "heads": ({"importance": "taylor"}, {"allocation": "sensitivity"}),
    "feed_forward": ({"importance": "stability"}, IN_STEPS),
    "recurrent": ({"importance": "taylor"}, IN_STEPS),
    "sparse": (
        {"layers": FIRST_SPARED},
        {"importance": "taylor"},
        {"allocation": "sensitivity"},
        IN_STEPS,
    ),
    "regrow": ({"back": 1.0},),
    "svd": ({"scheme": "spatial"},),
    "static_int8": ({"granularity": "per_tensor"},),
    "calibrated_int8": ({"sensitive": 0.25},),
    "dynamic_int8": ({"granularity": "per_group"},),
    "weight_only": ({"granularity": "per_tensor"},),
    "qat": ({"bits": 8},),
    "blocks": ({"importance": "similarity"},),
    "mixed": ({"bits": 2},),
    "fp8": ({"mode": "weight_only"},),
    "packed": ({"bits": 2, "scheme": "affine"},),
}
"""Settings, besides the usual ones, that take another way through a technique."""


@dataclass(frozen=True)
class Subject:
    """A technique with settings.

    Attributes
    ----------
    slot, option
        Where it stands in the table.
    settings
        Usual ones, with the shortest training.
    name
        The option, and in brackets what is unusual.
    """

    slot: str
    option: str
    settings: dict[str, Any]
    name: str


def subjects() -> Iterator[Subject]:
    """Yield every technique of the table."""
    menu = thorough(2).slots
    for slot in SLOTS:
        for option in TECHNIQUES[slot]:
            if option == NEUTRAL[slot]:
                continue
            dimensions = menu[slot].get(option, {})
            usual = {name: dimension.usual for name, dimension in dimensions.items()}
            cls = load_technique(slot, option)
            fields = {field.name for field in dataclasses.fields(cls)}
            short = set() if option in AS_USUAL else SHORTEST & fields
            settings: dict[str, Any] = {**usual, **dict.fromkeys(short, 1)}
            yield Subject(slot, option, settings, option)
            for variant in VARIANTS.get(option, ()):
                words = ", ".join(f"{name}={value}" for name, value in variant.items())
                yield Subject(slot, option, {**settings, **variant}, f"{option}[{words}]")
