"""What a search is doing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoopt.handle.advice import compared, recommended
from autoopt.handle.verification import verification
from autoopt.history import History

State = Literal["starting", "running", "paused", "stopping", "finished", "failed"]


@dataclass(frozen=True)
class Status:
    """A moment of a search.

    Attributes
    ----------
    state
        Whether it runs.
    trials, failed
        Candidates that ended, and how many of them failed.
    trials_total
        Candidates that the budget allows, or None.
    networks_trained, artifacts_built
        What was made and not found in the cache.
    seconds_elapsed
        Wall-clock seconds, pauses left out.
    seconds_left
        Estimate of what is still to come; None where unknown.
    now
        What is being done.
    best
        The recommended strategy so far against the original.
    message
        Why it ended, or the error.
    verified
        How far the front was measured again, and how much too good its first report was; empty
        while nothing was.
    """

    state: State
    trials: int
    failed: int
    trials_total: int | None
    networks_trained: int
    artifacts_built: int
    seconds_elapsed: float
    seconds_left: float | None
    now: str
    best: str
    message: str
    verified: str = ""

    def __str__(self) -> str:
        """Show it in one line."""
        left = "" if self.seconds_left is None else f" · {clock(self.seconds_left)} left"
        total = f"/{self.trials_total}" if self.trials_total else ""
        best = f" · best {self.best}" if self.best else ""
        tail = "".join(f" · {words}" for words in (self.message, self.verified) if words)
        return (
            f"{self.state.capitalize()} · {self.trials}{total} trials{left} · "
            f"{self.failed} failed · {self.networks_trained} networks trained{best}{tail}"
        )


_DOING = {"network": "training", "artifact": "building", "deployment": "measuring"}


def clock(seconds: float) -> str:
    """Return seconds as ``2:10`` or ``1:02:10``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def printed_end(path: Path) -> str:
    """Return the end of what a controller printed into a file."""
    tail = path.read_text(errors="replace")[-2000:] if path.exists() else ""
    return f"{path} ends with:\n{tail}"


def status_of(
    history: History, *, alive: bool, now: float, launched: float | None = None
) -> Status:
    """Return what the log says.

    Parameters
    ----------
    history
        What is known.
    alive
        Whether the controller still runs.
    now
        Seconds since the epoch.
    launched
        When the controller was launched that this is asked of; its run may not stand in the log
        yet. None where the last run of the log is meant.
    """
    run = history.runs[-1] if history.runs else None
    begun = run is not None and launched in (None, run["launched"])
    finished = run.get("finished") if run and begun else None
    state, message = _state(history, alive, finished, begun=begun)
    spent = history.spent(now=now) if state in ("running", "paused", "stopping") else (
        history.spent(now=run["last"]) if run else 0.0
    )  # fmt: skip
    budget = history.settings.budget if history.settings else None
    done = len(history.raw)
    left: float | None = None
    if state in ("running", "paused") and budget is not None:
        if budget.seconds is not None:
            left = max(0.0, budget.seconds - spent)
        elif budget.trials is not None and done:
            until = history.spent(now=run["last"]) if run else spent
            left = max(0.0, (budget.trials - done) * until / done)
    if state == "finished" and history.front.measured and not history.front.members:
        message = f"{message}; {history.front.nothing()}"
    current = history.current
    return Status(
        state=state,
        trials=done,
        failed=sum(record.failure is not None for record in history.raw.values()),
        trials_total=budget.trials if budget else None,
        networks_trained=history.networks_trained,
        artifacts_built=history.artifacts_built,
        seconds_elapsed=spent,
        seconds_left=left,
        now=f"{_DOING[current['stage']]} number {current['number']}" if current else "",
        best=_best(history),
        message=message,
        verified=str(history.once(verification)),
    )


def _best(history: History) -> str:
    best = history.once(recommended)
    if best is None or history.settings is None:
        return ""
    return compared(best, history.raw.get(0), history.settings.axes[0])


def _state(history: History, alive: bool, finished: object, *, begun: bool) -> tuple[State, str]:
    if isinstance(finished, dict):
        return ("failed" if finished.get("error") else "finished"), str(finished["reason"])
    if not alive:
        return "failed", "the controller's process ended without a word"
    if not begun:
        return "starting", ""
    last = history.commands[-1] if history.commands else None
    if last is not None and last[1] == "stop" and last[0] > history.runs[-1]["id"]:
        return "stopping", ""
    return ("paused" if "paused_since" in history.runs[-1] else "running"), ""
