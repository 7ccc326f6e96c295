"""The highest rate of requests that is answered in time: MLPerf's server scenario."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autoopt.interfaces import Parallel, Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.timing import time_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BOUND = 2.0
"""Times the original's answer to one sample, unless a bound in milliseconds is given."""

LEAST_MS = 10.0
"""Bound of networks so quick that the operating system's turns would decide, not they."""

SHARE = 0.99
"""Share of the requests that must be answered within the bound."""

WAITING = 32
"""Requests that may be in flight at once; what comes beyond them waits for its turn."""

STEPS = 5
"""Halvings of the range of rates: the last is within a thirty-second of the fastest."""

QUERIES = 100
"""Requests at a rate, at least, as far as `PATIENCE` allows."""

PATIENCE = 2.0
"""Times the usual seconds that one rate may take."""


@dataclass(frozen=True)
class Server:
    """Highest rate of requests of one sample whose 99th percentile keeps a bound.

    Requests arrive at random (a Poisson process, as in MLPerf's server scenario), whether or not
    earlier ones are answered, and the time of each counts from its arrival: what waits in a queue
    is late as well. The rate is found by halving the range up to the fastest that the candidate
    answers when all requests wait at once. The interval is the range that is left: the highest
    rate that kept the bound, and the lowest that broke it. It is 0 where none kept it.

    The requests come from this machine, which takes a share of it, as MLPerf's generator does.

    Attributes
    ----------
    bound_ms
        Milliseconds; None for twice what the original in eager float32 takes for one sample, at
        least `LEAST_MS`.
    """

    bound_ms: float | None = None
    name: str = "server"
    unit: str = "1/s"
    direction: str = "maximize"
    exclusive: bool = True

    def __post_init__(self) -> None:
        """Hold the bounds."""
        if self.bound_ms is not None and not 0 < self.bound_ms < float("inf"):
            raise ValueError(
                f"`bound_ms` must be a positive number of milliseconds, but got {self.bound_ms!r}."
            )

    def measure(self, probe: Probe) -> Reading:
        """Find the rate."""
        query = [array[:1] for array in probe.request]
        with closing(probe.open(_one_by_one(probe.parallel))) as deployment:
            reference = probe.reference or deployment
            paired = time_pairs(
                lambda: deployment(*query), lambda: reference(*query), seconds=probe.seconds / 2
            )
            reference_ms = paired.reference_ms()
            bound = self.bound_ms or max(BOUND * reference_ms, LEAST_MS)
            trial = _Trial(lambda: deployment(*query), probe.seconds)
            fastest = trial.burst()
            low, high, tried = 0.0, fastest, list[dict[str, Any]]()
            for step in range(STEPS):
                rate = (low + high) / 2
                found = trial.at(rate, bound, seed=step)
                tried.append(found)
                low, high = (rate, high) if found["kept"] else (low, rate)
        protocol = {
            "seconds": probe.seconds,
            "bound_ms": bound,
            "share": SHARE,
            "alone_ms": reference_ms / paired.ratio().value,
            "fastest_per_s": fastest,
            "rates": tried,
        }
        stat = Stat(low, low, high, STEPS, self.unit)
        return Reading(stat, reference_ms=reference_ms, protocol=protocol)


def _one_by_one(parallel: Parallel) -> Parallel:
    """Return a configuration for requests of one sample: code compiled for one, unless gathered."""
    return parallel if parallel.gather else replace(parallel, batch=1)


@dataclass(frozen=True)
class _Trial:
    """Sends requests to one candidate.

    Attributes
    ----------
    call
        Answers one request; from several threads at once.
    seconds
        How long a rate is tried, at least.
    """

    call: Callable[[], object]
    seconds: float

    def burst(self) -> float:
        """Return the requests a second when all wait at once."""
        with ThreadPoolExecutor(WAITING) as pool:
            for future in [pool.submit(self.call) for _ in range(WAITING)]:
                future.result()
            count, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < self.seconds / 4 or not count:
                for future in [pool.submit(self.call) for _ in range(WAITING)]:
                    future.result()
                count += WAITING
        return count / spent if spent > 0 else float(count)

    def at(self, rate: float, bound_ms: float, *, seed: int) -> dict[str, Any]:
        """Send requests at a rate; return what became of them.

        Returns
        -------
        dict
            ``rate``, ``seed`` (of the arrivals), ``requests``, ``p99_ms`` and ``kept``; it ends
            early when more are late than may be.
        """
        import numpy as np

        arrivals = self._arrivals(rate, seed)
        late_allowed = (1 - SHARE) * len(arrivals)
        times: list[float] = []
        late = 0
        with ThreadPoolExecutor(WAITING) as pool:
            begin = time.perf_counter()

            def answer(arrival: float) -> None:
                nonlocal late
                self.call()
                times.append((time.perf_counter() - begin - arrival) * 1e3)
                late += times[-1] > bound_ms

            futures = []
            for arrival in arrivals.tolist():
                if (wait := begin + arrival - time.perf_counter()) > 0:
                    time.sleep(wait)
                if late > late_allowed:
                    break
                futures.append(pool.submit(answer, arrival))
            for future in futures:
                future.result()
        return {
            "rate": rate,
            "seed": seed,
            "requests": len(times),
            "p99_ms": float(np.quantile(times, SHARE, method="higher")),
            "kept": late <= late_allowed,
        }

    def _arrivals(self, rate: float, seed: int) -> NDArray[np.float64]:
        """Return the seconds at which requests arrive, with exponential gaps."""
        import numpy as np

        lasting = min(max(self.seconds / 2, QUERIES / rate), PATIENCE * self.seconds)
        count = max(2, round(rate * lasting))
        return np.random.default_rng(seed).exponential(1 / rate, count).cumsum()
