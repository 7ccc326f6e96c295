"""Records as the panel and the reports show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from autoopt.handle.advice import recommended
from autoopt.handle.status import Status
from autoopt.history import History
from autoopt.measurement import Axis
from autoopt.panel.messages import Level, Objective, Row, shortened_log
from autoopt.panel.messages import Status as StatusMessage
from autoopt.recipe import Recipe
from autoopt.record import Record

LONGEST_LOG: Final = 4000
"""Bytes of a failure's log that a panel keeps at most, from its end; the search's log holds all."""


def axis_rows(history: History) -> list[Objective]:
    """Return the objectives of a search."""
    return [_objective(axis) for axis in (history.settings.axes if history.settings else ())]


def bounded_rows(history: History) -> list[Objective]:
    """Return what a search bounds without optimising it."""
    needs = needs_of(history)
    axes = history.settings.bounded if history.settings else ()
    return [_objective(axis) for axis in axes if axis.name in needs]


class Marks(NamedTuple):
    """What the others make of a record: it changes without a new measurement of its own."""

    front: bool
    feasible: bool
    recommended: bool


def record_rows(history: History) -> list[Row]:
    """Return all records of a search, members of the front and the recommended one marked."""
    return [record_row(record, marks) for record, marks in marked_records(history)]


def marked_records(history: History) -> Iterator[tuple[Record, Marks]]:
    """Give all records of a search, each with what the others make of it."""
    front = history.front
    members = {record.number for record in front.members}
    best = history.once(recommended)
    for record in front.records:
        yield (
            record,
            Marks(
                front=record.number in members,
                feasible=record.failure is None and front.feasible(record),
                recommended=best is not None and record.number == best.number,
            ),
        )


def record_row(record: Record, marks: Marks) -> Row:
    """Return a record as the panel takes it."""
    measured, failure = record.measurement, record.failure
    stats = measured.stats if measured else {}
    return Row(
        number=record.number,
        # A recipe that the search was handed is drawn as one that it found.
        role="search" if record.role == "given" else record.role,
        state="failed" if failure else "ok",
        front=marks.front,
        feasible=marks.feasible,
        recommended=marks.recommended,
        summary=record.recipe.summary,
        choices=_choices(record.recipe),
        values={name: [stat.value, stat.low, stat.high] for name, stat in stats.items()},
        speedup=measured.speedup.value if measured and measured.speedup else None,
        failure=(
            {
                "stage": failure.stage,
                "kind": failure.kind,
                "message": failure.message,
                "log": shortened_log(failure.log, LONGEST_LOG),
            }
            if failure
            else None
        ),
    )


def status_message(status: Status) -> StatusMessage:
    """Return a status as the panel takes it."""
    return StatusMessage(
        state=status.state,
        trials=status.trials,
        trials_total=status.trials_total,
        failed=status.failed,
        seconds_elapsed=status.seconds_elapsed,
        seconds_left=status.seconds_left,
        best=status.best,
        message=status.message or status.now,
    )


def _objective(axis: Axis) -> Objective:
    return Objective(
        name=axis.name,
        label=axis.name,
        unit=axis.unit,
        direction=axis.direction,
        points=axis.in_points,
    )


def needs_of(history: History) -> dict[str, list[float | None]]:
    """Return the bounds of a search: objective to the least and the most that is wanted."""
    needs: dict[str, list[float | None]] = {}
    for constraint in history.constraints:
        pair = needs.setdefault(constraint.objective, [None, None])
        if constraint.sense == ">=":
            pair[0] = constraint.bound if pair[0] is None else max(pair[0], constraint.bound)
        else:
            pair[1] = constraint.bound if pair[1] is None else min(pair[1], constraint.bound)
    return needs


def _choices(recipe: Recipe) -> dict[str, Level]:
    """Return slot to option, and ``slot.setting`` to the value of each setting that there is."""
    choices: dict[str, Level] = {}
    for slot, option, settings in recipe.choices:
        choices[slot] = option
        for name, value in settings:
            plain = isinstance(value, str | int | float | bool)
            choices[f"{slot}.{name}"] = value if plain else str(value)
    return choices
