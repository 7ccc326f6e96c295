"""Two searches side by side: their fronts, what each covers, and who dominates where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import ConstraintError
from autoopt.front import Front
from autoopt.history import History
from autoopt.measurement import Axis
from autoopt.record import Record

if TYPE_CHECKING:
    import pandas as pd


CONDITIONS = {
    "request_size": "{} and {} samples a request",
    "threads": "{} and {} threads",
    "target": "the targets {} and {}",
}
"""Settings under which figures are measured, and how two that differ are told."""


@dataclass(frozen=True)
class Comparison:
    """Two fronts over the objectives that both searches have.

    Attributes
    ----------
    names
        How the two are called: the names of their folders, or ``this`` and ``other``.
    fronts
        Theirs, on the same axes.
    axes
        The objectives that both have, the quality first.
    warnings
        Why figures of the two may not be comparable, in sentences.
    """

    names: tuple[str, str]
    fronts: tuple[Front, Front]
    axes: tuple[Axis, ...]
    warnings: tuple[str, ...] = ()

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """The worst figure of both fronts and both originals on every axis: the common corner."""
        return tuple(
            max(values) if axis.sign > 0 else min(values)
            for axis, values in ((axis, self._values(axis)) for axis in self.axes)
        )

    @cached_property
    def hypervolume(self) -> dict[str, float]:
        """Name to the share of the box between the best and the worst that its front dominates."""
        box = 1.0
        for axis in self.axes:
            values = self._values(axis)
            box *= max(values) - min(values)
        return {
            name: front.hypervolume(self.reference) / box if box > 0 else 0.0
            for name, front in zip(self.names, self.fronts, strict=True)
        }

    @cached_property
    def covered(self) -> dict[str, float]:
        """Name to the share of its front that some member of the other front dominates.

        Zitzler and Thiele's coverage, "Multiobjective evolutionary algorithms", 1999.
        """
        table = self.table
        return {
            name: float((table.loc[table["search"] == name, "dominated_by"] != "").mean())
            for name in self.names
        }

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a member of either front, with the members of the other that dominate it."""
        import pandas as pd

        rows = []
        for place, (name, front) in enumerate(zip(self.names, self.fronts, strict=True)):
            for record in front.members:
                better = [
                    other.number
                    for other in self.fronts[1 - place].members
                    if front.dominates(other, record)
                ]
                figures = {axis.column: _value(record, axis) for axis in self.axes}
                rows.append(
                    {
                        "search": name,
                        "number": record.number,
                        **figures,
                        "dominated_by": ", ".join(map(str, better)),
                        "strategy": record.recipe.summary,
                    }
                )
        columns = ["search", "number", *(axis.column for axis in self.axes)]
        return pd.DataFrame(rows, columns=[*columns, "dominated_by", "strategy"])

    def verdict(self) -> str:
        """Say in a sentence which front is ahead."""
        mine, other = (self.hypervolume[name] for name in self.names)
        lost = [f"{self.covered[name]:.0%} of {name}'s" for name in self.names]
        leader = self.names[0] if mine > other else self.names[1]
        ahead = "neither is ahead" if mine == other else f"{leader} is ahead"
        return (
            f"Hypervolume over {', '.join(axis.name for axis in self.axes)}: {self.names[0]} "
            f"{mine:.3f}, {self.names[1]} {other:.3f} of the box between best and worst; {ahead}. "
            f"The other dominates {lost[0]} front and {lost[1]}."
        )

    def __repr__(self) -> str:
        """Show the verdict, the warnings and the table."""
        return "\n".join([self.verdict(), *self.warnings, self.table.to_string(index=False)])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(text)}</p>" for text in (self.verdict(), *self.warnings))
        return said + self.table.to_html(index=False, float_format=lambda value: f"{value:.4g}")

    def _values(self, axis: Axis) -> list[float]:
        """Return the figures of both fronts and both originals on one axis."""
        values = [
            _value(record, axis)
            for front in self.fronts
            for record in (*front.members, *(r for r in front.measured if r.role == "original"))
        ]
        if not values:
            raise ConstraintError(
                "neither search has a strategy on its front yet, so there is nothing to compare"
            )
        return values


def compared_searches(
    mine: History, other: History, folders: tuple[Path | None, Path | None]
) -> Comparison:
    """Return two searches side by side on the objectives that both have.

    Raises
    ------
    ConstraintError
        If they share no objective, or measured nothing.
    """
    theirs = {axis.name: axis for axis in other.front.axes}
    axes = tuple(axis for axis in mine.front.axes if theirs.get(axis.name) == axis)
    if not axes:
        raise ConstraintError(
            "two searches can be compared on objectives that both have, but one has "
            f"{', '.join(a.name for a in mine.front.axes) or 'none'} and the other "
            f"{', '.join(theirs) or 'none'}"
        )
    names = tuple(folder.name if folder else "" for folder in folders)
    if names[0] == names[1] or not all(names):
        names = ("this", "other")
    fronts = (replace(mine.front, axes=axes), replace(other.front, axes=axes))
    return Comparison((names[0], names[1]), fronts, axes, tuple(_warnings(mine, other)))


def _warnings(mine: History, other: History) -> list[str]:
    """Return why the figures of two searches may not be comparable."""
    found = []
    if mine.settings and other.settings and mine.settings.fingerprint != other.settings.fingerprint:
        found.append("The two searched other models or data: only factors may be compared.")
    if mine.settings and other.settings:
        for name, words in CONDITIONS.items():
            values = [getattr(history.settings, name) for history in (mine, other)]
            if values[0] != values[1]:
                found.append(f"They were measured with {words.format(*values)}.")
    machines = [_machine(history) for history in (mine, other)]
    if all(machines) and machines[0] != machines[1]:
        found.append(f"They were measured on {machines[0]} and {machines[1]}.")
    return found


def _machine(history: History) -> str:
    original = history.raw.get(0)
    measured: Any = original.measurement if original else None
    return str(measured.environment.get("processor", "")) if measured else ""


def _value(record: Record, axis: Axis) -> float:
    stat = record.stat(axis.name)
    if stat is None:
        raise ConstraintError(f"number {record.number} has no {axis.name}")
    return stat.value
