"""What an executor owes to the controller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autoopt.constraint import Constraint
from autoopt.executors.cluster import Cluster
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from search_spaces import SearchSpace

if TYPE_CHECKING:
    from autoopt.evaluate import Evaluator


MEMORY_SHARE = 0.8
"""Share of the memory that is free at the start which workers of a machine may take together."""


@dataclass(frozen=True)
class WorkerSetup:
    """All that a worker needs to evaluate candidates of one search.

    Attributes
    ----------
    payload
        ``(task, techniques, objectives)``, the last two a person's own by name, as
        `autoopt.snapshot.dump` gave it: bytes in memory.
    snapshot
        Folder of the large tensors that belong to `payload`.
    cache
        Folder of the cache.
    scope
        See `autoopt.build.Bench.scope`.
    target
        Name of the target.
    objectives
        Names of the objectives.
    space
        The joint space, for what is asked beforehand.
    reference
        The original in eager float32.
    measure_seconds
        Time that a timing objective may take.
    memory_limit
        Bytes of private memory that a worker may take; 0 for no limit, None for its part of what
        is free where it starts.
    log
        File that receives what workers print.
    caps
        Bounds of the search, see `autoopt.build.Bench.caps`.
    workers
        Stages that may run at the same time on the machine.
    cluster
        Where the workers are, if not on this machine.
    """

    payload: bytes
    snapshot: Path
    cache: Path
    scope: str
    target: str
    objectives: tuple[str, ...]
    space: SearchSpace
    reference: Recipe
    measure_seconds: float
    memory_limit: int | None
    log: Path
    caps: tuple[Constraint, ...] = ()
    workers: int = 1
    cluster: Cluster | None = None

    def evaluator(self) -> Evaluator:
        """Unpack the task and return what runs its stages in this process."""
        from autoopt import snapshot
        from autoopt.build import Bench
        from autoopt.cache import Cache
        from autoopt.evaluate import Evaluator
        from autoopt.measure import MeasurePlan
        from autoopt.targets import load_target

        task, techniques, own = snapshot.load(self.payload, self.snapshot)
        plan = MeasurePlan(self.objectives, self.measure_seconds, self.target, own)
        target, cache = load_target(self.target), Cache(self.cache)
        bench = Bench(
            task, target, cache, techniques, self.scope, decodes=plan.decodes, caps=self.caps
        )
        return Evaluator(bench, plan, self.space, self.reference)


class Pending(Protocol):
    """A stage that was handed over."""

    def poll(self, seconds: float) -> Outcome | None:
        """Wait up to some seconds; return the outcome, or None while it runs."""

    def cancel(self) -> None:
        """End it now; its outcome is not asked for any more."""


class Executor(Protocol):
    """Runs several stages at a time, each isolated from the others."""

    @property
    def width(self) -> int:
        """Networks that may be made at the same time; it may change as workers come and go."""

    @property
    def apart(self) -> bool:
        """Whether what is measured has a machine of its own, on which nothing is trained.

        Artefacts are made and measured there one at a time, whatever is trained elsewhere. If not,
        whoever hands stages over starts nothing beside a measurement.
        """

    @property
    def note(self) -> str:
        """What a person should know about where stages run; empty for nothing."""

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        """Hand a stage over; beyond `timeout` seconds it becomes a failure.

        A network that cannot reach the `bar`, a quality, is given up while it is trained.
        """

    def close(self) -> None:
        """End the workers, whatever they do."""
