"""Timing a candidate beside a reference, block by block in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoopt.measurement import Stat

SETTLE_SECONDS = 0.015
"""Pause between blocks, in which the thread pool of the last block stops to spin."""

BLOCK_SECONDS = 0.04
"""Length of one block; a block has at least `BLOCK_CALLS` calls."""

BLOCK_CALLS = 2
MIN_ROUNDS = 6
FEW_ROUNDS = 3
LATE_SECONDS = 10.0
"""Time after which `FEW_ROUNDS` of a slow model are enough."""

SLOW = 5.0
"""Blocks' times that one call takes to count as slow."""

MAX_ROUNDS = 40
PRECISION = 0.02
"""Rounds end when the half width of the interval is below this share of the value."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, for normal values: the root of π/2."""


@dataclass(frozen=True)
class Paired:
    """Timings of a candidate and its reference, one inner list a block, in milliseconds."""

    candidate: list[list[float]]
    reference: list[list[float]]

    def ratio(self) -> Stat:
        """Return reference time over candidate time with its 95 % interval."""
        return ratio_stat(self.candidate, self.reference)

    def samples(self) -> dict[str, list[list[float]]]:
        """Return the raw timings."""
        return {"candidate": self.candidate, "reference": self.reference}


def ratio_stat(candidate: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Stat:
    """Return the median over rounds of reference over candidate block medians.

    Each round's blocks ran next to each other, so a drift of the machine hits both and cancels.
    The reference of a round is the mean of the blocks before and after the candidate's. Rounds,
    not calls, are the independent observations of the 95 % interval (Student's t on logarithms),
    which is widened for what neighbouring rounds share and for the median.
    """
    import numpy as np
    from scipy import stats

    middle = np.array([np.median(block) for block in reference])
    own = np.array([np.median(block) for block in candidate])
    logs = np.log((middle[:-1] + middle[1:]) / 2 / own)
    rounds = len(logs)
    value = float(np.exp(np.median(logs)))
    half = 0.0
    if rounds > 1:
        # Neighbouring rounds share a reference block: the variance of their mean is larger by
        # half of that block's own, which second differences give without the drift.
        shared = float(np.mean(np.diff(np.log(middle), 2) ** 2)) / 12
        spread = float(np.var(logs, ddof=1))
        error = MEDIAN_ERROR * np.sqrt((spread + min(shared, spread)) / rounds)
        half = float(stats.t.ppf(0.975, rounds - 1) * error)
    return Stat(value, value * float(np.exp(-half)), value * float(np.exp(half)), rounds)


def time_pairs(
    candidate: Callable[[], object], reference: Callable[[], object], *, seconds: float
) -> Paired:
    """Time two calls in alternating blocks until the interval is narrow or time is up.

    Parameters
    ----------
    candidate, reference
        Calls without arguments.
    seconds
        Wall-clock time after which no round begins, once `MIN_ROUNDS` are done.
    """
    start = time.perf_counter()
    own, other = _Warm.up(candidate), _Warm.up(reference)
    paired = Paired([], [other.block()])
    while len(paired.candidate) < MAX_ROUNDS:
        paired.candidate.append(own.block())
        paired.reference.append(other.block())
        rounds, spent = len(paired.candidate), time.perf_counter() - start
        if rounds < (MIN_ROUNDS if spent < LATE_SECONDS else FEW_ROUNDS):
            continue
        ratio = paired.ratio()
        if (ratio.high - ratio.low) / 2 < PRECISION * ratio.value or spent > seconds:
            break
    return paired


@dataclass(frozen=True)
class _Warm:
    """A call whose caches and thread pools are warm, and how it is timed.

    Attributes
    ----------
    call
        Without arguments.
    slow
        Whether one call fills a block several times over: then one call is a block, and none
        before it is needed to wake anything.
    """

    call: Callable[[], object]
    slow: bool

    @classmethod
    def up(cls, call: Callable[[], object]) -> _Warm:
        """Call for one block's time, at least a block's calls; a slow call twice."""
        begin = time.perf_counter()
        call()
        calls, slow = 1, time.perf_counter() - begin > SLOW * BLOCK_SECONDS
        while calls < (2 if slow else BLOCK_CALLS) or time.perf_counter() < begin + BLOCK_SECONDS:
            start = time.perf_counter()
            call()
            calls, slow = calls + 1, time.perf_counter() - start > SLOW * BLOCK_SECONDS
        return cls(call, slow)

    def block(self) -> list[float]:
        """Return the milliseconds of each call of one block; its first, waking call is left out."""
        time.sleep(SETTLE_SECONDS)
        if not self.slow:
            self.call()
        timings: list[float] = []
        end = time.perf_counter() + BLOCK_SECONDS
        while len(timings) < (1 if self.slow else BLOCK_CALLS) or time.perf_counter() < end:
            start = time.perf_counter()
            self.call()
            timings.append(round((time.perf_counter() - start) * 1e3, 5))
        return timings
