"""Everything that goes over the wire between Python and the panel, typed in one place.

To the browser: ``{"kind": "rows", "columns": ...}`` (insert or replace by number; with a ``status``
where that changed too), ``{"kind": "status", ...}`` and ``{"kind": "answer", ...}`` (what became of
a command). From the browser the commands of `COMMANDS`; ``ready`` means that a page has opened the
panel and asks for the full state.

Trials travel as columns: 5,000 of them with their choices are about 1 MB as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

Direction: TypeAlias = Literal["minimize", "maximize"]
Role: TypeAlias = Literal["original", "baseline", "uniform", "search"]
State: TypeAlias = Literal["starting", "running", "paused", "stopping", "finished", "failed"]
Level: TypeAlias = str | float | bool

SIGNIFICANT: Final = 10
"""Digits of a value on the wire: a score that just keeps a bound must still keep it there."""

SIGNIFICANT_ENDS: Final = 5
"""Digits of the ends of its interval, which are only drawn and said."""


LOGS_BYTES: Final = 250_000
"""What the logs of all failures together may take; what JSON escapes in them comes on top."""

LEAST_LOG_BYTES: Final = 400
"""What the log of an old failure keeps as long as `LOGS_BYTES` allows it: the error itself."""

_SHORTENED: Final = "[shortened: the search's log holds all of it]\n"


class Objective(TypedDict):
    """One objective: its key in ``Row["values"]``, its name for people, its unit ("" if none).

    ``points`` says that differences are told in percentage points, as of an accuracy.
    """

    name: str
    label: str
    unit: str
    direction: Direction
    points: NotRequired[bool]


class FailureNote(TypedDict):
    """Why a candidate failed; ``log`` is a traceback or the last lines of the worker."""

    stage: str
    kind: str
    message: str
    log: str


class Row(TypedDict):
    """One trial; ``values`` maps an objective to its value and the ends of its interval.

    ``choices`` maps a slot to its option and ``slot.setting`` to the setting's value; a setting
    that does not exist under the option is absent. ``summary`` is one line; ``speedup`` is how
    many times as fast as the original.
    """

    number: int
    role: Role
    state: Literal["ok", "failed"]
    front: bool
    feasible: bool
    recommended: bool
    summary: str
    choices: dict[str, Level]
    values: dict[str, list[float | None]]
    speedup: float | None
    failure: FailureNote | None


class Coded(TypedDict):
    """A column of few distinct values: for each trial its place in ``levels``, -1 where absent."""

    levels: list[Level]
    codes: list[int]


class Columns(TypedDict):
    """Trials as columns; the i-th entry of every list belongs to the i-th number.

    ``values`` maps an objective to three lists: value, low, high. ``failures`` maps the number of
    a failed trial, as text, to its cause. What is on the front, and which strategy is recommended,
    the browser finds itself, because there both follow the filter.
    """

    number: list[int]
    role: Coded
    summary: list[str]
    speedup: list[float | None]
    values: dict[str, list[list[float | None]]]
    choices: dict[str, Coded]
    failures: dict[str, FailureNote]


class Status(TypedDict):
    """Where the search stands; ``best`` is one line such as "8.4× at −0.6 pt"."""

    state: State
    trials: int
    trials_total: int | None
    failed: int
    seconds_elapsed: float
    seconds_left: float | None
    best: str
    message: str


class RowsMessage(TypedDict):
    """To the browser: trials that are new or have changed, and the status if that changed too."""

    kind: Literal["rows"]
    columns: Columns
    status: NotRequired[Status]


class StatusMessage(TypedDict):
    """To the browser: where the search stands."""

    kind: Literal["status"]
    status: Status


class AnswerMessage(TypedDict):
    """To the browser: what became of a command; ``text`` is the cause or, say, a folder."""

    kind: Literal["answer"]
    to: str
    ok: bool
    text: str


class PlainCommand(TypedDict):
    """From the browser: a page opened the panel, or the person steers the search."""

    kind: Literal["ready", "pause", "go_on", "stop"]


class ChooseCommand(TypedDict):
    """From the browser: the person chose this trial."""

    kind: Literal["choose"]
    number: int


class ExportCommand(TypedDict):
    """From the browser: the person wants this trial exported into a folder."""

    kind: Literal["export"]
    number: int
    folder: str


Command: TypeAlias = PlainCommand | ChooseCommand | ExportCommand

COMMANDS: Final = ("ready", "pause", "go_on", "stop", "choose", "export")


def parse_command(content: object) -> Command:
    """Check what came from the browser.

    Parameters
    ----------
    content
        The decoded content of a custom widget message.

    Returns
    -------
    Command
        The same message, known to be complete.

    Raises
    ------
    ValueError
        If it is no command of the panel.
    """
    match content:
        case {"kind": "ready" | "pause" | "go_on" | "stop" as kind}:
            return {"kind": kind}
        case {"kind": "choose", "number": int(number)} if not isinstance(number, bool):
            return {"kind": "choose", "number": number}
        case {"kind": "export", "number": int(number), "folder": str(folder)} if (
            folder.strip() and not isinstance(number, bool)
        ):
            return {"kind": "export", "number": number, "folder": folder.strip()}
    raise ValueError(
        f"a message from the panel must be one of {', '.join(COMMANDS)}, 'choose' and 'export' "
        f"with a whole number, 'export' with a folder; got {content!r}"
    )


def starting_status() -> Status:
    """Give the status of a search that has not measured anything yet."""
    return {
        "state": "starting",
        "trials": 0,
        "trials_total": None,
        "failed": 0,
        "seconds_elapsed": 0.0,
        "seconds_left": None,
        "best": "",
        "message": "",
    }


def wire_status(status: Status) -> Status:
    """Copy a status for the wire, without NaN or infinity."""
    elapsed = _finite(status["seconds_elapsed"])
    return {
        **status,
        "seconds_elapsed": 0.0 if elapsed is None else elapsed,
        "seconds_left": _finite(status["seconds_left"]),
    }


def same_but_clock(first: Status, second: Status) -> bool:
    """Say whether two statuses differ at most in their seconds, which a page counts on itself."""
    return _without_clock(first) == _without_clock(second)


def _without_clock(status: Status) -> dict[str, object]:
    # Whether there is an estimate at all is no matter of the clock.
    return {**status, "seconds_elapsed": 0.0, "seconds_left": status["seconds_left"] is None}


def wire_columns(rows: Iterable[Row]) -> Columns:
    """Turn trials into columns for the wire: JSON knows no NaN and no infinity, so they are null.

    An interval that is no wider than its value is null, too: the browser then takes the value.
    The logs of failures share `LOGS_BYTES`, and the newest keep theirs longest.
    """
    known = list(rows)
    objectives = list(dict.fromkeys(name for row in known for name in row["values"]))
    names = list(dict.fromkeys(name for row in known for name in row["choices"]))
    return {
        "number": [row["number"] for row in known],
        "role": _coded([row["role"] for row in known]),
        "summary": [row["summary"] for row in known],
        "speedup": [_finite(row["speedup"]) for row in known],
        "values": {
            name: [
                list(column) for column in zip(*(_stat(row, name) for row in known), strict=True)
            ]
            for name in objectives
        },
        "choices": {name: _coded([row["choices"].get(name) for row in known]) for name in names},
        "failures": _failures([row for row in known if row["state"] == "failed"]),
    }


def shortened_log(log: str, longest: int) -> str:
    """Give the end of a log, where the error stands, in at most `longest` bytes of UTF-8.

    What was cut begins by saying so.
    """
    whole = log.encode(errors="replace")
    if len(whole) <= longest:
        return log
    kept = longest - len(_SHORTENED)
    if kept <= 0:
        return "…" if longest >= len("…".encode()) else ""
    return _SHORTENED + whole[-kept:].decode(errors="ignore")


def _failures(failed: Sequence[Row]) -> dict[str, FailureNote]:
    share = min(LEAST_LOG_BYTES, LOGS_BYTES // max(1, len(failed)))
    left = LOGS_BYTES - share * len(failed)
    logs: dict[int, str] = {}
    for row in sorted(failed, key=lambda row: row["number"], reverse=True):
        log = shortened_log(row["failure"]["log"] if row["failure"] else "", share + left)
        left += share - len(log.encode(errors="replace"))
        logs[row["number"]] = log
    unknown: FailureNote = {"stage": "", "kind": "failed", "message": "", "log": ""}
    return {
        str(row["number"]): {**(row["failure"] or unknown), "log": logs[row["number"]]}
        for row in failed
    }


def _stat(row: Row, name: str) -> tuple[float | None, float | None, float | None]:
    value, low, high = [*row["values"].get(name, ()), None, None, None][:3]
    return (
        _finite(value),
        None if low == value else _finite(low, SIGNIFICANT_ENDS),
        None if high == value else _finite(high, SIGNIFICANT_ENDS),
    )


def _coded(values: Iterable[Level | None]) -> Coded:
    """Give each distinct value a number.

    True and 1 are equal in Python and must not become one level, hence the types.
    """
    places: dict[tuple[type, Level], int] = {}
    codes = [
        -1 if value is None else places.setdefault((type(value), value), len(places))
        for value in values
    ]
    return {"levels": [level for _, level in places], "codes": codes}


def _finite(number: float | None, digits: int = SIGNIFICANT) -> float | None:
    # float() also turns a NumPy scalar, which JSON does not know either, into a plain number.
    if number is None:
        return None
    # The largest double becomes infinite by rounding, hence first the one and then the other.
    rounded = float(f"{float(number):.{digits}g}")
    return rounded if math.isfinite(rounded) else None
