"""The search itself: candidate after candidate until the budget ends."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

from optuna.samplers import BaseSampler

from autoopt.controller import baselines, earlier
from autoopt.controller.job import STUDY, Job
from autoopt.controller.policy import Policy
from autoopt.controller.staged_policy import StagedPolicy
from autoopt.controller.study import Study, default_sampler
from autoopt.errors import SearchError
from autoopt.executors import Executor
from autoopt.history import History
from autoopt.log import Log
from autoopt.outcome import Done, Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record, Role
from autoopt.settings import Budget

logger = logging.getLogger("autoopt.controller")

POLL_SECONDS = 0.1
STAGES: tuple[Stage, ...] = ("network", "artifact", "deployment")
PATIENCE = 20.0
"""Times as long as the original that measuring a candidate may take, but at least `..._SECONDS`."""

PATIENCE_SECONDS = 120.0
RESERVE_SHARE = 0.03
"""Share of a budget in seconds that is kept for the memory of the front's members."""

FRESH_PROCESS = 2.0
"""Times as long as the measurement that serving in a fresh process may take."""


class Chooser(Protocol):
    """Decides about the next candidate.

    Attributes
    ----------
    study
        The Optuna study, which is told of every record.
    """

    study: Study

    def next(self, history: History, seconds_left: float) -> Recipe | None:
        """Return the next recipe that fits into the time left, or None when there is none."""

    def exhausted(self) -> str:
        """Say what it means that there is no next recipe, time left aside."""


