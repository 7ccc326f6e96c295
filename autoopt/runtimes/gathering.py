"""Request batching: requests that arrive at the same time are answered in one go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Deployment


@dataclass(frozen=True)
class _Waiting:
    """A request that waits for others, and where its answer goes."""

    inputs: Sequence[Array]
    answer: Future[Array] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)

    @property
    def samples(self) -> int:
        return len(self.inputs[0])


class GatheringDeployment:
    """Gathers requests of several threads until there are enough samples or the first waited long.

    While one lot is answered the next one gathers, so under load lots are full without waiting.

    Parameters
    ----------
    deployment
        Answers each lot.
    most
        Samples of a lot; a larger request is a lot of its own.
    delay
        Seconds that the first request of a lot waits for others.
    """

    def __init__(self, deployment: Deployment, most: int, delay: float) -> None:
        self._deployment = deployment
        self._most = most
        self._delay = delay
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._lock = Lock()
        self._closed = False
        # Whatever a lot raises reaches its callers as the future's exception.
        self._pool = ThreadPoolExecutor(1)
        self._thread = Thread(target=self._serve, name="autoopt-gathering", daemon=True)
        self._thread.start()

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request, together with what arrives at the same time.

        Raises
        ------
        ValueError
            If the deployment is closed.
        """
        if not len(inputs[0]):
            raise ValueError("a request must hold at least one sample, but got 0.")
        waiting = _Waiting(inputs)
        with self._lock:
            if self._closed:
                raise ValueError("this deployment is closed; load the artefact again.")
            self._queue.put(waiting)
        return waiting.answer.result()

    def close(self) -> None:
        """Answer what waits, then give threads and memory back."""
        with self._lock:
            closing, self._closed = not self._closed, True
            if closing:
                self._queue.put(None)
        self._thread.join()
        if closing:
            self._pool.shutdown()
            self._deployment.close()

    def _serve(self) -> None:
        """Answer lot after lot until closed."""
        first = self._queue.get()
        while first is not None:
            lot, first = self._gather(first)
            self._answer(lot)
            first = first or self._queue.get()

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None]:
        """Return a lot, and the request that had no room in it."""
        lot, samples = [first], first.samples
        while samples < self._most:
            left = first.since + self._delay - time.perf_counter()
            try:
                # What is there already costs no waiting, however late it is.
                found = self._queue.get(timeout=max(left, 0.0) or 1e-9)
            except Empty:
                break
            if found is None:
                # Ends the next round.
                self._queue.put(None)
                break
            if samples + found.samples > self._most or not _fit(first, found):
                return lot, found
            lot.append(found)
            samples += found.samples
        return lot, None

    def _answer(self, lot: list[_Waiting]) -> None:
        done = self._pool.submit(self._run, lot)
        if (error := done.exception()) is not None:
            for waiting in lot:
                waiting.answer.set_exception(error)
            return
        start = 0
        for waiting in lot:
            waiting.answer.set_result(done.result()[start : start + waiting.samples])
            start += waiting.samples

    def _run(self, lot: list[_Waiting]) -> Array:
        columns = zip(*(waiting.inputs for waiting in lot), strict=True)
        return self._deployment(*(np.concatenate(arrays) for arrays in columns))


def _fit(first: _Waiting, other: _Waiting) -> bool:
    """Say whether two requests differ in nothing but the number of samples."""
    pairs = zip(first.inputs, other.inputs, strict=True)
    return all(a.shape[1:] == b.shape[1:] and a.dtype == b.dtype for a, b in pairs)
