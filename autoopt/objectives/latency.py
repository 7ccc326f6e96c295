"""Time to answer one request."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading
from autoopt.objectives.clock import clock_name, ready
from autoopt.objectives.timing import time_pairs


@dataclass(frozen=True)
class Latency:
    """Median time to answer one request of `request_size` samples, in milliseconds.

    Whatever the candidate does inside with its batch setting, the request stays the same, so
    that candidates are comparable. The original runs in between, and what it takes meanwhile
    tells how fast the machine is, unless it is too unsteady for that. On a device the request lies
    in its memory before the clock starts, and the device's own events tell the time.
    """

    name: str = "latency"
    unit: str = "ms"
    direction: str = "minimize"
    exclusive: bool = True

    def measure(self, probe: Probe) -> Reading:
        """Time the request against the original in eager float32, in turn."""
        deployment, reference = probe.deployment, probe.reference or probe.deployment
        call, clock = ready(deployment, probe.request)
        other, _ = ready(reference, probe.request)
        paired = time_pairs(call, other, seconds=probe.seconds, clock=clock)
        stat, reference_ms = paired.time()
        protocol = {**paired.protocol(probe.seconds), "clock": clock_name(clock)}
        return Reading(stat, paired.ratio(), reference_ms, paired.samples(), protocol)
