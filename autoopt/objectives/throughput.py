"""Samples a second."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace

from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.clock import clock_name, ready
from autoopt.objectives.timing import time_pairs

REQUESTS = 8
"""Requests handed over at once, so that every replica has work."""


@dataclass(frozen=True)
class Throughput:
    """Samples a second when many requests wait at once (MLPerf's offline scenario)."""

    name: str = "throughput"
    unit: str = "1/s"
    direction: str = "maximize"
    exclusive: bool = True

    def measure(self, probe: Probe) -> Reading:
        """Answer several requests at once, beside the reference that answers one, in turn."""
        import numpy as np

        # Many requests in one call would be another batch size than the candidate's.
        batch = probe.parallel.batch or len(probe.request[0])
        many = [np.concatenate([array] * REQUESTS) for array in probe.request]
        reference = probe.reference or probe.deployment
        with closing(probe.open(replace(probe.parallel, batch=batch))) as deployment:
            call, clock = ready(deployment, many)
            other, _ = ready(reference, probe.request)
            paired = time_pairs(call, other, seconds=probe.seconds, clock=clock)
        taken, reference_ms = paired.time()
        samples = 1e3 * len(many[0])
        value, low, high = (samples / x for x in (taken.value, taken.high, taken.low))
        stat = Stat(value, low, high, taken.n, self.unit)
        protocol = {**paired.protocol(probe.seconds), "clock": clock_name(clock)}
        return Reading(stat, None, reference_ms, paired.samples(), protocol)
