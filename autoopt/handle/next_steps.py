"""What would probably help a search next, from what its log says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoopt.handle.advice import recommended
from autoopt.history import History
from search_spaces import PRESETS, Choice, Dimension, preset

GROWING = 0.02
"""Share of the hypervolume that the last quarter of the trials must have brought to go on."""

CUTTING = ("student", "pruning", "factorization", "quantization")
"""Slots whose settings are worth widening when the pick is at their end."""


def next_steps(history: History, failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return advice in sentences.

    Parameters
    ----------
    history
        Of an opened search.
    failed
        One row a cause: ``count``, ``kind``, ``stage``.
    """
    return [
        *_longer(history),
        *_edges(history),
        *_wider(history),
        *_surer(history),
        *_mended(failed),
    ]


def _longer(history: History) -> list[str]:
    """Say whether the front still grew at the end."""
    records, front = history.records, history.front
    if len(front.measured) < 8:
        return ["Search longer: hardly anything was measured."]
    stats = [[record.stat(axis.name) for record in front.measured] for axis in front.axes]
    corner = [
        axis.sign * max(axis.sign * stat.value for stat in known if stat)
        for axis, known in zip(front.axes, stats, strict=True)
    ]
    before = replace(front, records=records[: 3 * len(records) // 4]).hypervolume(corner)
    after = front.hypervolume(corner)
    if after > 0 and (after - before) / after > GROWING:
        share = (after - before) / after
        grown = f"the last quarter of the trials still brought {share:.0%} of the hypervolume"
        return [f"Search longer: {grown} (autoopt.resume with more budget)."]
    return []


def _edges(history: History) -> list[str]:
    """Say which settings of the recommended strategy lie at the end of their range."""
    best = recommended(history)
    if best is None or history.settings is None:
        return []
    return [
        f"Widen {slot} {option}: the pick has {name} {value:g}, the end of its range "
        "(space.extend)."
        for slot, option, settings in best.recipe.choices
        for name, value in settings
        if slot in CUTTING
        and (dimension := history.settings.space.slots[slot].get(option, {}).get(name)) is not None
        and _at_end(value, dimension)
    ]


def _at_end(value: object, dimension: Dimension) -> bool:
    """Say whether a number lies at the end of a range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or dimension.size == 1:
        return False
    if not isinstance(dimension, Choice):
        return value in (dimension.low, dimension.high)
    known = [v for v in dimension if isinstance(v, int | float) and not isinstance(v, bool)]
    return value in (min(known), max(known)) if known else False


def _wider(history: History) -> list[str]:
    """Say which slots could not vary although there is more on the menu."""
    if history.settings is None or "thorough" not in PRESETS:
        return []
    full = preset("thorough")
    still = [
        slot
        for slot, options in history.settings.space.slots.items()
        if len(options) == 1 and len(full.slots[slot]) > 1
    ]
    if not still:
        return []
    return [f"Let {', '.join(still)} vary: the space held one option each (space='thorough')."]


def _surer(history: History) -> list[str]:
    """Say that the validation part is too small for the bound on the quality."""
    settings, original = history.settings, history.raw.get(0)
    stat = original.stat(settings.axes[0].name) if settings and original else None
    if settings is None or stat is None or settings.max_drop is None:
        return []
    half = (stat.high - stat.low) / 2
    if half <= settings.max_drop:
        return []
    known = f"{stat.n} tell {settings.axes[0].name} to ±{half:.2g}"
    return [f"Use more validation samples: {known}, more than max_drop={settings.max_drop:g}."]


_MENDS = {
    "timed out": "give candidates more time: limits=Limits(network=…, deployment=…)",
    "out of memory": "give candidates more memory, or a smaller batch",
    "diverged": "train with a smaller learning rate",
}


def _mended(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a remedy for each kind of failure that has one."""
    return [
        f"{row['count']} candidates {row['kind']} in the {row['stage']} stage: {mend}."
        for row in failed
        if (mend := _MENDS.get(row["kind"])) is not None
    ]
