"""Records as DataFrames, units in the names of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.front import Front
from autoopt.handle.rows import record_rows
from autoopt.history import History
from autoopt.measurement import Axis
from autoopt.panel.filter import parse_filter, passes
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record

if TYPE_CHECKING:
    import pandas as pd


def records_table(records: Sequence[Record], axes: Sequence[Axis], *, full: bool) -> pd.DataFrame:
    """Return one row a record, indexed by number.

    Parameters
    ----------
    records
        In the order of the rows.
    axes
        Objectives, which give the columns and their units.
    full
        Whether intervals, slots, seconds and failures have columns too.
    """
    import pandas as pd

    # The columns are the same before anything is known.
    empty = Record(0, Recipe.of({}), "original", Failure("network", "refused", ""))
    columns = list(_row(empty, axes, full=full))
    rows = [_row(record, axes, full=full) for record in records]
    return pd.DataFrame(rows, columns=columns).set_index("number")


def passing_table(history: History, wanted: object) -> pd.DataFrame:
    """Return the records that pass a filter of the panel, as `records_table` without details."""
    kept = parse_filter(wanted)
    numbers = {row["number"] for row in record_rows(history) if passes(row, kept)}
    records = tuple(record for record in history.records if record.number in numbers)
    axes = history.front.axes
    if kept["front"]:
        records = Front(records, axes).members
    return records_table(records, axes, full=False)


def _row(record: Record, axes: Sequence[Axis], *, full: bool) -> dict[str, Any]:
    """Return the cells of a record by column; every record has all of them."""
    row: dict[str, Any] = {"number": record.number, "strategy": record.recipe.summary}
    if full:
        row["role"] = record.role
    for axis in axes:
        stat = record.stat(axis.name)
        row[axis.column] = stat.value if stat else None
        if full:
            row[f"{axis.column}_low"] = stat.low if stat else None
            row[f"{axis.column}_high"] = stat.high if stat else None
    measured = record.measurement
    row["speedup"] = measured.speedup.value if measured and measured.speedup else None
    if axes:
        test = measured.test if measured else None
        row[f"test_{axes[0].column}"] = test.value if test else None
    memory = record.stat("memory")
    if "memory" not in {axis.name for axis in axes}:
        row["memory_mb"] = memory.value if memory else None
    if full:
        row |= {slot: option for slot, option, _ in record.recipe.choices}
        row |= {f"{stage}_s": record.seconds.get(stage) for stage in _STAGES}
        row["failure"] = str(record.failure) if record.failure else None
    return row


_STAGES = ("network", "artifact", "deployment")
