"""Records as the panel and the reports show them."""

from __future__ import annotations

from autoopt.handle.advice import recommended
from autoopt.handle.status import Status
from autoopt.history import History
from autoopt.panel.messages import Objective, Row
from autoopt.panel.messages import Status as StatusMessage
from autoopt.record import Record


def axis_rows(history: History) -> list[Objective]:
    """Return the objectives of a search."""
    axes = history.settings.axes if history.settings else ()
    return [
        Objective(name=axis.name, label=axis.name, unit=axis.unit, direction=axis.direction)
        for axis in axes
    ]


def record_rows(history: History) -> list[Row]:
    """Return all records of a search, members of the front and the recommended one marked."""
    front = history.front
    members = {record.number for record in front.members}
    best = recommended(history)
    return [
        _row(
            record,
            front=record.number in members,
            feasible=record.failure is None and front.feasible(record),
            best=best is not None and record.number == best.number,
        )
        for record in front.records
    ]


def status_message(status: Status) -> StatusMessage:
    """Return a status as the panel takes it."""
    return StatusMessage(
        state=status.state,
        trials=status.trials,
        failed=status.failed,
        seconds_elapsed=status.seconds_elapsed,
        seconds_left=status.seconds_left,
        best=status.best,
        message=status.message or status.now,
    )


def _row(record: Record, *, front: bool, feasible: bool, best: bool) -> Row:
    measured, failure = record.measurement, record.failure
    stats = measured.stats if measured else {}
    return Row(
        number=record.number,
        role=record.role,
        state="failed" if failure else "ok",
        front=front,
        feasible=feasible,
        recommended=best,
        summary=record.recipe.summary,
        recipe=record.recipe.to_yaml(),
        values={name: [stat.value, stat.low, stat.high] for name, stat in stats.items()},
        speedup=measured.speedup.value if measured and measured.speedup else None,
        failure=(
            {"stage": failure.stage, "kind": failure.kind, "message": failure.message}
            if failure
            else None
        ),
    )
