"""The live panel: one anywidget that a background thread feeds while the search runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, ClassVar, Final

import anywidget
import traitlets

from autoopt.panel.messages import (
    Objective,
    Row,
    RowsMessage,
    Status,
    StatusMessage,
    parse_message,
    starting_status,
    wire_row,
    wire_status,
)
from autoopt.panel.static import front_html, front_text
from autoopt.panel.twin import Twin

SECONDS_BETWEEN_SENDS: Final = 0.25
"""At most four batches of messages a second."""

KEYFRAME_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""When the full state is sent again, as long as no page has said that it listens."""

_PARTS: Final = ("scale.js", "store.js", "marks.js", "chart.js", "card.js", "header.js", "panel.js")
_STYLES: Final = ("chart.css", "card.css", "panel.css")


def _read(*names: str) -> str:
    folder = resources.files("autoopt.panel")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


class Panel(anywidget.AnyWidget):
    """A live Pareto browser in a notebook.

    Parameters
    ----------
    objectives
        What the search optimises, in the order in which it should be offered for the axes; may be
        set later, when it becomes known.

    Attributes
    ----------
    rows
        All trials known so far, one a number. It is changed in place by `update`.
    status
        Where the search stands.
    selected
        Number of the trial that is looked at, or ``None``.
    chosen
        Number of the trial that was chosen last, or ``None``.
    twin
        Class of the static output that the page hides while the panel lives; "" if there is none.
    """

    # Strings and not paths: a file-based _esm keeps old instances of the widget alive.
    _esm = _read(*_PARTS)
    _css = _read(*_STYLES)

    objectives: traitlets.List[Objective] = traitlets.List().tag(sync=True)
    rows: traitlets.List[Row] = traitlets.List().tag(sync=True)
    status: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    selected: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )
    chosen: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )

    twin: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)

    _synced_state: ClassVar[tuple[str, ...]] = ("objectives", "rows", "status")

    def __init__(self, objectives: Sequence[Objective] = ()) -> None:
        twin = Twin()
        super().__init__(
            objectives=list(objectives), rows=[], status=starting_status(), twin=twin.name
        )
        self._twin = twin
        self._settled = threading.Event()
        self._lock = threading.RLock()
        self._place: dict[int, int] = {}
        self._changed: dict[int, Row] = {}
        self._status_changed = False
        self._timer: threading.Timer | None = None
        self._due = 0.0
        self._born = time.monotonic()
        self._sent = self._born - SECONDS_BETWEEN_SENDS
        self._keyframes = list(KEYFRAME_SECONDS)
        self._choose_callbacks: list[Callable[[int], object]] = []
        self._stop_callbacks: list[Callable[[], object]] = []
        self.on_msg(self._receive)

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
        with self._lock:
            for row in map(wire_row, rows):
                self._insert(row)
            if status is not None:
                # In place, like the rows: the trait is then right when a page asks for the full
                # state, and no second message goes out for it.
                self.status.update(wire_status(status))
                self._status_changed = True
            if self._changed or self._status_changed:
                self._schedule(self._sent + SECONDS_BETWEEN_SENDS)

    def show(self) -> None:
        """Display the live view, and beneath it the static twin that outlives it."""
        from IPython.display import display

        bundle, metadata = self._repr_mimebundle_()
        bundle.pop("text/html", None)
        bundle["text/plain"] = "The live panel of this search; what it showed last stands below."
        display(bundle, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]  # IPython has no annotations
        self._twin.write(*self._static())

    def refresh_twin(self) -> None:
        """Bring the static twin up to date, if it was shown; may be called from any thread."""
        if self._twin.shown:
            self._twin.write(*self._static())

    def settle(self) -> None:
        """Send all that is known in full, to pages and to notebooks that are being saved."""
        with self._lock:
            self._flush()
            self.send_state(self._synced_state)
        self.refresh_twin()
        self._settled.set()

    def wait_settled(self, seconds: float) -> bool:
        """Wait until `settle` was called and say whether it was."""
        return self._settled.wait(seconds)

    def on_choose(self, callback: Callable[[int], object]) -> None:
        """Call ``callback(number)`` whenever the person chooses a trial."""
        self._choose_callbacks.append(callback)

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` whenever the person asks the search to stop."""
        self._stop_callbacks.append(callback)

    def close(self) -> None:
        """Close the widget in the kernel and in all pages."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._keyframes.clear()
            self._choose_callbacks.clear()
            self._stop_callbacks.clear()
        super().close()

    def _insert(self, row: Row) -> None:
        number = row["number"]
        if number in self._place:
            self.rows[self._place[number]] = row
        else:
            self._place[number] = len(self.rows)
            self.rows.append(row)
        self._changed[number] = row

    def _schedule(self, moment: float) -> None:
        """Send at `moment` or at once if it has passed; one timer waits for the earliest."""
        if self._timer is not None:
            if self._due <= moment:
                return
            self._timer.cancel()
            self._timer = None
        wait = moment - time.monotonic()
        if wait <= 0:
            self._flush()
            return
        self._due = moment
        self._timer = threading.Timer(wait, self._on_timer)
        self._timer.daemon = True
        self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            self._flush()

    def _flush(self) -> None:
        if self._changed:
            rows: RowsMessage = {"kind": "rows", "rows": list(self._changed.values())}
            self.send(rows)
        if self._status_changed:
            status: StatusMessage = {"kind": "status", "status": self._current_status()}
            self.send(status)
        self._changed.clear()
        self._status_changed = False
        self._sent = time.monotonic()
        self._send_keyframe()

    def _send_keyframe(self) -> None:
        """Send the full state at growing distances until a page listens.

        A message that arrives while the page still loads the widget's code is lost, and a page
        cannot ask for it while the kernel runs a cell.
        """
        due = [moment for moment in self._keyframes if self._born + moment <= self._sent]
        if due:
            del self._keyframes[: len(due)]
            self.send_state(self._synced_state)
        if self._keyframes:
            moment = max(self._born + self._keyframes[0], self._sent + SECONDS_BETWEEN_SENDS)
            self._schedule(moment)

    def _current_status(self) -> Status:
        status: Status = self.status.copy()  # type: ignore[assignment]  # update() keeps its keys
        return status

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        message = parse_message(content)
        if message["kind"] == "ready":
            with self._lock:
                self._keyframes.clear()
                self.send_state(self._synced_state)
        elif message["kind"] == "stop":
            for stop in self._stop_callbacks:
                stop()
        else:
            self._choose(message["number"])

    def _choose(self, number: int) -> None:
        place = self._place.get(number)
        if place is None or self.rows[place]["state"] == "failed":
            raise ValueError(
                f"only a trial that was measured can be chosen; got {number}, which "
                + ("is not known" if place is None else "failed")
            )
        self.chosen = number
        for callback in self._choose_callbacks:
            callback(number)

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
        with self._lock:
            known = self.rows, self.objectives, self._current_status()
            return front_html(*known), front_text(*known)
