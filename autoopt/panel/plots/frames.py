"""What the figures show, whatever library draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoopt.errors import UnknownNameError
from autoopt.panel.axes import LOG_SPAN
from autoopt.panel.insight import explained_share, slots_of
from autoopt.panel.messages import Level, Objective, Row
from autoopt.panel.points import default_axes, interval_of

LABELS = {
    "dominated": "dominated",
    "outside": "outside the constraints",
    "front": "front",
    "original": "original",
    "recommended": "recommended",
}


@dataclass(frozen=True)
class ParallelAxis:
    """One axis of parallel coordinates.

    Attributes
    ----------
    title
        For people.
    levels
        Names of the places 0, 1, …, or empty for numbers.
    places
        For each row its place or value; None where absent.
    """

    title: str
    levels: tuple[str, ...]
    places: tuple[float | None, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """Least and largest place, never the same."""
        known = [place for place in self.places if place is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        return (low, high) if high > low else (low - 0.5, high + 0.5)


def chosen_axes(
    objectives: Sequence[Objective], x: str | None, y: str | None
) -> tuple[Objective, Objective]:
    """Return the objectives across and up; the usual ones where no name is given."""
    named = {objective["name"]: objective for objective in objectives}
    for name in (x, y):
        if name is not None and name not in named:
            raise UnknownNameError("objective", name, named)
    usual = default_axes(objectives)
    if usual is None:
        only = next(iter(objectives), Objective(name="", label="", unit="", direction="minimize"))
        usual = only, only
    return named.get(x or "", usual[0]), named.get(y or "", usual[1])


def title_of(objective: Objective) -> str:
    """Return name and unit of an objective."""
    unit = f", {objective['unit']}" if objective["unit"] else ""
    return objective["label"] + unit


def wants_log(objective: Objective, values: Sequence[float]) -> bool:
    """Say whether an axis should be logarithmic; the rule of the panel."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    return bool(objective["unit"]) and low > 0 and high / low > LOG_SPAN


def group_of(row: Row) -> str:
    """Return what a measured trial is drawn as, a key of `LABELS`."""
    if row["role"] == "original":
        return "original"
    if row["recommended"]:
        return "recommended"
    if row["front"]:
        return "front"
    return "dominated" if row["feasible"] else "outside"


def parallel_axes(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[ParallelAxis]:
    """Return an axis for every choice that varies, and for every objective."""
    names = dict.fromkeys(name for row in rows for name in row["choices"])
    slots = slots_of(rows)
    ordered = sorted(names, key=lambda name: slots.index(name.partition(".")[0]))
    axes = [_choice_axis(name, rows) for name in ordered]
    return [
        *(axis for axis in axes if len(axis.levels) > 1),
        *(_objective_axis(objective, rows) for objective in objectives),
    ]


def importance_bars(
    rows: Sequence[Row], objectives: Sequence[Objective]
) -> dict[str, list[float | None]]:
    """Return slot to its share in each objective, the most important last."""
    shares = {slot: [explained_share(rows, slot, o) for o in objectives] for slot in slots_of(rows)}
    varied = {slot: values for slot, values in shares.items() if any(values)}
    return dict(sorted(varied.items(), key=lambda item: max(value or 0 for value in item[1])))


def _choice_axis(name: str, rows: Sequence[Row]) -> ParallelAxis:
    known = list(dict.fromkeys(row["choices"][name] for row in rows if name in row["choices"]))
    numbers = sorted(level for level in known if isinstance(level, int | float))
    levels: list[Level] = [*numbers, *(level for level in known if isinstance(level, str))]
    return ParallelAxis(
        name.replace("_", " ").replace(".", "\n"),
        tuple(str(level).replace("_", " ") for level in levels),
        tuple(
            float(levels.index(row["choices"][name])) if name in row["choices"] else None
            for row in rows
        ),
    )


def _objective_axis(objective: Objective, rows: Sequence[Row]) -> ParallelAxis:
    stats = [interval_of(row, objective["name"]) for row in rows]
    return ParallelAxis(title_of(objective), (), tuple(stat[0] if stat else None for stat in stats))
