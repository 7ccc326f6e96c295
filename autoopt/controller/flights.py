"""Candidates on their way through the stages, one or several at a time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from autoopt.controller.session import POLL_SECONDS, Ended, Session
from autoopt.executors import Executor, Pending
from autoopt.outcome import Done, Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record, Role

STAGES: tuple[Stage, ...] = ("network", "artifact", "deployment")
_FOLLOWING: dict[Stage, Stage] = dict(itertools.pairwise(STAGES))

PATIENCE = 20.0
"""Times as long as the original that measuring a candidate may take, but at least `..._SECONDS`."""

PATIENCE_SECONDS = 120.0


@dataclass
class Flight:
    """One candidate on its way.

    Attributes
    ----------
    number, recipe, role
        Of its record.
    stage
        What is next, or under way while there is something `pending`.
    among
        Candidates that were under way when it was put to them, itself included.
    bar
        Quality that its network must be able to reach while it is trained; None for any.
    again
        Whether it is tried once more after its worker was killed beside others.
    """

    number: int
    recipe: Recipe
    role: Role
    stage: Stage = "network"
    pending: Pending | None = None
    outcome: Outcome | None = None
    begun: float = 0.0
    among: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    artifact: str | None = None
    again: bool = False
    bar: float | None = None

    def record(self) -> Record:
        """Return what became of it."""
        found = self.outcome.measurement if isinstance(self.outcome, Done) else self.outcome
        if found is None:
            raise RuntimeError(f"the {self.stage} stage of number {self.number} gave nothing")
        cached = tuple(self.cached)
        return Record(
            self.number, self.recipe, self.role, found, self.seconds, cached, self.artifact
        )


@dataclass
class Flights:
    """Has stages run, within their limits and the budget, and writes down what they cost.

    Attributes
    ----------
    session
        The run that this belongs to.
    executor
        Where stages run.
    flying
        What is under way, in the order in which it was begun.
    """

    session: Session
    executor: Executor
    flying: list[Flight] = field(default_factory=list)

    def put(self, flights: Sequence[Flight]) -> None:
        """Put candidates to those under way.

        Raises
        ------
        Ended
            If the search was stopped or the budget ended.
        """
        self.flying += flights
        for flight in flights:
            flight.among = len(self.flying)
        self._checked(bounded=all(flight.number > 0 for flight in flights))

    def run(self) -> Iterator[Record]:
        """Bring all that is under way to its end and yield the records, also into the log.

        Raises
        ------
        Ended
            If the search was stopped or the budget ended; what is under way is then abandoned.
        """
        while self.flying:
            yield from self.step()

    def step(self) -> Iterator[Record]:
        """Begin what may begin, look at each candidate once, and yield those that came to an end.

        On one machine networks and artefacts are made side by side, and while one candidate is
        measured, nothing else runs. One whose worker was killed among others is tried once more,
        alone: memory may have been short for several, or the worker was lost.

        Raises
        ------
        Ended
            As `run`.
        """
        for flight in tuple(self.flying):
            if flight not in self.flying:
                continue
            if flight.pending is None and self._may_start(flight):
                self._start(flight)
            if flight.pending is None:
                continue
            outcome = flight.pending.poll(POLL_SECONDS / len(self.flying))
            if outcome is None:
                self._checked(bounded=flight.number > 0)
            elif self._ended(flight, outcome):
                self.flying.remove(flight)
                record = flight.record()
                self.session.append("record", record.to_dict())
                self._drop_hopeless(record)
                yield record

    @property
    def crowded(self) -> bool:
        """Whether nothing more should be begun: all workers have work, and one candidate waits."""
        training = sum(flight.stage == "network" for flight in self.flying)
        return training >= self.executor.width or len(self.flying) > self.executor.width + 1

    def wait(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bounded: bool = False
    ) -> Outcome:
        """Wait for a stage that belongs to no candidate under way; follow commands meanwhile.

        Where it is `bounded` it is cut off when the budget in seconds ends, reserve included.

        Raises
        ------
        Ended
            If the search was stopped or the budget ended.
        """
        pending = self.executor.start(stage, recipe, timeout=timeout)
        while (outcome := pending.poll(POLL_SECONDS)) is None:
            try:
                self._check(bounded=bounded, reserve=False)
            except Ended:
                pending.cancel()
                raise
        return outcome

    def limit(self, stage: Stage) -> float:
        """Return the seconds that a stage may take: no more than the original's many times over."""
        limit = self.session.job.settings.limits.seconds(stage)
        original = self.session.history.raw.get(0)
        if stage != "deployment" or original is None:
            return limit
        return min(limit, max(PATIENCE_SECONDS, PATIENCE * original.seconds.get(stage, limit)))

    def _start(self, flight: Flight) -> None:
        flight.begun = time.perf_counter()
        limit = self.limit(flight.stage)
        bar = flight.bar if flight.stage == "network" else None
        flight.pending = self.executor.start(flight.stage, flight.recipe, timeout=limit, bar=bar)

    def _check(self, *, bounded: bool, reserve: bool = True) -> None:
        """Raise when the search was stopped or, where `bounded`, its budget ended."""
        session = self.session
        session.follow_commands()
        if session.stopped:
            raise Ended(session.stopped)
        # The original is measured even if the budget is too short for it.
        if bounded and session.seconds_left() <= (session.reserve() if reserve else 0.0):
            raise Ended(session.spent_reason())

    def _checked(self, *, bounded: bool) -> None:
        """Check as `_check` does, and abandon what is under way where the search ends."""
        try:
            self._check(bounded=bounded)
        except Ended:
            while self.flying:
                self._abandon(self.flying.pop(0))
            raise

    def _ended(self, flight: Flight, outcome: Outcome) -> bool:
        """Take in the outcome of a stage and say whether it was the candidate's last."""
        flight.pending, flight.outcome = None, outcome
        following = _FOLLOWING.get(flight.stage)
        payload: dict[str, Any] = {"number": flight.number, "stage": flight.stage}
        payload |= {"next": following, "cached": False}
        if isinstance(outcome, Failure):
            payload |= {"seconds": time.perf_counter() - flight.begun, "failed": True}
            again = outcome.kind == "out_of_memory" and flight.among > 1 and not flight.again
            if again:
                payload["next"] = flight.stage
                flight.again = True
            self.session.append("stage", payload)
            return not again
        payload["seconds"] = flight.seconds[flight.stage] = outcome.seconds
        if outcome.built:
            payload |= asdict(outcome.built)
            if outcome.built.cached:
                flight.cached.append(flight.stage)
            if flight.stage == "artifact":
                flight.artifact = outcome.built.key
        self.session.append("stage", payload)
        if following is not None:
            flight.stage = following
        return following is None

    def _drop_hopeless(self, record: Record) -> None:
        """Abandon what waited for a network that cannot be made."""
        if record.failure is None or not record.failure.bars_network:
            return
        network = record.recipe.stage_id("network")
        for other in [f for f in self.flying if f.recipe.stage_id("network") == network]:
            self.flying.remove(other)
            self._abandon(other)

    def _abandon(self, flight: Flight) -> None:
        """Cut a candidate off; it is no record, and may be begun again."""
        spent = 0.0
        if flight.pending is not None:
            flight.pending.cancel()
            spent = time.perf_counter() - flight.begun
        self.session.append("abandoned", {"number": flight.number, "seconds": spent})

    def _may_start(self, flight: Flight) -> bool:
        """Say whether a candidate's next stage may begin beside what the others do."""
        others = [other for other in self.flying if other is not flight]
        busy = [other for other in others if other.pending is not None]
        network = flight.recipe.stage_id("network")
        if flight.stage == "network" and any(
            other.stage == "network" and other.recipe.stage_id("network") == network
            for other in busy
        ):
            # No network is trained twice: once it is there, it is found.
            return False
        if self.executor.apart:
            making = [other for other in busy if other.stage == "network"]
            if flight.stage == "network":
                return len(making) < self.executor.width
            return len(making) == len(busy)
        if len(busy) >= self.executor.width or any(_is_alone(other) for other in busy):
            return False
        # What is still to be made comes first: it goes wide, and measuring does not.
        return not _is_alone(flight) or (not busy and all(map(_is_alone, others)))


def _is_alone(flight: Flight) -> bool:
    """Say whether a candidate's stage has to run alone where all share one machine."""
    return flight.stage == "deployment" or flight.again
