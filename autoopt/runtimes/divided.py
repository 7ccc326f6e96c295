"""One network held by several processes: stages in a row, or shards of every layer."""

from __future__ import annotations

from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.child import ChildProcess
from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.deployment import chunk_sizes
from autoopt.runtimes.processes import core_sets
from autoopt.runtimes.shared_arrays import SharedArrays

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel

ENVIRONMENT = {
    # All are on this machine; its name may not resolve.
    "GLOO_SOCKET_IFNAME": "lo",
    # What is printed about the store's clean end helps nobody.
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


class DividedDeployment:
    """Answers requests with several processes that hold one network among them.

    A request is cut into chunks. Stages work on different chunks at the same time; shards work
    on each chunk together. The processes exchange tensors through gloo (`torch.distributed`), and
    end when this process does.

    Parameters
    ----------
    folder
        The artefact: a program of torch.
    parallel
        With more than one stage or shard.
    trust_code
        As of `open_artifact`.

    Raises
    ------
    RefusedError
        If there are too few cores, or the network cannot be divided so.
    ArtifactError
        If the processes cannot open the artefact; then none is left.
    """

    def __init__(self, folder: Path, parallel: Parallel, *, trust_code: bool = False) -> None:
        self._parallel = parallel
        self._fixed = read_manifest(folder).options["batch"]
        self._lock = Lock()
        self._closed = ""
        cores = core_sets(parallel)
        self._inputs, self._outputs = SharedArrays.new("inputs"), SharedArrays.new("outputs")
        self._ranks: list[ChildProcess] = []
        ready = False
        # The file through which they find each other is needed until they have.
        with TemporaryDirectory(prefix="autoopt-ranks-") as meeting:
            job = {
                "folder": str(folder),
                "parallel": asdict(parallel),
                "trust_code": trust_code,
                "meeting": str(Path(meeting) / "store"),
            }
            try:
                for rank in range(parallel.divided):
                    child = ChildProcess(
                        "autoopt.runtimes.divided_serving",
                        (self._inputs.fd, self._outputs.fd),
                        name="process",
                        environment=ENVIRONMENT,
                    )
                    self._ranks.append(child)
                    child.send({**job, "rank": rank, "cores": list(cores[rank])})
                self._wait_until_ready()
                ready = True
            finally:
                if not ready:
                    self._end("it could not be started")

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes, in the order of stages or shards."""
        return tuple(rank.pid for rank in self._ranks)

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request.

        Raises
        ------
        ValueError
            If the deployment is closed.
        RuntimeError
            If a process raised or died. The others wait for it, so all are ended then.
        """
        count = len(inputs[0])
        sizes = self._sizes(count)
        missing = sum(sizes) - count
        if missing:
            inputs = tuple(
                np.concatenate([array, array[-1:].repeat(missing, axis=0)]) for array in inputs
            )
        with self._lock:
            if self._closed:
                raise ValueError(f"this deployment is closed ({self._closed}); load it again.")
            message = {"places": self._inputs.write(inputs), "sizes": sizes}
            for rank in self._ranks:
                rank.send(message)
            answers = self._gather()
            for answer in answers:
                if "error" in answer:
                    self._end(answer["error"])
                    raise RuntimeError(f"in a process of {self._words()}: {answer['error']}")
            places = next(answer["places"] for answer in answers if "places" in answer)
            (output,) = self._outputs.read(places)
            return output[:count].copy()

    def close(self) -> None:
        """End the processes and give the memory back, once what runs is done."""
        with self._lock:
            if not self._closed:
                self._end("by its owner")

    def _sizes(self, count: int) -> list[int]:
        """Return the sizes of the chunks: without a batch as many as there are stages."""
        if self._fixed is not None:
            return [self._fixed] * -(-count // self._fixed)
        if self._parallel.batch or self._parallel.stages == 1:
            return list(chunk_sizes(count, self._parallel))
        share = -(-count // self._parallel.stages)
        return [min(share, count - start) for start in range(0, count, share)]

    def _gather(self) -> list[dict[str, Any]]:
        """Wait for everybody's answer, or until one has failed: others may wait for it in vain."""
        waiting: dict[Any, ChildProcess] = {rank.pipe: rank for rank in self._ranks}
        answers: list[dict[str, Any]] = []
        while waiting:
            for pipe in wait(list(waiting)):
                try:
                    answers.append(waiting.pop(pipe).receive())
                except RuntimeError as error:
                    answers.append({"error": str(error)})
                if "error" in answers[-1]:
                    return answers
        return answers

    def _wait_until_ready(self) -> None:
        for answer in self._gather():
            if "error" in answer:
                if answer.get("refused"):
                    raise RefusedError(answer["error"])
                raise ArtifactError(
                    f"a process of {self._words()} cannot open the artefact: {answer['error']}"
                )

    def _end(self, reason: str) -> None:
        self._closed = reason
        broken = reason != "by its owner"
        for rank in self._ranks:
            # One that waits for another's tensors does not look at its pipe.
            if broken:
                rank.kill()
            else:
                rank.close()
        self._inputs.close()
        self._outputs.close()

    def _words(self) -> str:
        stages = self._parallel.stages > 1
        return f"{self._parallel.divided} {'stages' if stages else 'shards'}"
