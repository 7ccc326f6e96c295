"""A running artefact: splits a request into chunks and spreads them over the replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel

    Replica = Callable[..., Array]


def chunk_size(samples: int, parallel: Parallel, fixed: int | None = None) -> int:
    """Return how many samples one call of the runtime takes.

    Parameters
    ----------
    samples
        Samples of the request.
    parallel
        Replicas and batch; a batch of 0 shares the request evenly among the replicas.
    fixed
        The only number of samples that the artefact takes, or None.
    """
    if fixed is not None:
        return fixed
    share = -(-samples // parallel.replicas)
    return min(parallel.batch, samples) if parallel.batch else share


def chunk_sizes(samples: int, parallel: Parallel, fixed: int | None = None) -> tuple[int, ...]:
    """Return the sizes of the chunks that a request is split into, in order."""
    if samples < 1:
        raise ValueError(f"a request must hold at least one sample, but got {samples}.")
    size = chunk_size(samples, parallel, fixed)
    return tuple(min(size, samples - start) for start in range(0, samples, size))


class ReplicatedDeployment:
    """Answers requests with one callable a replica.

    Parameters
    ----------
    replicas
        One callable a replica: arrays in, one array out, first axis samples. Each is called by
        one thread at a time.
    parallel
        How to split.
    fixed
        The only number of samples that the artefact takes; short chunks are filled up with the
        chunk's last sample and what comes out of that is thrown away.
    """

    def __init__(
        self, replicas: Sequence[Replica], parallel: Parallel, fixed: int | None = None
    ) -> None:
        self._replicas = tuple(replicas)
        self._parallel = parallel
        self._fixed = fixed
        self._lock = Lock()
        # The caller's thread works too, as the first replica.
        self._pool = ThreadPoolExecutor(len(replicas) - 1) if len(replicas) > 1 else None

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request: arrays whose first axis is samples, in the order of the inputs."""
        with self._lock:
            if not self._replicas:
                raise ValueError("this deployment is closed; load the artefact again.")
            sizes = chunk_sizes(len(inputs[0]), self._parallel, self._fixed)
            if len(sizes) == 1:
                return self._run(self._replicas[0], inputs, 0, sizes[0])
            starts = [0, *np.cumsum(sizes).tolist()]
            chunks = list(zip(starts[:-1], sizes, strict=True))
            return np.concatenate(self._spread(inputs, chunks))

    def close(self) -> None:
        """Give threads and memory back; later requests raise ValueError."""
        with self._lock:
            self._replicas = ()
            if self._pool is not None:
                self._pool.shutdown()

    def _spread(self, inputs: Sequence[Array], chunks: list[tuple[int, int]]) -> list[Array]:
        """Let replica r answer the chunks r, r + replicas, …; return the answers in order."""
        count = min(len(self._replicas), len(chunks))

        def work(index: int) -> list[Array]:
            replica = self._replicas[index]
            return [self._run(replica, inputs, *chunk) for chunk in chunks[index::count]]

        if self._pool is None:
            return work(0)
        futures = [self._pool.submit(work, index) for index in range(1, count)]
        parts = [work(0), *(future.result() for future in futures)]
        return [parts[number % count][number // count] for number in range(len(chunks))]

    def _run(self, replica: Replica, inputs: Sequence[Array], start: int, size: int) -> Array:
        part = [array[start : start + size] for array in inputs]
        if self._fixed is None or size == self._fixed:
            return replica(*part)
        missing = self._fixed - size
        filled = [np.concatenate([array, array[-1:].repeat(missing, axis=0)]) for array in part]
        return replica(*filled)[:size]
