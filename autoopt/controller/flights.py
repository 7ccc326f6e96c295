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
    """

    number: int
    recipe: Recipe
    role: Role
    stage: Stage = "network"
    pending: Pending | None = None
    outcome: Outcome | None = None
    begun: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    artifact: str | None = None
    alone: bool = False

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
    """

    session: Session
    executor: Executor

    def run(self, flights: Sequence[Flight]) -> Iterator[Record]:
        """Bring candidates through their stages and yield their records, also into the log.

        Networks and artefacts are made side by side; while one candidate is measured, nothing
        else runs. One whose worker was killed among others is tried once more, alone: memory may
        have been short for several, or the worker was lost.

        Raises
        ------
        Ended
            If the search was stopped or the budget ended; what is under way is then abandoned.
        """
        flying = list(flights)
        try:
            self._check(bounded=all(flight.number > 0 for flight in flights))
            while flying:
                for flight in tuple(flying):
                    if flight not in flying:
                        continue
                    if flight.pending is None and self._may_start(flight, flying):
                        self._start(flight)
                    if flight.pending is None:
                        continue
                    outcome = flight.pending.poll(POLL_SECONDS / len(flying))
                    if outcome is None:
                        self._check(bounded=flight.number > 0)
                    elif self._ended(flight, outcome, among=len(flights)):
                        flying.remove(flight)
                        record = flight.record()
                        self.session.append("record", record.to_dict())
                        self._drop_hopeless(record, flying)
                        yield record
        except Ended:
            for flight in flying:
                self._abandon(flight)
            raise

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
        flight.pending = self.executor.start(flight.stage, flight.recipe, timeout=limit)

    def _check(self, *, bounded: bool, reserve: bool = True) -> None:
        """Raise when the search was stopped or, where `bounded`, its budget ended."""
        session = self.session
        session.follow_commands()
        if session.stopped:
            raise Ended(session.stopped)
        # The original is measured even if the budget is too short for it.
        if bounded and session.seconds_left() <= (session.reserve() if reserve else 0.0):
            raise Ended(session.spent_reason())

    def _ended(self, flight: Flight, outcome: Outcome, *, among: int) -> bool:
        """Take in the outcome of a stage and say whether it was the candidate's last."""
        flight.pending, flight.outcome = None, outcome
        following = _FOLLOWING.get(flight.stage)
        payload: dict[str, Any] = {"number": flight.number, "stage": flight.stage}
        payload |= {"next": following, "cached": False}
        if isinstance(outcome, Failure):
            payload |= {"seconds": time.perf_counter() - flight.begun, "failed": True}
            again = outcome.kind == "out_of_memory" and among > 1 and not flight.alone
            if again:
                payload["next"] = flight.stage
                flight.alone = True
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

    def _drop_hopeless(self, record: Record, flying: list[Flight]) -> None:
        """Abandon what waited for a network that cannot be made."""
        if record.failure is None or record.failure.stage != "network":
            return
        network = record.recipe.stage_id("network")
        for other in [f for f in flying if f.recipe.stage_id("network") == network]:
            flying.remove(other)
            self._abandon(other)

    def _abandon(self, flight: Flight) -> None:
        """Cut a candidate off; it is no record, and may be begun again."""
        spent = 0.0
        if flight.pending is not None:
            flight.pending.cancel()
            spent = time.perf_counter() - flight.begun
        self.session.append("abandoned", {"number": flight.number, "seconds": spent})

    def _may_start(self, flight: Flight, flying: Sequence[Flight]) -> bool:
        """Say whether a candidate's next stage may begin beside what the others do."""
        if sum(other.pending is not None for other in flying) >= self.session.job.settings.workers:
            return False
        others = [other for other in flying if other is not flight]
        if any(o.pending is not None and (o.stage == "deployment" or o.alone) for o in others):
            return False
        network = flight.recipe.stage_id("network")
        if flight.stage == "network" and any(
            other.pending is not None
            and other.stage == "network"
            and other.recipe.stage_id("network") == network
            for other in others
        ):
            # No network is trained twice: once it is there, it is found.
            return False
        if flight.stage == "deployment" or flight.alone:
            idle = all(other.pending is None for other in others)
            # What is still to be made comes first: it goes wide, and measuring does not.
            return idle and all(o.stage == "deployment" or o.alone for o in others)
        return True
