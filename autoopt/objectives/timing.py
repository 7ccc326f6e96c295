"""Timing a candidate beside a reference, block by block in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autoopt.measurement import Stat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SETTLE_SECONDS = 0.015
"""Pause between blocks, in which the thread pool of the last block stops to spin."""

BLOCK_SECONDS = 0.04
"""Length of one block; a block has at least `BLOCK_CALLS` calls."""

BLOCK_CALLS = 2
MIN_ROUNDS = 6
FEW_ROUNDS = 3
LATE = 2.0
"""Times the time given after which `FEW_ROUNDS` are enough, of a slow model or a busy machine."""

SLOW = 5.0
"""Blocks' times that one call takes to count as slow."""

MAX_ROUNDS = 40
PRECISION = 0.02
"""Rounds end when the half width of the interval is below this share of the value."""

UNSTEADY = 0.1
"""Half width of the ratio's interval, of its value, beyond which the reference may be at fault."""

ALONE = 2.0
"""Times as uncertain as the candidate's own time that the ratio then is, if it is at fault."""

STEADY_WINDOWS = 3
"""Windows in a row without a faster call than before after which a call counts as steady."""

FASTER = 0.01
"""Share by which a call must beat the fastest so far to count as faster."""

WARM_UP_SHARE = 0.25
"""Share of the time that warming up may take; what is not steady then is said so."""

OUTLIER_RANGES = 3.0
"""Interquartile ranges above the upper quartile beyond which a call is an outlier (Tukey 1977)."""

MOST_CORRELATION = 0.8
"""Of neighbouring rounds; so few of them cannot tell more from a drift."""

MEDIAN_ERROR = 1.2533
"""Standard error of a median over that of a mean, for normal values: the root of π/2."""


Clock = Callable[[Callable[[], object]], float]
"""Makes a call and returns the seconds that it took."""


def wall_seconds(call: Callable[[], object]) -> float:
    """Make a call and return the seconds that passed."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Paired:
    """Timings of a candidate and its reference, one inner list a block, in milliseconds.

    Attributes
    ----------
    candidate, reference
        All calls, outliers included; the reference has one block more, unless it was too unsteady
        to go on with.
    steady
        Whether both had stopped becoming faster before the first block.
    ended
        Why no round followed: ``"narrow"`` (the interval is), ``"time"`` or ``"rounds"``.
    """

    candidate: list[list[float]]
    reference: list[list[float]]
    steady: bool = True
    ended: str = "time"

    def ratio(self) -> Stat:
        """Return reference time over candidate time with its 95 % interval."""
        return ratio_stat(self.candidate[: len(self.reference) - 1], self.reference)

    def own(self) -> Stat:
        """Return the candidate's milliseconds with their 95 % interval, whatever the reference."""
        return own_stat(self.candidate)

    @property
    def alone(self) -> bool:
        """Whether the reference was so unsteady that dividing by it tells less than leaving it.

        Several threads that wait for each other at every operator suffer most from other users of
        the machine; what the reference then says about it does not hold for the candidate.
        """
        ratio, own = _half_width(self.ratio()), _half_width(self.own())
        return ratio > UNSTEADY and ratio > ALONE * own

    def time(self) -> tuple[Stat, float | None]:
        """Return the candidate's milliseconds, and the reference's that they are relative to.

        Without a reference, where it was too unsteady, they are what they were.
        """
        if self.alone:
            return self.own(), None
        ratio, reference = self.ratio(), self.reference_ms()
        value, low, high = (reference / x for x in (ratio.value, ratio.high, ratio.low))
        return Stat(value, low, high, ratio.n, "ms"), reference

    def reference_ms(self) -> float:
        """Return the median of the reference's block medians."""
        import numpy as np

        return float(np.median([np.median(block) for block in self.reference]))

    def samples(self) -> dict[str, list[list[float]]]:
        """Return the raw timings."""
        return {"candidate": self.candidate, "reference": self.reference}

    def protocol(self, seconds: float) -> dict[str, Any]:
        """Return how it was measured and what is odd about it, as plain values."""
        return {
            "seconds": seconds,
            "block_seconds": BLOCK_SECONDS,
            "settle_seconds": SETTLE_SECONDS,
            "wanted_half_width": PRECISION,
            "rounds": len(self.candidate),
            "paired": not self.alone,
            "calls": sum(map(len, self.candidate)),
            "steady": self.steady,
            "ended": self.ended,
            "outliers": outlier_share(self.candidate),
            "slowest_ms": max(map(max, self.candidate)),
        }