class _Ended(Exception):  # noqa: N818 - the regular way out, no error
    """The search ends now; the message is the reason."""


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
    history: History = field(default_factory=History)
    _paused: bool = False
    _stop: str = ""
    _command: int = 0

    def run(self) -> str:
        """Search until the end and return the reason for it."""
        try:
            self._open()
            for recipe, role in self._candidates():
                self._evaluate(recipe, role)
            reason = self._chooser.exhausted()
        except _Ended as end:
            reason = str(end)
        if not self._stop:
            with contextlib.suppress(_Ended):
                self._measure_memory()
            if not self.job.settings.only_given:
                earlier.remember(self.job.settings, self.history)
        self._append("finished", {"reason": reason, "work": self.history.work_seconds})
        return reason

    def _open(self) -> None:
        """Read what is there, write the opening, and prepare what decides."""
        self._sync()
        resumed = bool(self.history.runs)
        settings, known = self.job.settings, self.history.settings
        if known is not None and known.fingerprint != settings.fingerprint:
            raise SearchError(f"{self.job.folder} holds the search of another model or data")
        # Commands to an earlier run are not for this one; a stop may come while this one starts.
        before = [e.id for e in self.log.read(kind="command") if e.time < self.job.launched]
        self._command = max(before, default=0)
        cut_off = sorted(set(self.history.started) - set(self.history.raw))
        self._append(
            "opened",
            {
                "settings": settings.to_dict(),
                "launched": self.job.launched,
                "pid": os.getpid(),
                "resumed": resumed,
                "study": self.job.study,
            },
        )
        for number in cut_off:
            # An earlier controller was killed over it; it may be tried again.
            self._append("abandoned", {"number": number})
        if not self.history.builders:
            self._survey()
        trains = settings.only_given or earlier.may_train(settings, self.history)
        if not trains and not resumed:
            self._append("note", {"text": earlier.NOTHING_TRAINED})
        self._chooser = self._open_chooser(trains=trains)

    def _open_chooser(self, *, trains: bool) -> Chooser:
        """Return what decides about the next candidate, with all that the log says."""
        settings = self.job.settings
        # A resumed search goes on drawing; it does not draw again what it drew before.
        seed = settings.seed + len(self.history.raw)
        paid = [Recipe.from_dict(network) for network in self.history.paid]
        if settings.sampler == "staged":
            return StagedPolicy(
                settings, self._open_study, self._refused, paid=paid, trains=trains, seed=seed
            )
        return Policy(
            settings.space,
            self._open_study(self.job.sampler or default_sampler(seed)),
            self._refused,
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
        outcome = self._wait("survey", baselines.original(), timeout=600.0)
        if isinstance(outcome, Done) and outcome.survey:
            self._append("refusals", asdict(outcome.survey))

    def _refused(self, recipe: Recipe) -> bool:
        """Say whether the survey found that this cannot run here."""
        chosen = recipe.to_dict()
        return any(
            all(
                chosen[slot].get(name) == value
                for slot, wanted in refusal["when"].items()
                for name, value in wanted.items()
            )
            for refusal in self.history.refusals
        )

    def _candidates(self) -> Iterator[tuple[Recipe, Role]]:
        """Yield what is next: the original, the baselines, then what the policy chooses."""
        space = self.job.settings.space
        yield baselines.original(), "original"
        if isinstance(self.history.raw[0].outcome, Failure):
            failure = self.history.raw[0].outcome
            raise SearchError(f"the original itself failed: {failure}\n{failure.log}")
        if self.job.settings.only_given:
            yield from self._given()
            raise _Ended("every recipe that was given is measured")
        for recipe in baselines.original_elsewhere(space, self._refused):
            yield recipe, "baseline"
        # What worked elsewhere comes before single techniques: it is what the search begins with.
        yield from self._given()
        for recipe in baselines.uniform(space, self._refused, self.history.records):
            if not self._hopeless(recipe):
                yield recipe, "uniform"
        while True:
            left = self._seconds_left() - self._reserve()
            following = self._chooser.next(self.history, left)
            if following is None:
                if self._seconds_left() < float("inf"):
                    raise _Ended("nothing that is untried fits into the time left")
                return
            yield following, "search"

    def _given(self) -> Iterator[tuple[Recipe, Role]]:
        """Yield the recipes that the search was handed, unless their network failed already."""
        for given in self.job.settings.given:
            recipe = Recipe.from_dict(given)
            if not self._hopeless(recipe):
                yield recipe, "given"

    def _hopeless(self, recipe: Recipe) -> bool:
        """Say whether this network failed already, as it would in every other runtime."""
        return any(
            record.failure is not None
            and record.failure.stage == "network"
            and record.recipe.stage_id("network") == recipe.stage_id("network")
            for record in self.history.raw.values()
        )

    def _next_number(self) -> int:
        """Return a number that no candidate has had, not even one that was cut off."""
        used = {*self.history.started, *(stage["number"] for stage in self.history.stages)}
        return max(used, default=-1) + 1

    def _evaluate(self, recipe: Recipe, role: Role) -> None:
        """Run the stages of one candidate and write down its record."""
        first = role == "original"
        for record in self.history.raw.values():
            # Without the original there is no search: a resume tries it again.
            if record.recipe.id == recipe.id and not (first and record.failure):
                return
        self._check_end(first=first)
        number = 0 if first else self._next_number()
        self._append("started", {"number": number, "recipe": recipe.to_dict(), "role": role})
        seconds: dict[str, float] = {}
        cached: list[str] = []
        artifact: str | None = None
        outcome: Outcome | None = None
        for stage in STAGES:
            outcome = self._run_stage(stage, recipe, number)
            if isinstance(outcome, Failure):
                break
            seconds[stage] = outcome.seconds
            if outcome.built and outcome.built.cached:
                cached.append(stage)
            if stage == "artifact" and outcome.built:
                artifact = outcome.built.key
        result = outcome.measurement if isinstance(outcome, Done) else outcome
        if result is None:
            raise RuntimeError(f"the deployment stage of number {number} gave no measurement")
        record = Record(number, recipe, role, result, seconds, tuple(cached), artifact)
        self._append("record", record.to_dict())
        self._chooser.study.tell(self.history.record(number), self.history.constraints)

    def _run_stage(self, stage: Stage, recipe: Recipe, number: int) -> Outcome:
        """Run one stage within its limit and the budget, and write down what it cost."""
        limit = self._limit(stage)
        start = time.perf_counter()
        # The original is measured even if the budget is too short for it.
        outcome = self._wait(stage, recipe, timeout=limit, bounded=number > 0, number=number)
        following = dict(itertools.pairwise((*STAGES, ""))).get(stage)
        payload: dict[str, Any] = {"number": number, "stage": stage, "next": following}
        if isinstance(outcome, Done):
            payload |= {"seconds": outcome.seconds, "cached": False}
            if outcome.built:
                payload |= asdict(outcome.built)
        else:
            payload |= {"seconds": time.perf_counter() - start, "cached": False, "failed": True}
        self._append("stage", payload)
        return outcome

    def _limit(self, stage: Stage) -> float:
        """Return the seconds that a stage may take: no more than the original's many times over."""
        limit = self.job.settings.limits.seconds(stage)
        original = self.history.raw.get(0)
        if stage != "deployment" or original is None:
            return limit
        return min(limit, max(PATIENCE_SECONDS, PATIENCE * original.seconds.get(stage, limit)))

    def _wait(
        self,
        stage: Stage,
        recipe: Recipe,
        *,
        timeout: float,
        bounded: bool = False,
        number: int | None = None,
    ) -> Outcome:
        """Wait for a stage; follow commands meanwhile.

        Where it is `bounded` it is cut off when the budget in seconds ends.

        Raises
        ------
        _Ended
            If the search was stopped or the budget ended; the candidate is written as abandoned.
        """
        start = time.perf_counter()
        pending = self.executor.start(stage, recipe, timeout=timeout)
        while (outcome := pending.poll(POLL_SECONDS)) is None:
            self._follow_commands()
            # What is reserved is for the memory of the front, which has no number.
            end = self._reserve() if number is not None else 0.0
            if self._stop or (bounded and self._seconds_left() <= end):
                pending.cancel()
                spent = time.perf_counter() - start
                self._append("abandoned", {"number": number, "seconds": spent})
                raise _Ended(self._stop or "the budget in seconds is spent")
        return outcome

    def _check_end(self, *, first: bool) -> None:
        """End the search when it was stopped or its budget is spent; wait while it is paused."""
        self._follow_commands()
        while self._paused and not self._stop:
            time.sleep(POLL_SECONDS)
            self._follow_commands()
        if self._stop:
            raise _Ended(self._stop)
        if first:
            return
        trials = self._budget.trials
        if trials is not None and len(self.history.raw) >= trials:
            raise _Ended("the budget in trials is spent")
        if self._seconds_left() <= self._reserve():
            raise _Ended("the budget in seconds is spent")

    @property
    def _budget(self) -> Budget:
        """The budget with what was added to it on the way."""
        return (self.history.settings or self.job.settings).budget

    def _seconds_left(self) -> float:
        """Return what is left of the budget in seconds; waiting in a pause costs nothing."""
        seconds = self._budget.seconds
        return float("inf") if seconds is None else seconds - self.history.spent(now=time.time())

    def _reserve(self) -> float:
        """Return the seconds kept for what comes after the last candidate."""
        return RESERVE_SHARE * (self._budget.seconds or 0.0)

    def _measure_memory(self) -> None:
        """Measure what serving the members of the front takes, as far as time allows."""
        if "memory" in self.job.settings.measured:
            return
        for record in self.history.front.members:
            # A fresh process takes longer than the one that measured, which was warm.
            needed = max(1.0, FRESH_PROCESS * record.seconds.get("deployment", 0.0))
            if record.number in self.history.memory or self._seconds_left() <= needed:
                continue
            outcome = self._wait("memory", record.recipe, timeout=60.0, bounded=True)
            if isinstance(outcome, Done) and outcome.memory:
                stat, cost = asdict(outcome.memory), {"seconds": outcome.seconds, "cached": False}
                self._append("stage", {"number": record.number, "stage": "memory", **cost})
                self._append("memory", {"number": record.number, "stat": stat})

    def _follow_commands(self) -> None:
        """Obey what the handles have written since the last look."""
        self._sync()
        for id_, command, payload in self.history.commands:
            if id_ <= self._command:
                continue
            self._command = id_
            match command:
                case "pause" | "go_on":
                    self._paused = command == "pause"
                    self._append("paused", {"paused": self._paused})
                case "stop":
                    self._stop = str(payload.get("reason", "stopped on request"))

    def _append(self, kind: Any, payload: Mapping[str, Any]) -> None:
        self.log.append(kind, payload)
        self._sync()

    def _sync(self) -> None:
        self.history.add(self.log.read(self.history.last_id))
