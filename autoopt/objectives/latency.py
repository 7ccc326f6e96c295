"""Time to answer one request."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.timing import time_pairs


@dataclass(frozen=True)
class Latency:
    """Median time to answer one request of `request_size` samples, in milliseconds.

    Whatever the candidate does inside with its batch setting, the request stays the same, so
    that candidates are comparable.
    """

    name: str = "latency"
    unit: str = "ms"
    direction: str = "minimize"
    exclusive: bool = True

    def measure(self, probe: Probe) -> Reading:
        """Time the request against the original in eager float32, in turn."""
        deployment, reference = probe.deployment, probe.reference or probe.deployment
        paired = time_pairs(
            lambda: deployment(*probe.request),
            lambda: reference(*probe.request),
            seconds=probe.seconds,
        )
        speedup = paired.ratio()
        reference_ms = paired.reference_ms()
        stat = Stat(
            reference_ms / speedup.value,
            reference_ms / speedup.high,
            reference_ms / speedup.low,
            speedup.n,
            self.unit,
        )
        protocol = paired.protocol(probe.seconds)
        return Reading(stat, speedup, reference_ms, paired.samples(), protocol)