def outlier_share(blocks: Sequence[Sequence[float]]) -> float:
    """Return the share of calls far above the others; they stay in the samples and the medians."""
    import numpy as np

    calls = np.concatenate([np.asarray(block) for block in blocks])
    lower, upper = np.quantile(calls, [0.25, 0.75])
    return float(np.mean(calls > upper + OUTLIER_RANGES * (upper - lower)))


def ratio_stat(candidate: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Stat:
    """Return the median over rounds of reference over candidate block medians.

    Each round's blocks ran next to each other, so a drift of the machine hits both and cancels.
    The reference of a round is the mean of the blocks before and after the candidate's. Rounds,
    not calls, are the observations of the 95 % interval (Student's t on logarithms), which is
    widened for the median, and for what rounds share: neighbours a reference block, and all of them
    a disturbance that lasts longer than a round.
    """
    import numpy as np

    middle = np.array([np.median(block) for block in reference])
    own = np.array([np.median(block) for block in candidate])
    logs = np.log((middle[:-1] + middle[1:]) / 2 / own)
    shared = 0.0
    if len(logs) > 1:
        # Neighbouring rounds share a reference block: the variance of their mean is larger by
        # half of that block's own, which second differences give without the drift.
        shared = float(np.mean(np.diff(np.log(middle), 2) ** 2)) / 12
    return _median_stat(logs, shared)


def own_stat(candidate: Sequence[Sequence[float]]) -> Stat:
    """Return the median of block medians in milliseconds, with its 95 % interval as `ratio_stat`'s.

    What blocks share, such as a machine that is slower for all of them, is not in the interval.
    """
    import numpy as np

    logs = np.log(np.array([np.median(block) for block in candidate]))
    return replace(_median_stat(logs), unit="ms")


def _median_stat(logs: NDArray[np.float64], shared: float = 0.0) -> Stat:
    """Return the median of positive values, given as logarithms in order, and its interval.

    Parameters
    ----------
    logs
        One a round.
    shared
        Variance that neighbours have in common.
    """
    import numpy as np
    from scipy import stats

    rounds = len(logs)
    value, half = float(np.exp(np.median(logs))), 0.0
    if rounds > 1:
        spread = float(np.var(logs, ddof=1))
        spread = max(spread + min(shared, spread), _long_run_variance(logs))
        error = MEDIAN_ERROR * np.sqrt(spread / rounds)
        half = float(stats.t.ppf(0.975, rounds - 1) * error)
    return Stat(value, value * float(np.exp(-half)), value * float(np.exp(half)), rounds)


def _half_width(stat: Stat) -> float:
    """Return half of an interval's width as a share of its value."""
    return (stat.high - stat.low) / 2 / stat.value


def _long_run_variance(values: NDArray[np.float64]) -> float:
    """Return the variance that the mean of correlated values has, times their number.

    That of a first-order autoregression, whose correlation is corrected for its bias in few values
    (Marriott and Pope 1954) and taken for none where it is negative.
    """
    import numpy as np

    count = len(values)
    centred = values - values.mean()
    square = float(centred @ centred)
    found = float(centred[:-1] @ centred[1:]) / square if square else 0.0
    correlation = min(max(found + (1 + 3 * found) / count, 0.0), MOST_CORRELATION)
    return float(np.var(values, ddof=1)) * (1 + correlation) / (1 - correlation)


def time_pairs(
    candidate: Callable[[], object],
    reference: Callable[[], object],
    *,
    seconds: float,
    clock: Clock = wall_seconds,
) -> Paired:
    """Time two calls in alternating blocks until the interval is narrow or time is up.

    Parameters
    ----------
    candidate, reference
        Calls without arguments.
    seconds
        Wall-clock time after which no round begins, once `MIN_ROUNDS` are done; after `LATE` times
        as long, once `FEW_ROUNDS` are.
    clock
        What times a call of either.
    """
    start = time.perf_counter()
    share = WARM_UP_SHARE * seconds / 2
    own, other = _Warm.up(candidate, share, clock), _Warm.up(reference, share, clock)
    paired = Paired([], [other.block()], own.steady and other.steady)
    alone = False
    while True:
        paired.candidate.append(own.block())
        if not alone:
            paired.reference.append(other.block())
        rounds, spent = len(paired.candidate), time.perf_counter() - start
        # Then the time that is left is better spent on the candidate.
        alone = alone or (rounds >= FEW_ROUNDS and paired.alone)
        if rounds < (MIN_ROUNDS if spent < LATE * seconds else FEW_ROUNDS):
            continue
        if _half_width(paired.own() if alone else paired.ratio()) < PRECISION:
            return replace(paired, ended="narrow")
        if spent > seconds or rounds >= MAX_ROUNDS:
            return replace(paired, ended="time" if spent > seconds else "rounds")


def warmed_up(call: Callable[[], object], seconds: float, clock: Clock = wall_seconds) -> bool:
    """Call until steady or until a share of `seconds` is over; say whether it became steady."""
    return _Warm.up(call, WARM_UP_SHARE * seconds, clock).steady


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
    steady
        Whether it had stopped becoming faster.
    clock
        What times a call.
    """

    call: Callable[[], object]
    slow: bool
    steady: bool
    clock: Clock = wall_seconds

    @classmethod
    def up(cls, call: Callable[[], object], seconds: float, clock: Clock = wall_seconds) -> _Warm:
        """Call until it is steady: until windows in a row bring no faster call than before.

        The fastest call tells best, since what disturbs a call only ever makes it slower. A slow
        call is called twice, and a window is a quarter of a block, at least a call.

        Parameters
        ----------
        call
            Without arguments.
        seconds
            Time after which it counts as not steady, but at least a block's.
        clock
            What times a call.
        """
        begin = time.perf_counter()
        fastest, idle = _fastest(call, 0.0, clock), 0
        slow = fastest > SLOW * BLOCK_SECONDS
        while idle < STEADY_WINDOWS:
            spent = time.perf_counter() - begin
            if spent > max(seconds, BLOCK_SECONDS) and not slow:
                break
            window = _fastest(call, BLOCK_SECONDS / 4, clock)
            slow = window > SLOW * BLOCK_SECONDS
            # Against what stood before them all, so that a slow decline is seen as well.
            faster = window < (1 - FASTER) * fastest
            fastest, idle = (window, 0) if faster else (fastest, idle + 1)
            if slow:
                break
        return cls(call, slow, idle >= (1 if slow else STEADY_WINDOWS), clock)

    def block(self) -> list[float]:
        """Return the milliseconds of each call of one block; its first, waking call is left out."""
        time.sleep(SETTLE_SECONDS)
        if not self.slow:
            self.call()
        timings: list[float] = []
        end = time.perf_counter() + BLOCK_SECONDS
        while len(timings) < (1 if self.slow else BLOCK_CALLS) or time.perf_counter() < end:
            timings.append(round(self.clock(self.call) * 1e3, 5))
        return timings


def _fastest(call: Callable[[], object], seconds: float, clock: Clock) -> float:
    """Call at least once and until the time is up; return the seconds of the fastest call."""
    begin = time.perf_counter()
    fastest = float("inf")
    while True:
        fastest = min(fastest, clock(call))
        if time.perf_counter() >= begin + seconds:
            return fastest
