"""`Search`: what a person holds of a running or finished search."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.controller.job import CONTROLLER_LOG, LOG
from autoopt.disk import full_disk
from autoopt.errors import ConstraintError, FolderError, SearchError
from autoopt.handle.advice import bounded_front, speed_axis
from autoopt.handle.request import checked_bounds, checked_drop, is_positive
from autoopt.handle.status import Status, printed_end, status_of
from autoopt.handle.strategy import Strategy
from autoopt.handle.surroundings import in_notebook, is_controller
from autoopt.history import History
from autoopt.log import Log
from autoopt.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from autoopt.controller import Launched
    from autoopt.handle.comparison import Comparison
    from autoopt.handle.search_explanation import SearchExplanation
    from autoopt.panel import Panel


class Search:
    """A running or finished search; `autoopt.search` and `autoopt.resume` give one.

    Everything can be asked at any time and answers with what is known so far. It follows the
    search's log and holds no state of its own.

    Attributes
    ----------
    folder
        Where the search lives.
    """

    def __init__(self, folder: Path, launched: Launched | None) -> None:
        self.folder = folder
        self._log = Log(folder / LOG)
        self._launched = launched
        self._history = History()
        self._frozen = History()
        self._lock = threading.RLock()
        self._panel: Panel | None = None

    # --- what is known -------------------------------------------------------------------------

    @property
    def front(self) -> pd.DataFrame:
        """The feasible strategies that no other dominates, fastest first."""
        from autoopt.handle.tables import records_table

        front = self._known().front
        return records_table(front.members, front.axes, full=False)

    @property
    def trials(self) -> pd.DataFrame:
        """All candidates with intervals, choices, seconds and failures."""
        from autoopt.handle.tables import records_table

        front = self._known().front
        return records_table(front.records, front.axes, full=True)

    @property
    def status(self) -> Status:
        """What the search is doing."""
        alive = self.alive
        launched = self._launched.launched if self._launched else None
        return status_of(self._known(), alive=alive, now=time.time(), launched=launched)

    @property
    def settings(self) -> Settings:
        """What was asked for.

        Raises
        ------
        FolderError
            If the search was never opened.
        """
        settings = self._known().settings
        if settings is None:
            raise FolderError(f"the search in {self.folder} was never opened: start it again")
        return settings

    @property
    def notes(self) -> tuple[str, ...]:
        """What was guessed about model and data, what is reused, and what cannot run here."""
        history = self._known()
        own = history.settings.notes if history.settings else ()
        refusals = (
            f"not here: {' with '.join(w['option'] for w in refusal['when'].values())} "
            f"({refusal['reason']})"
            for refusal in history.refusals
        )
        return (*own, *history.notes, *dict.fromkeys(refusals))

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """Every measured candidate, in order."""
        history = self._known()
        measured = (record for record in history.records if record.measurement)
        return tuple(Strategy(record, history, self.folder) for record in measured)

    @property
    def chosen(self) -> Strategy | None:
        """The strategy that was last chosen in the panel or by `choose`, or None."""
        choices = self._known().choices
        return self.pick(choices[-1]) if choices else None

    def best(
        self,
        objective: str | None = None,
        *,
        max_drop: float | None = None,
        constraints: Mapping[str, float | str] | None = None,
    ) -> Strategy:
        """Return the best strategy within bounds: the fastest, unless another objective is named.

        Parameters
        ----------
        objective
            Name of an objective of this search; latency when absent.
        max_drop
            How much worse than the original the quality may be; when absent the search's own
            bounds hold, and where none is of the quality, one point of it (0.01).
        constraints
            Further bounds, as in `autoopt.search`; those of the search hold too.

        Raises
        ------
        ConstraintError
            If nothing measured so far keeps the bounds; the nearest strategy is named.
        ValueError, UnknownNameError
            If a bound is no number, or of an objective that is not searched.
        """
        history = self._known()
        if history.settings is None:
            raise ConstraintError("no strategy was measured yet: the search is about to start")
        front = bounded_front(
            history,
            max_drop=checked_drop(max_drop),
            constraints=checked_bounds(constraints, history.settings.bounded_axes),
        )
        names = [axis.name for axis in front.axes]
        if objective == "quality":
            objective = names[0]
        if objective is not None and objective not in names:
            raise ConstraintError(
                f"`objective` must be one of {', '.join(names)}, but got {objective!r}"
            )
        return Strategy(front.best(objective or speed_axis(front)), history, self.folder)

    def pick(self, number: int) -> Strategy:
        """Return the strategy of a number.

        Raises
        ------
        ConstraintError
            If there is none of that number, or it failed; the failure is shown.
        """
        history = self._known()
        found = {record.number: record for record in history.records}
        if number not in found:
            span = f"0 to {max(found)}" if found else "none yet"
            raise ConstraintError(f"there is no candidate {number!r}; numbers known: {span}")
        if (failure := found[number].failure) is not None:
            raise ConstraintError(f"number {number} has no measurement: {failure}\n{failure.log}")
        return Strategy(found[number], history, self.folder)

    def compare(self, other: Search | str | Path) -> Comparison:
        """Return this search and another, or its folder, side by side: who dominates where.

        Raises
        ------
        ConstraintError
            If they share no objective, or have measured nothing.
        FolderError, TypeError
            If the other is no search.
        """
        from autoopt.handle.reading import compared_with

        return compared_with(self, other)

    def explain(self) -> SearchExplanation:
        """Say what mattered, what failed and why, what would help, and if it beat single steps."""
        from autoopt.handle.search_explanation import explain_search

        return explain_search(self._known())

    def pack(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the search with the artefacts of its front as one zip, to be sent and opened.

        Raises
        ------
        FolderError
            If the path is taken, or cannot be written.
        """
        from autoopt.handle.packing import pack_search

        return pack_search(self.folder, self._known(), path, overwrite=overwrite)

    # --- what can be said to it ----------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Search:
        """Wait for the end, showing progress; Ctrl-C stops the search and keeps everything.

        Raises
        ------
        TimeoutError
            If it has not ended within `timeout` seconds; it goes on.
        SearchError
            If it ended by an error.
        """
        from autoopt.handle.progress import follow

        try:
            follow(self, timeout=timeout)
        except KeyboardInterrupt:
            self.stop("stopped by Ctrl-C")
            follow(self, timeout=None)
        if self._launched is not None:
            self._launched.join()
        status = self.status
        if status.state == "failed":
            raise SearchError(self._last_words(status))
        return self

    def stop(self, reason: str = "stopped on request") -> None:
        """Stop after cutting off the candidate under way; what was measured stays."""
        self._command("stop", reason=reason)

    def pause(self) -> None:
        """Wait before the next candidate; a pause costs no budget."""
        self._command("pause")

    def go_on(self) -> None:
        """Go on after a pause."""
        self._command("go_on")

    def extend(self, *, seconds: float | None = None, trials: int | None = None) -> None:
        """Add to the budget of a running search.

        Raises
        ------
        ValueError
            If it has no budget of that kind, the addition is no positive number, or the search
            has ended.
        """
        budget = self.settings.budget
        for name, more in (("seconds", seconds), ("trials", trials)):
            if more is None:
                continue
            if not is_positive(more) or getattr(budget, name) is None:
                raise ValueError(
                    f"`{name}` must be a positive number and add to a budget in {name}, but got "
                    f"{more!r} for a budget of {budget}"
                )
        if not self.alive:
            raise ValueError(
                "only a running search can be extended; go on with this one by "
                f"autoopt.resume({str(self.folder)!r}, model, data, budget=...)"
            )
        self._command("extend", seconds=seconds, trials=trials)

    def choose(self, number: int) -> Strategy:
        """Choose a strategy, as the panel's button does, and return it."""
        strategy = self.pick(number)
        self._log.append("choice", {"number": number})
        return strategy

    @property
    def selected(self) -> int | None:
        """Number of the strategy that is looked at in the panel; may be set."""
        return self.panel().selected

    @selected.setter
    def selected(self, number: int | None) -> None:
        self.panel().selected = number

    @property
    def filter(self) -> dict[str, Any]:
        """What a strategy must be like to be shown in the panel; may be set, also in part.

        ``{"bounds": {"latency": [None, 8]}, "choices": {"runtime": ["openvino"]}, "front": True,
        "text": ""}``, see `autoopt.panel.filter`.
        """
        return self.panel().filter

    @filter.setter
    def filter(self, wanted: Mapping[str, Any]) -> None:
        self.panel().filter = dict(wanted)

    @property
    def shown(self) -> pd.DataFrame:
        """The strategies that pass the panel's filter."""
        from autoopt.handle.tables import passing_table

        return passing_table(self._known(), self.filter)

    def observe(self, handler: Callable[[Any], object], names: str | Sequence[str]) -> None:
        """Call ``handler(change)`` when `selected` or `filter` of the panel changes."""
        self.panel().observe(handler, names)

    def panel(self) -> Panel:
        """Return the live panel; every call gives a view of the same one."""
        from autoopt.handle.live import follow_in_panel

        if self._panel is None:
            self._panel = follow_in_panel(self)
        return self._panel

    # --- static figures ------------------------------------------------------------------------
    # Each takes `library`, "matplotlib" or "plotly": the first that is installed when absent.

    def plot_front(
        self, *, x: str | None = None, y: str | None = None, library: str | None = None
    ) -> Any:
        """Return a figure of two objectives with the front between them."""
        return self._plot("front", library, x=x, y=y)

    def plot_parallel(self, *, library: str | None = None) -> Any:
        """Return a figure of all choices and objectives as parallel coordinates."""
        return self._plot("parallel", library)

    def plot_history(
        self, *, x: str | None = None, y: str | None = None, library: str | None = None
    ) -> Any:
        """Return a figure of how the hypervolume of two objectives grew."""
        return self._plot("history", library, x=x, y=y)

    def plot_importance(self, *, library: str | None = None) -> Any:
        """Return a figure of which choices explain the differences in each objective."""
        return self._plot("importance", library)

    # --- inside --------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the controller still runs, started here or by another process."""
        if self._launched is not None:
            return self._launched.alive
        run = next(reversed(self._known().runs), None)
        return run is not None and "finished" not in run and is_controller(int(run["pid"]))

    def _begin(self, block: bool | None) -> Search:
        """Wait for the end where asked to, or show the panel and return."""
        from autoopt.handle.live import show

        if not in_notebook() if block is None else block:
            return self.wait()
        if in_notebook():
            show(self)
        return self

    def _known(self) -> History:
        """Return the history up to now, which later events leave as it is."""
        with self._lock:
            if self._history.add(self._log.read(self._history.last_id)):
                self._frozen = self._history.snapshot()
            return self._frozen

    def _plot(self, kind: str, library: str | None, **options: Any) -> Any:
        from autoopt.handle.rows import axis_rows, record_rows
        from autoopt.panel.plots import plot

        history = self._known()
        rows, objectives = record_rows(history), axis_rows(history)
        return plot(kind, rows, objectives, library=library, **options)

    def _command(self, command: str, **values: Any) -> None:
        self._log.append("command", {"command": command, **values})

    def _last_words(self, status: Status) -> str:
        """Return why a search failed, with the end of what its controller printed."""
        history = self._known()
        finished = history.runs[-1].get("finished") if history.runs else None
        if isinstance(finished, dict) and finished.get("error"):
            return f"{finished['reason']}\n{finished['error']}"
        if message := full_disk(self.folder):
            return message
        return f"{status.message}; {printed_end(self.folder / CONTROLLER_LOG)}"

    def __repr__(self) -> str:
        """Show the status and the front."""
        status = self.status
        front = self.front
        table = f"\n{front.to_string()}" if len(front) else ""
        return f"<Search in {self.folder}: {status}>{table}"

    def _repr_html_(self) -> str:
        from autoopt.handle.shown import html_of

        return html_of(self, self._panel)
