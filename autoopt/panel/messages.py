"""Everything that goes over the wire between Python and the panel, typed in one place.

To the browser: ``{"kind": "rows", ...}`` (insert or replace by number) and
``{"kind": "status", ...}``. From the browser: ``{"kind": "ready"}`` (a page has opened the panel
and asks for the full state), ``{"kind": "choose", "number": n}`` and ``{"kind": "stop"}``.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, TypedDict

Direction: TypeAlias = Literal["minimize", "maximize"]
Role: TypeAlias = Literal["original", "baseline", "uniform", "search"]
State: TypeAlias = Literal["starting", "running", "paused", "stopping", "finished", "failed"]


class Objective(TypedDict):
    """One objective: its key in ``Row["values"]``, its name for people, its unit ("" if none)."""

    name: str
    label: str
    unit: str
    direction: Direction


class FailureNote(TypedDict):
    """Why a candidate failed."""

    stage: str
    kind: str
    message: str


class Row(TypedDict):
    """One trial; ``values`` maps an objective to its value and the ends of its interval.

    ``recipe`` is YAML, ``summary`` one line; ``speedup`` is how many times as fast as the original.
    """

    number: int
    role: Role
    state: Literal["ok", "failed"]
    front: bool
    feasible: bool
    recommended: bool
    summary: str
    recipe: str
    values: dict[str, list[float | None]]
    speedup: float | None
    failure: FailureNote | None


class Status(TypedDict):
    """Where the search stands; ``best`` is one line such as "8.4× at −0.6 pt"."""

    state: State
    trials: int
    failed: int
    seconds_elapsed: float
    seconds_left: float | None
    best: str
    message: str


class RowsMessage(TypedDict):
    """To the browser: rows that are new or have changed."""

    kind: Literal["rows"]
    rows: list[Row]


class StatusMessage(TypedDict):
    """To the browser: where the search stands."""

    kind: Literal["status"]
    status: Status


class ReadyMessage(TypedDict):
    """From the browser: a page has opened the panel and asks for the full state."""

    kind: Literal["ready"]


class ChooseMessage(TypedDict):
    """From the browser: the person chose this trial."""

    kind: Literal["choose"]
    number: int


class StopMessage(TypedDict):
    """From the browser: the person asked the search to stop."""

    kind: Literal["stop"]


BrowserMessage: TypeAlias = ReadyMessage | ChooseMessage | StopMessage


def parse_message(content: object) -> BrowserMessage:
    """Check what came from the browser.

    Parameters
    ----------
    content
        The decoded content of a custom widget message.

    Returns
    -------
    BrowserMessage
        The same message, known to be complete.

    Raises
    ------
    ValueError
        If it is no message of the panel.
    """
    match content:
        case {"kind": "ready"}:
            return {"kind": "ready"}
        case {"kind": "stop"}:
            return {"kind": "stop"}
        case {"kind": "choose", "number": int(number)} if not isinstance(number, bool):
            return {"kind": "choose", "number": number}
    raise ValueError(
        "a message from the panel is 'ready', 'stop' or 'choose' with a whole number; "
        f"got {content!r}"
    )


def starting_status() -> Status:
    """Give the status of a search that has not measured anything yet."""
    return {
        "state": "starting",
        "trials": 0,
        "failed": 0,
        "seconds_elapsed": 0.0,
        "seconds_left": None,
        "best": "",
        "message": "",
    }


def wire_row(row: Row) -> Row:
    """Copy a row for the wire: JSON knows no NaN and no infinity, so they become ``None``."""
    values = {name: [_finite(number) for number in stat] for name, stat in row["values"].items()}
    return {**row, "values": values, "speedup": _finite(row["speedup"])}


def wire_status(status: Status) -> Status:
    """Copy a status for the wire, without NaN or infinity."""
    elapsed = _finite(status["seconds_elapsed"])
    return {
        **status,
        "seconds_elapsed": 0.0 if elapsed is None else elapsed,
        "seconds_left": _finite(status["seconds_left"]),
    }


def _finite(number: float | None) -> float | None:
    # float() also turns a NumPy scalar, which JSON does not know either, into a plain number.
    return float(number) if number is not None and math.isfinite(number) else None
