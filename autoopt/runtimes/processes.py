"""Replicas in processes of their own, reached through shared memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.child import ChildProcess
from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.shared_arrays import SharedArrays

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel


class ProcessReplica:
    """One replica of an artefact in a process of its own, bound to cores if told.

    Parameters
    ----------
    folder
        The artefact.
    parallel
        Of the one replica.
    cores
        Those that the process is bound to; empty for no binding.
    trust_code
        As of `open_artifact`.
    """

    def __init__(
        self, folder: Path, parallel: Parallel, cores: Sequence[int], *, trust_code: bool = False
    ) -> None:
        self._inputs, self._outputs = SharedArrays.new("inputs"), SharedArrays.new("outputs")
        memory = (self._inputs.fd, self._outputs.fd)
        self._process = ChildProcess("autoopt.runtimes.serving", memory, name="replica process")
        self.cores: tuple[int, ...] = ()
        job = {"folder": str(folder), "parallel": asdict(parallel), "trust_code": trust_code}
        self._process.send({**job, "cores": list(cores)})

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the process has opened the artefact.

        Raises
        ------
        ArtifactError
            If it could not, with its reason.
        """
        answer = self._process.receive()
        if "error" in answer:
            raise ArtifactError(f"a replica process cannot open the artefact: {answer['error']}")
        self.cores = tuple(answer["cores"])

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request.

        Raises
        ------
        RuntimeError
            If the process has died, or what its runtime raised.
        """
        self._process.send(self._inputs.write(inputs))
        answer = self._process.receive()
        if "error" in answer:
            raise RuntimeError(f"in the replica process {self.pid}: {answer['error']}")
        (output,) = self._outputs.read(answer["places"])
        return output.copy()

    def close(self) -> None:
        """End the process."""
        self._process.close()
        self._inputs.close()
        self._outputs.close()


def start_processes(
    folder: Path, parallel: Parallel, *, trust_code: bool = False, cores: Sequence[int] = ()
) -> list[ProcessReplica]:
    """Start one process a replica, all at once, and wait until all have opened the artefact.

    Pinned ones take the first of `cores`, or of those that this process may use.

    Raises
    ------
    RefusedError
        If there are fewer cores than processes, or than they are to be pinned to.
    ArtifactError
        If one of them cannot open it; then none is left.
    """
    own = replace(
        parallel, threads=parallel.share, replicas=1, processes=False, pinned=False, gather=0,
        delay_ms=0.0,
    )  # fmt: skip
    replicas: list[ProcessReplica] = []
    ready = False
    try:
        for mine in core_sets(parallel, cores):
            replicas.append(ProcessReplica(folder, own, mine, trust_code=trust_code))
        for replica in replicas:
            replica.wait_until_ready()
        ready = True
    finally:
        if not ready:
            for replica in replicas:
                replica.close()
    return replicas


def core_sets(parallel: Parallel, cores: Sequence[int] = ()) -> list[tuple[int, ...]]:
    """Return the cores of each process, out of `cores` or all that this one may use.

    Those of a process are empty where it is not pinned.

    Raises
    ------
    RefusedError
        If there are too few.
    """
    count, share = parallel.processes_needed, parallel.share
    there = sorted(cores or os.sched_getaffinity(0))
    if count > len(there):
        raise RefusedError(
            f"{count} processes need as many cores, but this process may use {len(there)}; lower "
            "`replicas`, `stages` or `shards`."
        )
    if not parallel.pinned:
        return [()] * count
    if share * count > len(there):
        raise RefusedError(
            f"{count} processes pinned to {share} cores each need {share * count}, but this "
            f"process may use {len(there)}; set `pinned` to false, or run it on a machine with as "
            "many."
        )
    return [tuple(there[i * share : (i + 1) * share]) for i in range(count)]
