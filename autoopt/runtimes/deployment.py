"""A running artefact: splits a request into chunks and spreads them over the replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from queue import Empty, LifoQueue
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
    """Answers requests with one callable a replica, several requests at a time.

    A request takes a replica that is free, and as many more as are free and it has chunks for.

    Parameters
    ----------
    replicas
        One callable a replica: arrays in, one array out, first axis samples. Each is called by
        one thread at a time, and closed if it has a ``close``.
    parallel
        How to split.
    fixed
        The only number of samples that the artefact takes; short chunks are filled up with the
        chunk's last sample and what comes out of that is thrown away.
    """

    def __init__(
        self, replicas: Sequence[Replica], parallel: Parallel, fixed: int | None = None
    ) -> None:
        # The last one that was free comes first: its caches are warm. None says closed.
        self._free: LifoQueue[Replica | None] = LifoQueue()
        for replica in reversed(replicas):
            self._free.put(replica)
        self._replicas = tuple(replicas)
        self._parallel = parallel
        self._fixed = fixed
        # The caller's thread works too, as the first replica.
        self._pool = ThreadPoolExecutor(len(replicas) - 1) if len(replicas) > 1 else None

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request: arrays whose first axis is samples, in the order of the inputs."""
        sizes = chunk_sizes(len(inputs[0]), self._parallel, self._fixed)
        mine = self._take(len(sizes))
        try:
            if len(sizes) == 1:
                return self._run(mine[0], inputs, 0, sizes[0])
            starts = [0, *np.cumsum(sizes).tolist()]
            chunks = list(zip(starts[:-1], sizes, strict=True))
            return np.concatenate(self._spread(mine, inputs, chunks))
        finally:
            for replica in reversed(mine):
                self._free.put(replica)

    def close(self) -> None:
        """Give threads and memory back when what runs is done; later requests raise ValueError."""
        for _ in self._replicas:
            self._free.get()
        self._free.put(None)
        if self._pool is not None:
            self._pool.shutdown()
        # Those that share one callable close it once.
        for replica in {id(replica): replica for replica in self._replicas}.values():
            if (close := getattr(replica, "close", None)) is not None:
                close()
        self._replicas = ()

    def _take(self, most: int) -> list[Replica]:
        """Wait for a free replica; return it and what else is free, `most` at most."""
        mine: list[Replica] = []
        with suppress(Empty):
            while len(mine) < most:
                replica = self._free.get(block=not mine)
                if replica is None:
                    # For whoever waits as well.
                    self._free.put(None)
                    raise ValueError("this deployment is closed; load the artefact again.")
                mine.append(replica)
        return mine

    def _spread(
        self, replicas: Sequence[Replica], inputs: Sequence[Array], chunks: list[tuple[int, int]]
    ) -> list[Array]:
        """Let replica r answer the chunks r, r + replicas, …; return the answers in order."""
        count = len(replicas)

        def work(index: int) -> list[Array]:
            return [self._run(replicas[index], inputs, *chunk) for chunk in chunks[index::count]]

        futures = [self._pool.submit(work, i) for i in range(1, count)] if self._pool else []
        try:
            parts = [work(0)]
        finally:
            # A replica is free again when nobody calls it any more.
            wait(futures)
        parts += [future.result() for future in futures]
        return [parts[number % count][number // count] for number in range(len(chunks))]

    def _run(self, replica: Replica, inputs: Sequence[Array], start: int, size: int) -> Array:
        part = [array[start : start + size] for array in inputs]
        if self._fixed is None or size == self._fixed:
            return replica(*part)
        missing = self._fixed - size
        filled = [np.concatenate([array, array[-1:].repeat(missing, axis=0)]) for array in part]
        return replica(*filled)[:size]
