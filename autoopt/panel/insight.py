"""What the trials say beside the front: which choices matter, and how the front grew.

The page computes the same (why.js): the shares of all that was measured, as here, since a filter on
figures would bend them, and the hypervolume of what passes its filter. These are for static
figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from autoopt.panel.messages import Objective, Row
from autoopt.panel.points import interval_of


def explained_share(rows: Sequence[Row], slot: str, objective: Objective) -> float | None:
    """Return how much of the differences in an objective the choice in one slot explains.

    It is ε² of a one-way analysis of variance (Kelley, "An unbiased correlation ratio measure",
    1935): 1 - (within / (n - k)) / (total / (n - 1)) for n trials in k groups, not below 0. Unlike
    η² it does not grow with the number of options. An option with other settings is another group;
    objectives with a unit are seen as logarithms. The search does not choose at random, so this is
    a hint and no proof.

    Returns
    -------
    float or None
        Between 0 and 1; 0 where the slot was never varied, None where nothing can be said.
    """
    groups: dict[tuple[object, ...], list[float]] = {}
    for row in rows:
        value = _seen(row, objective)
        if value is not None:
            chosen = sorted(
                (name, str(level))
                for name, level in row["choices"].items()
                if name == slot or name.startswith(f"{slot}.")
            )
            groups.setdefault(tuple(chosen), []).append(value)
    if len(groups) < 2:
        return 0.0
    values = [value for group in groups.values() for value in group]
    free, total = len(values) - len(groups), _spread(values)
    if free < 1 or not total > 1e-12 * math.fsum(value**2 for value in values):
        return None
    within = math.fsum(_spread(group) for group in groups.values())
    return min(max(1 - (within / free) / (total / (len(values) - 1)), 0.0), 1.0)


def slots_of(rows: Sequence[Row]) -> list[str]:
    """Return the slots of the recipes, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row["choices"] if "." not in name))


def hypervolume_steps(rows: Sequence[Row], x: Objective, y: Objective) -> list[tuple[int, float]]:
    """Return trial number and hypervolume wherever it grew, and at the last trial.

    The volume is that of two objectives: the part of the rectangle between the best and the worst
    that was measured which the front dominates, on logarithmic scales where there is a unit.
    """
    measured: list[tuple[int, float, float]] = []
    for row in sorted(rows, key=lambda row: row["number"]):
        along, upward = _seen(row, x), _seen(row, y)
        if along is not None and upward is not None:
            measured.append((row["number"], along, upward))
    if not measured:
        return []
    numbers = [number for number, _, _ in measured]
    across = _costs([value for _, value, _ in measured], x)
    up = _costs([value for _, _, value in measured], y)
    steps: list[tuple[int, float]] = []
    corners: list[tuple[float, float]] = []
    for number, a, b in zip(numbers, across, up, strict=True):
        if any(c <= a and d <= b for c, d in corners):
            continue
        corners = sorted([(a, b), *((c, d) for c, d in corners if not (a <= c and b <= d))])
        area = math.fsum(
            (1 - this[1]) * (after[0] - this[0]) for this, after in pairwise([*corners, (1.0, 1.0)])
        )
        steps.append((number, area))
    if numbers[-1] > steps[-1][0]:
        steps.append((numbers[-1], steps[-1][1]))
    return steps


def _seen(row: Row, objective: Objective) -> float | None:
    """Return a figure as it is compared, or None without one."""
    stat = None if row["state"] == "failed" else interval_of(row, objective["name"])
    if stat is None:
        return None
    if not objective["unit"]:
        return stat[0]
    return math.log(stat[0]) if stat[0] > 0 else None


def _spread(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _costs(values: Sequence[float], objective: Objective) -> list[float]:
    """Return each value as a cost between 0, the best, and 1, the worst."""
    sign = 1.0 if objective["direction"] == "minimize" else -1.0
    signed = [sign * value for value in values]
    low, high = min(signed), max(signed)
    return [(value - low) / (high - low) if high > low else 0.0 for value in signed]
