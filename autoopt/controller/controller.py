"""The search itself: candidate after candidate until the budget ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random

from optuna.samplers import BaseSampler

from autoopt.controller import baselines, earlier, second_look
from autoopt.controller.agenda import Agenda, Chooser
from autoopt.controller.flights import Flight, Flights
from autoopt.controller.job import STUDY, Job
from autoopt.controller.policy import Policy
from autoopt.controller.session import Ended, Session
from autoopt.controller.staged_policy import StagedPolicy
from autoopt.controller.study import Study, default_sampler
from autoopt.errors import SearchError
from autoopt.executors import Executor
from autoopt.history import History
from autoopt.log import Log
from autoopt.outcome import Done
from autoopt.recipe import Recipe
from autoopt.record import Record, Role

FRESH_PROCESS = 2.0
"""Times as long as the measurement that serving in a fresh process may take."""

FRESH_WORKER = 1.3
"""Times as long as the first measurement that one more may take."""

BETWEEN = 2
"""Candidates a worker that may be measured while networks wait for others to train beside."""


STORAGE_IS_AWAY = (
    "the Optuna storage is away ({}): the search waits for it and goes on by itself; what was "
    "measured is in the log"
)


@dataclass
class SearchController:
    """Asks for recipes, has their stages run, and writes down what became of them.

    Attributes
    ----------
    job
        What was asked for.
    executor
        Where stages run.
    log
        The truth; everything that the controller knows it has read from there.
    """

    job: Job
    executor: Executor
    log: Log
    _waiting: list[Flight] = field(default_factory=list)
    _between: int = 0

    def __post_init__(self) -> None:
        """Begin with what the log says."""
        self._session = Session(self.job, self.log)
        self._flights = Flights(self._session, self.executor)

    @property
    def history(self) -> History:
        """What the log says."""
        return self._session.history

    def run(self) -> str:
        """Search until the end and return the reason for it."""
        session = self._session
        reason = ""
        try:
            self._open()
            for recipe, role in self._agenda:
                self._take(recipe, role)
        except Ended as end:
            reason = str(end)
        with contextlib.suppress(Ended):
            # What waits was promised; where no time is left for it, it is written as abandoned.
            self._land()
        if not session.stopped:
            with contextlib.suppress(Ended):
                if not self.job.settings.only_given:
                    self._look_again()
                self._measure_memory()
            if not self.job.settings.only_given:
                earlier.remember(self.job.settings, self.history)
        session.append("finished", {"reason": reason, "work": self.history.work_seconds})
        return reason

    def _open(self) -> None:
        """Read what is there, write the opening, and prepare what decides."""
        session = self._session
        session.sync()
        resumed = bool(self.history.runs)
        settings, known = self.job.settings, self.history.settings
        if settings.only_given:
            # Whoever asks for these very recipes again takes no chance or mistake for an answer.
            session.retried = frozenset(
                number
                for number, record in self.history.raw.items()
                if record.failure and record.failure.kind != "refused"
            )
        if known is not None and known.fingerprint != settings.fingerprint:
            raise SearchError(f"{self.job.folder} holds the search of another model or data")
        session.pass_over_old_commands()
        cut_off = sorted(set(self.history.started) - set(self.history.raw))
        session.append(
            "opened",
            {
                "settings": settings.to_dict(),
                "launched": self.job.launched,
                "pid": os.getpid(),
                "resumed": resumed,
                "study": self.job.study,
            },
        )
        if self.executor.note:
            session.append("note", {"text": self.executor.note})
        for number in cut_off:
            # An earlier controller was killed over it; it may be tried again.
            session.append("abandoned", {"number": number})
        if not self.history.builders:
            self._survey()
        trains = settings.only_given or earlier.may_train(settings, self.history)
        if not trains and not resumed:
            session.append("note", {"text": earlier.NOTHING_TRAINED})
        self._agenda = Agenda(session, self._open_chooser(trains=trains), self._land)

    def _open_chooser(self, *, trains: bool) -> Chooser:
        """Return what decides about the next candidate, with all that the log says."""
        settings = self.job.settings
        # A resumed search goes on drawing; it does not draw again what it drew before.
        seed = settings.seed + len(self.history.raw)
        paid = [Recipe.from_dict(network) for network in self.history.paid]
        if settings.sampler == "staged":
            return StagedPolicy(
                settings,
                self._open_study,
                self._session.refused,
                paid=paid,
                trains=trains,
                seed=seed,
                barred=self._session.over_caps.barred,
            )
        return Policy(
            settings.space,
            self._open_study(self.job.sampler or default_sampler(seed)),
            self._session.refused,
            settings.threads,
            settings.request_size,
            paid,
            trains,
            Random(seed),
        )

    def _open_study(self, sampler: BaseSampler) -> Study:
        """Return the Optuna study with all that the log says."""
        settings = self.job.settings
        study = Study(
            settings.space,
            settings.axes,
            sampler=sampler,
            storage=settings.storage or f"sqlite:///{self.job.folder.resolve() / STUDY}",
            name=self.job.study,
        )
        study.rebuild(self.history.records, self.history.constraints)
        return study

    def _survey(self) -> None:
        """Ask beforehand what cannot run here, so that no trial is spent on it."""
        outcome = self._flights.wait("survey", baselines.original(), timeout=600.0)
        if isinstance(outcome, Done) and outcome.survey:
            self._session.append("refusals", asdict(outcome.survey))

    def _take(self, recipe: Recipe, role: Role) -> None:
        """Evaluate a candidate, or let it wait for others that are trained beside it."""
        first, session = role == "original", self._session
        for record in self.history.raw.values():
            # Without the original there is no search: a resume tries it again.
            again = record.number in session.retried or (first and record.failure)
            if record.recipe.id == recipe.id and not again:
                return
        trains = self._agenda.trains(recipe)
        session.check_end(first=first)
        flight = Flight(0 if first else self._next_number(), recipe, role)
        if trains and role == "search":
            # What is given or usual is trained to its end: it is what the search is held against.
            flight.bar = self._agenda.chooser.bar(self.history, recipe)
        begun = {"number": flight.number, "recipe": recipe.to_dict(), "role": role}
        begun |= {} if flight.bar is None else {"bar": flight.bar}
        session.append("started", begun)
        workers = self.executor.width
        if self.executor.apart and not first:
            self._flights.put([flight])
            while self._flights.crowded:
                self._tell(self._flights.step())
        elif trains and workers > 1:
            self._between = self._between if self._waiting else 0
            self._waiting.append(flight)
        else:
            self._fly([flight])
            self._between += 1
        networks = {waiting.recipe.stage_id("network") for waiting in self._waiting}
        full = len(networks) >= workers
        if self._waiting and (full or self._between >= BETWEEN * workers):
            self._land()

    def _land(self) -> bool:
        """Bring what waits or is under way to its end; return whether there was anything."""
        waiting, self._waiting, self._between = self._waiting, [], 0
        found = bool(waiting or self._flights.flying)
        self._fly(waiting)
        return found

    def _fly(self, flights: Sequence[Flight]) -> None:
        self._flights.put(flights)
        self._tell(self._flights.run())

    def _tell(self, records: Iterable[Record]) -> None:
        for record in records:
            study, told = self._agenda.chooser.study, self.history.record(record.number)
            study.tell(told, self.history.constraints)
            self._session.wait_for(study.catch_up, STORAGE_IS_AWAY)

    def _next_number(self) -> int:
        """Return a number that no candidate has had, not even one that was cut off."""
        used = {*self.history.started, *(stage["number"] for stage in self.history.stages)}
        return max(used, default=-1) + 1

    def _look_again(self) -> None:
        """Measure the front, and what may be on it, again; the front is then built of all.

        Where the budget is in trials, only its members are.
        """
        session, barred = self._session, set[int]()
        timed = session.budget.seconds is not None
        while (number := second_look.following(self.history, barred, all_=timed)) is not None:
            session.check_pause()
            needed = FRESH_WORKER * second_look.seconds_again(self.history, number)
            kept = second_look.MEMORY_SHARE * (session.budget.seconds or 0.0)
            if session.seconds_left() - kept < needed:
                barred.add(number)
                continue
            recipe, limit = self.history.raw[number].recipe, self._flights.limit("deployment")
            outcome = self._flights.wait("deployment", recipe, timeout=limit, bounded=True)
            if isinstance(outcome, Done) and outcome.measurement:
                found = {"measurement": outcome.measurement.to_dict(), "seconds": outcome.seconds}
                session.append("again", {"number": number, **found})
            else:
                barred.add(number)
                text = f"number {number} could not be measured again: {outcome}"
                session.append("note", {"text": text})

    def _measure_memory(self) -> None:
        """Measure what serving the members of the front takes, as far as time allows."""
        session = self._session
        if "memory" in self.job.settings.measured:
            return
        for record in self.history.front.members:
            # A fresh process takes longer than the one that measured, which was warm.
            needed = max(1.0, FRESH_PROCESS * record.seconds.get("deployment", 0.0))
            if record.number in self.history.memory or session.seconds_left() <= needed:
                continue
            outcome = self._flights.wait("memory", record.recipe, timeout=60.0, bounded=True)
            if isinstance(outcome, Done) and outcome.memory:
                stat, cost = asdict(outcome.memory), {"seconds": outcome.seconds, "cached": False}
                session.append("stage", {"number": record.number, "stage": "memory", **cost})
                session.append("memory", {"number": record.number, "stat": stat})
