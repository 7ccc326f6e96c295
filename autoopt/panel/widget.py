"""The live panel: one anywidget that a background thread feeds while the search runs."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import anywidget
import traitlets

from autoopt.errors import AutooptError
from autoopt.panel import assets
from autoopt.panel.direct import DirectWay
from autoopt.panel.filter import Filter, parse_filter
from autoopt.panel.messages import (
    AnswerMessage,
    Columns,
    Command,
    Objective,
    Row,
    RowsMessage,
    Status,
    StatusMessage,
    parse_command,
    same_but_clock,
    starting_status,
    wire_columns,
    wire_status,
)
from autoopt.panel.pace import Pace
from autoopt.panel.static import front_html, front_text
from autoopt.panel.twin import Twin, running_cell

logger = logging.getLogger("autoopt.panel")

SECONDS_BETWEEN_SENDS: Final = 0.25
"""At most four messages a second."""

SECONDS_OF_CLOCK: Final = 2.0
"""How long a page may count the seconds itself before it is told them again."""

KEYFRAME_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""When the full state is sent again, as long as no page has said that it listens."""


def _columns_of(_value: object, panel: Panel) -> Columns:
    return wire_columns(list(panel._known.values()))


class Panel(anywidget.AnyWidget):
    """A live Pareto browser in a notebook.

    Parameters
    ----------
    objectives
        What the search optimises, in the order in which it should be offered for the axes; may be
        set later, when it becomes known.

    Attributes
    ----------
    selected
        Number of the trial that is looked at, or ``None``; the page and Python may set it.
    filter
        What a trial must be like to be shown, as `autoopt.panel.filter.Filter`; the page and
        Python may set it, a part of the keys is enough.
    chosen
        Number of the trial that was chosen last, or ``None``.
    status
        Where the search stands.
    bounded
        What the search bounds without optimising it, described as the objectives are.
    needs
        The search's own bounds, to which the page can go back: objective to [low, high].
    notes
        What cannot run here and why, in sentences.
    looks
        What the page shows where: axes, colour, order of the table, pinned trials.
    name
        Under which the page reaches this panel past a running cell, and finds its static twin.
    """

    # Strings and not paths: a file-based _esm keeps old instances of the widget alive.
    _esm = assets.module()
    _css = assets.style()

    objectives: traitlets.List[Objective] = traitlets.List().tag(sync=True)
    bounded: traitlets.List[Objective] = traitlets.List().tag(sync=True)
    columns: traitlets.Any = traitlets.Any().tag(sync=True, to_json=_columns_of)
    status: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    needs: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    notes: traitlets.List[str] = traitlets.List().tag(sync=True)
    filter: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    looks: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    selected: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )
    chosen: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )
    name: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)

    # What the page may change itself is not among it: the page may know better than a busy kernel.
    _synced_state: ClassVar[tuple[str, ...]] = (
        "objectives", "bounded", "columns", "status", "needs", "notes",
    )  # fmt: skip

    def __init__(self, objectives: Sequence[Objective] = ()) -> None:
        # The state is read, and with it the columns, before the widget's own __init__ is done.
        self._known: dict[int, Row] = {}
        twin = Twin()
        super().__init__(
            objectives=list(objectives),
            status=starting_status(),
            filter=parse_filter({}),
            name=twin.name,
        )
        self._twin = twin
        self._shown_in: int | None = None
        self._settled = threading.Event()
        self._changed: dict[int, Row] = {}
        self._status_changed = False
        self._told: Status = starting_status()
        self._told_at = time.monotonic() - SECONDS_OF_CLOCK
        born = time.monotonic()
        self._keyframes = [born + seconds for seconds in KEYFRAME_SECONDS]
        self._pace = Pace(self._flush, SECONDS_BETWEEN_SENDS)
        # A kernel that is shutting down has no sockets any more for what a timer still sends.
        atexit.register(self._pace.stop)
        self._callbacks: dict[str, list[Callable[..., object]]] = {}
        self._way = DirectWay(twin.name, self.perform)
        self.on_msg(self._receive)

    @property
    def rows(self) -> list[Row]:
        """All trials known so far, in the order in which they became known."""
        with self._pace.lock:
            return list(self._known.values())

    def update(self, rows: Sequence[Row] = (), status: Status | None = None) -> None:
        """Take over what is new; may be called from any thread, as often as one likes.

        The browser hears of it at most four times a second, and always of the last update.

        Parameters
        ----------
        rows
            Rows that are new or have changed; a row replaces the one with the same number.
        status
            Where the search stands now.
        """
        with self._pace.lock:
            fresh = {row["number"]: row for row in rows}
            self._known.update(fresh)
            self._changed.update(fresh)
            if status is not None:
                # In place: the trait is then right when a page asks for the full state, and no
                # second message goes out for it.
                self.status.update(wire_status(status))
                clock_is_late = time.monotonic() - self._told_at >= SECONDS_OF_CLOCK
                if clock_is_late or not same_but_clock(self._told, self._current_status()):
                    self._status_changed = True
            if self._changed or self._status_changed:
                self._pace.ask()

    def fail(self, message: str) -> None:
        """Say that the search cannot be followed any more; what is known of it stays."""
        self.update(status={**self._current_status(), "state": "failed", "message": message})

    def need(self, bounds: Mapping[str, Sequence[float | None]]) -> None:
        """Take over the search's own bounds; they become the filter where nobody touched it."""
        needs = parse_filter({"bounds": bounds})["bounds"]
        if needs == self.needs:
            return
        if self.filter["bounds"] == self.needs:
            self.filter = {**self.filter, "bounds": needs}
        self.needs = needs

    def show(self) -> None:
        """Display the live view, and beneath it the static twin that outlives it."""
        from IPython.display import display

        self._shown_in = running_cell()
        bundle, metadata = self._repr_mimebundle_()
        bundle.pop("text/html", None)
        bundle["text/plain"] = "The live panel of this search; what it showed last stands below."
        display(bundle, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]  # IPython has no annotations
        self._twin.write(*self._static())

    @property
    def shown_here(self) -> bool:
        """Whether `show` was called in the notebook cell that runs now."""
        return self._shown_in is not None and self._shown_in == running_cell()

    def refresh_twin(self) -> None:
        """Bring the static twin up to date, if it was shown; may be called from any thread."""
        if self._twin.shown:
            self._twin.write(*self._static())

    def settle(self) -> None:
        """Send all that is known in full, to pages and to notebooks that are being saved."""
        with self._pace.lock:
            self._pace.now()
            self.send_state(self._synced_state)
        self.refresh_twin()
        self._settled.set()

    def wait_settled(self, seconds: float) -> bool:
        """Wait until `settle` was called and say whether it was."""
        return self._settled.wait(seconds)

    def on_command(self, kind: str, callback: Callable[..., object]) -> None:
        """Call `callback` when the person gives a command of this kind.

        Parameters
        ----------
        kind
            ``"pause"``, ``"go_on"``, ``"stop"``, ``"choose"`` or ``"export"``.
        callback
            Called without arguments; for ``"choose"`` with the number, for ``"export"`` with
            number and folder. What the last one returns is answered to the page as text.
        """
        self._callbacks.setdefault(kind, []).append(callback)

    def perform(self, content: object) -> None:
        """Carry out what a page asks for, and answer it; may be called from any thread."""
        answer: AnswerMessage = {"kind": "answer", "to": "", "ok": True, "text": ""}
        try:
            command = parse_command(content)
            answer["to"] = command["kind"]
            answer["text"] = self._carry_out(command)
        except (AutooptError, ValueError, OSError) as error:
            answer["ok"] = False
            answer["text"] = str(error)
        except Exception as error:  # the page waits for an answer, whatever happened
            logger.exception("the panel's command %s failed", answer["to"])
            answer["ok"] = False
            answer["text"] = f"{type(error).__name__}: {error}"
        if answer["to"] != "ready":
            self.send(answer)

    def close(self) -> None:
        """Close the widget in the kernel and in all pages."""
        atexit.unregister(self._pace.stop)
        self._pace.stop()
        self._way.close()
        self._callbacks.clear()
        super().close()

    @traitlets.validate("filter")
    def _check_filter(self, proposal: Mapping[str, Any]) -> Filter:
        return parse_filter(proposal["value"])

    def _carry_out(self, command: Command) -> str:
        if command["kind"] == "ready":
            with self._pace.lock:
                self._keyframes.clear()
                self.send_state(self._synced_state)
            return ""
        given: tuple[object, ...] = ()
        if command["kind"] == "choose" or command["kind"] == "export":
            given = (self._measured(command["number"]),)
            if command["kind"] == "choose":
                self.chosen = command["number"]
            else:
                given = (*given, command["folder"])
        said = [callback(*given) for callback in self._callbacks.get(command["kind"], ())]
        return str(said[-1]) if command["kind"] == "export" and said else ""

    def _measured(self, number: int) -> int:
        row = self._known.get(number)
        if row is None or row["state"] == "failed":
            raise ValueError(
                f"only a trial that was measured can be chosen; got {number}, which "
                + ("is not known" if row is None else "failed")
            )
        return number

    def _flush(self) -> float | None:
        """Send one message; return when the next is due, None if nothing waits.

        A message that arrives while the page still loads the widget's code is lost, and a page
        cannot always ask for it while the kernel runs a cell. Hence the full state goes out now
        and then as long as no page listens.
        """
        now = time.monotonic()
        due = [moment for moment in self._keyframes if moment <= now]
        if due:
            del self._keyframes[: len(due)]
            self.send_state(self._synced_state)
            # A page may hold that state already and hear no change: what is new goes out next.
            if self._changed or self._status_changed:
                return now
        elif self._changed or self._status_changed:
            self.send(self._news())
        return self._keyframes[0] if self._keyframes else None

    def _news(self) -> RowsMessage | StatusMessage:
        """Give what changed as one message, and count it as told."""
        status = self._current_status()
        news: RowsMessage | StatusMessage = {"kind": "status", "status": status}
        if self._changed:
            news = {"kind": "rows", "columns": wire_columns(self._changed.values())}
            if self._status_changed:
                news["status"] = status
        if self._status_changed:
            self._told, self._told_at = status, time.monotonic()
        self._changed.clear()
        self._status_changed = False
        return news

    def _current_status(self) -> Status:
        status: Status = self.status.copy()  # type: ignore[assignment]  # update() keeps its keys
        return status

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        self.perform(content)

    def __repr__(self) -> str:
        """Give the front as text, for terminals."""
        return self._static()[1]

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the live view, with text and static HTML for front ends without widgets."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = ({}, {}) if bundle is None else bundle
        return {**data, "text/html": self._static()[0]}, metadata

    def _static(self) -> tuple[str, str]:
        """Give what is known as HTML and as text."""
        known = self.rows, self.objectives, self._current_status()
        return front_html(*known), front_text(*known)
