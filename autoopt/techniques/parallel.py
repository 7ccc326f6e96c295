"""How a request is spread over the processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.interfaces import Parallel

if TYPE_CHECKING:
    from autoopt.task import Task


@dataclass(frozen=True)
class Default:
    """The task's threads, one replica, the whole request in one call."""

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(task.threads)


@dataclass(frozen=True)
class Tuned:
    """Threads, replicas and batch as searched.

    Attributes
    ----------
    threads
        Threads of all replicas together.
    replicas
        Copies that answer parts of a request at the same time.
    batch
        Samples in one call of the runtime; 0 means the whole request in one call.
    """

    threads: int = 1
    replicas: int = 1
    batch: int = 0

    def __post_init__(self) -> None:
        """Hold the bounds."""
        Parallel(self.threads, self.replicas, self.batch)

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, self.replicas, self.batch)
