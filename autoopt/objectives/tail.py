"""How long the slowest requests take: MLPerf's single stream."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.clock import clock_name, ready
from autoopt.objectives.timing import outlier_share, warmed_up

ENOUGH = 400
"""Requests after which the time decides: fewer leave no bound above a 99th percentile."""

PATIENCE = 5.0
"""Times the usual seconds that a slow model may take to answer `ENOUGH` requests."""


@dataclass(frozen=True)
class TailLatency:
    """A percentile of the time to answer one request, each sent when the last one is answered.

    It is that of the machine as it was, with whatever disturbed it, since that is what a tail is
    made of: unlike the median it is not taken relative to the original. The 95 % interval comes
    from order statistics (Hahn and Meeker 1991), which assume no distribution; where too few
    requests were answered its upper bound is the slowest of them, and the protocol says so.
    """

    name: str
    share: float
    unit: str = "ms"
    direction: str = "minimize"
    exclusive: bool = True

    def measure(self, probe: Probe) -> Reading:
        """Send requests one after the other."""
        call, clock = ready(probe.deployment, probe.request)
        steady = warmed_up(call, probe.seconds, clock)
        times: list[float] = []
        begin = now = time.perf_counter()
        while now < begin + probe.seconds or (
            len(times) < ENOUGH and now < begin + PATIENCE * probe.seconds
        ):
            times.append(round(clock(call) * 1e3, 5))
            now = time.perf_counter()
        stat, bounded = percentile_stat(times, self.share)
        protocol = {
            "seconds": probe.seconds,
            "requests": len(times),
            "steady": steady,
            "clock": clock_name(clock),
            "bounded_above": bounded,
            "outliers": outlier_share([times]),
        }
        return Reading(stat, samples={"candidate": [times]}, protocol=protocol)


def percentile_stat(times: list[float], share: float) -> tuple[Stat, bool]:
    """Return a percentile in milliseconds, and whether enough values bound it from above."""
    from scipy.stats import binom

    ordered, count = sorted(times), len(times)
    low, high = (int(binom.ppf(tail, count, share)) for tail in (0.025, 0.975))
    value = ordered[min(count - 1, int(share * count))]
    bounded = high < count
    bounds = ordered[max(0, low - 1)], ordered[min(count - 1, high)]
    return Stat(value, min(bounds[0], value), max(bounds[1], value), count, "ms"), bounded


def p95() -> TailLatency:
    """Return the objective of the 95th percentile."""
    return TailLatency("latency_p95", 0.95)


def p99() -> TailLatency:
    """Return the objective of the 99th percentile."""
    return TailLatency("latency_p99", 0.99)
