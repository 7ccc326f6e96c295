"""What always runs first: the original everywhere, and each technique alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from autoopt.recipe import STRUCTURAL_SLOTS, Recipe
from autoopt.record import Record
from search_spaces import NEUTRAL, SearchSpace

CONTENDERS = 2
"""Runtimes in which a single technique is tried: the fastest on the original, and the next."""

RECOVERIES = ("distill", "finetune", "recalibrate")
"""How the field recovers what was cut out, best first."""

SLOW_TO_BUILD = ("compiled", "aotinductor")

Refused = Callable[[Recipe], bool]


def original() -> Recipe:
    """Return the model as it came: eager, float32."""
    return Recipe.of({})


def original_elsewhere(space: SearchSpace, refused: Refused) -> Iterator[Recipe]:
    """Yield the original in float32 in every other runtime, those that start slowly last."""
    runtimes = sorted(space.slots["runtime"], key=lambda name: name in SLOW_TO_BUILD)
    for runtime in runtimes:
        recipe = original().replaced(runtime=(runtime, {}))
        if runtime != NEUTRAL["runtime"] and not refused(recipe):
            yield recipe


def uniform(space: SearchSpace, refused: Refused, records: Iterable[Record]) -> Iterator[Recipe]:
    """Yield each technique alone at its usual setting in every runtime that may be its fastest.

    Precision is float32 unless it is the technique.
    """
    near = fast_runtimes(records)
    for slot in ("quantization", "parallel", "student", "pruning", "factorization"):
        for option in space.slots[slot]:
            usual = space.usual(slot, option)
            if option == NEUTRAL[slot] or usual.get("replicas") == 1:  # one core: the default
                continue
            choice: dict[str, Any] = {slot: (option, usual)}
            if slot in STRUCTURAL_SLOTS:
                choice |= _recovery(space)
            recipes = [
                recipe
                for runtime in space.slots["runtime"]
                if not refused(recipe := original().replaced(**choice, runtime=(runtime, {})))
            ]
            preferred = [r for r in recipes if r["runtime"].option in near]
            yield from preferred or recipes


def fast_runtimes(records: Iterable[Record]) -> list[str]:
    """Return the runtimes that run the original fastest, the fastest first."""
    times = {
        record.recipe["runtime"].option: stat.value
        for record in records
        if record.role in ("original", "baseline") and (stat := record.stat("latency"))
    }
    return sorted(times, key=times.__getitem__)[:CONTENDERS]


def _recovery(space: SearchSpace) -> Mapping[str, Any]:
    """Return the best recovery that the space offers, at its usual setting."""
    for option in RECOVERIES:
        if option in space.slots["recovery"]:
            return {"recovery": (option, space.usual("recovery", option))}
    return {}
