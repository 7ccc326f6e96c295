"""Peak memory of serving."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading


@dataclass(frozen=True)
class Memory:
    """Peak resident memory, in MB (10⁶ bytes), of a fresh process that holds the runtime alone."""

    name: str = "memory"
    unit: str = "MB"
    direction: str = "minimize"
    exclusive: bool = True

    def measure(self, probe: Probe) -> Reading:
        """Serve three requests in a new process and read its high-water mark."""
        return Reading(probe.memory())
