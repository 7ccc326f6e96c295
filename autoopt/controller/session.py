"""What a running controller goes by: its log, what was asked of it, and what time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoopt.controller.job import Job
from autoopt.controller.over_caps import OverCaps
from autoopt.controller.second_look import reserved
from autoopt.disk import full_disk
from autoopt.errors import SearchError
from autoopt.history import History
from autoopt.log import Log
from autoopt.recipe import Recipe
from autoopt.settings import Budget

POLL_SECONDS = 0.1

RETRY_SECONDS = 1.0
"""Time between two tries to reach what a search waits for."""


class Ended(Exception):  # noqa: N818 - the regular way out, no error
    """The search ends now; the message is the reason."""


@dataclass
class Session:
    """One run of a controller.

    Attributes
    ----------
    job
        What was asked for.
    log
        The truth; everything that the controller knows it has read from there.
    history
        What the log says.
    stopped
        Why somebody stopped the search; empty while nobody did.
    over_caps
        What is known to break a cap.
    retried
        Numbers of failures of earlier runs that do not keep their recipes from another try.
    """

    job: Job
    log: Log
    history: History = field(default_factory=History)
    stopped: str = ""
    over_caps: OverCaps = field(default_factory=OverCaps)
    retried: frozenset[int] = frozenset()
    _paused: bool = False
    _command: int = 0

    def append(self, kind: Any, payload: Mapping[str, Any]) -> None:
        """Write an event down."""
        self.log.append(kind, payload)
        self.sync()

    def sync(self) -> None:
        """Read what was written since."""
        if self.history.add(self.log.read(self.history.last_id)):
            self.over_caps.learn(self.history)

    def pass_over_old_commands(self) -> None:
        """Leave commands to an earlier run alone; a stop may come while this one starts."""
        commands = self.log.read(kind="command")
        before = [event.id for event in commands if event.time < self.job.launched]
        self._command = max(before, default=0)

    def follow_commands(self) -> None:
        """Obey what the handles have written since the last look."""
        self.sync()
        for id_, command, payload in self.history.commands:
            if id_ <= self._command:
                continue
            self._command = id_
            match command:
                case "pause" | "go_on":
                    self._paused = command == "pause"
                    self.append("paused", {"paused": self._paused})
                case "stop":
                    self.stopped = str(payload.get("reason", "stopped on request"))

    def check_pause(self) -> None:
        """Wait while the search is paused.

        Raises
        ------
        Ended
            If it was stopped.
        """
        self.follow_commands()
        while self._paused and not self.stopped:
            time.sleep(POLL_SECONDS)
            self.follow_commands()
        if self.stopped:
            raise Ended(self.stopped)

    def wait_for(self, missing: Callable[[], str], note: str) -> None:
        """Pause as long as something is missing, and try again until it is back or a stop comes.

        Parameters
        ----------
        missing
            Says what is missing; nothing once it is there.
        note
            What is said of it, with ``{}`` in place of the reason.

        Raises
        ------
        SearchError
            If the disk of the search is full: a person has to free some space first.
        """
        if not (reason := missing()):
            return
        self._check_disk()
        self.append("note", {"text": note.format(reason)})
        self.append("paused", {"paused": True})
        while missing() and not self.stopped:
            time.sleep(RETRY_SECONDS)
            self._check_disk()
            self.follow_commands()
        self.append("paused", {"paused": self._paused})

    def _check_disk(self) -> None:
        if message := full_disk(self.job.folder):
            raise SearchError(message)

    def check_end(self, *, first: bool) -> None:
        """End the search when it was stopped or its budget is spent; wait while it is paused.

        Parameters
        ----------
        first
            Whether the original is next, which is measured whatever the budget.

        Raises
        ------
        Ended
            With the reason.
        """
        self.check_pause()
        if first:
            return
        if self.trials_left < 1:
            raise Ended("the budget in trials is spent")
        if self.seconds_left() <= self.reserve():
            raise Ended(self.spent_reason())

    def refused(self, recipe: Recipe) -> bool:
        """Say whether the survey found that this cannot run here, or that it breaks a cap."""
        chosen = recipe.to_dict()
        return self.over_caps.barred(recipe) or any(
            all(
                chosen[slot].get(name) == value
                for slot, wanted in refusal["when"].items()
                for name, value in wanted.items()
            )
            for refusal in self.history.refusals
        )

    @property
    def trials_left(self) -> float:
        """Candidates that may still be begun, those under way left out.

        What was refused before training counts nothing, up to as many as there are trials.
        """
        trials = self.budget.trials
        begun = len(self.history.raw.keys() | self.history.started.keys())
        if trials is None:
            return float("inf")
        return trials - begun + min(trials, self.over_caps.refusals)

    @property
    def budget(self) -> Budget:
        """The budget with what was added to it on the way."""
        return (self.history.settings or self.job.settings).budget

    def seconds_left(self) -> float:
        """Return what is left of the budget in seconds; waiting in a pause costs nothing."""
        seconds = self.budget.seconds
        return float("inf") if seconds is None else seconds - self.history.spent(now=time.time())

    def reserve(self) -> float:
        """Return the seconds kept for what comes after the last candidate."""
        seconds = self.budget.seconds
        if seconds is None or self.job.settings.only_given:
            return 0.0
        return reserved(self.history, seconds)

    def spent_reason(self) -> str:
        """Say that the budget in seconds is spent, and whether it was too short to begin with."""
        first = sum(s["seconds"] for s in self.history.stages if s["number"] == 0)
        if len(self.history.raw) == 1 and first > (self.budget.seconds or 0.0):
            return (
                f"the budget of {self.budget} was spent on the original alone, which took "
                f"{first:.0f} s; resume with a longer one"
            )
        return "the budget in seconds is spent"
