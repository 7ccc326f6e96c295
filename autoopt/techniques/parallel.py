"""How a request is spread over the processor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoopt.interfaces import Parallel
from autoopt.techniques._bounds import check_choice, check_number, check_whole

if TYPE_CHECKING:
    from autoopt.task import Task


@dataclass(frozen=True)
class _Settings:
    """Holds that settings are what their types say; their bounds are those of `Parallel`."""

    def __post_init__(self) -> None:
        """Hold the types."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                check_whole(field.name, value, 0)
            elif field.type == "float":
                check_number(field.name, value, least=0)
            else:
                check_choice(field.name, value, (False, True))


@dataclass(frozen=True)
class Default:
    """The task's threads, one replica, the whole request in one call."""

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(task.threads)


@dataclass(frozen=True)
class Tuned(_Settings):
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
        """Hold the types and the bounds."""
        super().__post_init__()
        Parallel(self.threads, self.replicas, self.batch)

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, self.replicas, self.batch)


@dataclass(frozen=True)
class InterOp(_Settings):
    """Threads within an operator, and operators of different branches at the same time.

    Attributes
    ----------
    threads
        Within an operator.
    inter_op
        Operators at the same time.
    """

    threads: int = 1
    inter_op: int = 2

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, inter_op=self.inter_op)


@dataclass(frozen=True)
class Processes(_Settings):
    """Replicas in processes of their own: no lock of an interpreter or a runtime joins them.

    Requests and answers go through shared memory. OpenVINO's processes share the weights, which
    they map from one file, as far as its kernels take them as they lie; ONNX Runtime and torch
    hold a copy in each process.

    Attributes
    ----------
    threads, replicas, batch
        As of `Tuned`.
    pinned
        Bind each process to cores of its own.
    """

    threads: int = 2
    replicas: int = 2
    batch: int = 0
    pinned: bool = False

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, self.replicas, self.batch, processes=True, pinned=self.pinned)


@dataclass(frozen=True)
class Batching(_Settings):
    """A queue that gathers requests which arrive at the same time and answers them together.

    It helps where many small requests come at once (throughput, server); a request that comes
    alone waits in vain.

    Attributes
    ----------
    threads, replicas
        As of `Tuned`.
    gather
        Samples after which it waits no longer.
    delay_ms
        Milliseconds that the first request waits for others.
    """

    threads: int = 2
    replicas: int = 1
    gather: int = 16
    delay_ms: float = 1.0

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, self.replicas, gather=self.gather, delay_ms=self.delay_ms)


@dataclass(frozen=True)
class Pipeline(_Settings):
    """Processes that each hold some of the operators; parts of a request stream through them.

    It pays where a network's weights do not fit into one cache, or its layers do not use several
    threads; what goes from stage to stage costs.

    Attributes
    ----------
    threads
        Threads of all stages together.
    stages
        Processes in a row.
    batch
        Samples that go through at a time; 0 means as many parts of a request as there are stages.
    pinned
        Bind each process to cores of its own.
    """

    threads: int = 2
    stages: int = 2
    batch: int = 0
    pinned: bool = False

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, batch=self.batch, pinned=self.pinned, stages=self.stages)


@dataclass(frozen=True)
class TensorParallel(_Settings):
    """Processes that each hold a part of every layer and exchange what they compute.

    Attributes
    ----------
    threads
        Threads of all shards together.
    shards
        Processes.
    pinned
        Bind each process to cores of its own.
    """

    threads: int = 2
    shards: int = 2
    pinned: bool = False

    def config(self, task: Task) -> Parallel:
        """Return the configuration for `task`."""
        return Parallel(self.threads, pinned=self.pinned, shards=self.shards)
