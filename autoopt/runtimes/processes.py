"""Replicas in processes of their own, reached through shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.shared_arrays import SharedArrays

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel

END_SECONDS = 3.0
"""How long a process may take to end by itself."""

_PROGRAM = "from autoopt.runtimes.serving import serve; serve()"


class ProcessReplica:
    """One replica of an artefact in a process of its own, bound to cores if told.

    The process lives as long as this end of its pipe: when this process dies, that one ends.

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
        self._pipe, other = Pipe()
        ends = (other.fileno(), self._inputs.fd, self._outputs.fd)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *map(str, ends)],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Its package is found where this one is, whatever the working directory.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        other.close()
        self.cores: tuple[int, ...] = ()
        job = {"folder": str(folder), "parallel": asdict(parallel), "trust_code": trust_code}
        self._pipe.send({**job, "cores": list(cores)})

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
        answer = self._receive()
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
        places = self._inputs.write(inputs)
        # One that has died is found when its answer is waited for.
        with suppress(OSError):
            self._pipe.send(places)
        answer = self._receive()
        if "error" in answer:
            raise RuntimeError(f"in the replica process {self.pid}: {answer['error']}")
        (output,) = self._outputs.read(answer["places"])
        return output.copy()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._inputs.close()
        self._outputs.close()

    def _receive(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, OSError) as error:
            code: int | None = None
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(END_SECONDS)
            raise RuntimeError(
                f"the replica process {self.pid} died (exit status {code}); its last words are in "
                "the log"
            ) from error
        return answer


def start_processes(
    folder: Path, parallel: Parallel, *, trust_code: bool = False
) -> list[ProcessReplica]:
    """Start one process a replica, all at once, and wait until all have opened the artefact.

    Raises
    ------
    RefusedError
        If there are fewer cores than processes, or than they are to be pinned to.
    ArtifactError
        If one of them cannot open it; then none is left.
    """
    there = len(os.sched_getaffinity(0))
    if parallel.replicas > there:
        raise RefusedError(
            f"{parallel.replicas} replica processes need as many cores, but this process may use "
            f"{there}; lower `replicas`."
        )
    own = replace(
        parallel, threads=parallel.share, replicas=1, processes=False, pinned=False, gather=0,
        delay_ms=0.0,
    )  # fmt: skip
    replicas: list[ProcessReplica] = []
    ready = False
    try:
        for cores in core_sets(parallel):
            replicas.append(ProcessReplica(folder, own, cores, trust_code=trust_code))
        for replica in replicas:
            replica.wait_until_ready()
        ready = True
    finally:
        if not ready:
            for replica in replicas:
                replica.close()
    return replicas


def core_sets(parallel: Parallel) -> list[tuple[int, ...]]:
    """Return the cores of each replica, of those that this process may use; empty if not pinned.

    Raises
    ------
    RefusedError
        If there are too few.
    """
    if not parallel.pinned:
        return [()] * parallel.replicas
    there = sorted(os.sched_getaffinity(0))
    share = parallel.share
    if share * parallel.replicas > len(there):
        raise RefusedError(
            f"{parallel.replicas} processes pinned to {share} cores each need "
            f"{share * parallel.replicas}, but this process may use {len(there)}; set `pinned` to "
            "false, or run it on a machine with as many."
        )
    return [tuple(there[i * share : (i + 1) * share]) for i in range(parallel.replicas)]
