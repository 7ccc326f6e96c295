"""Bytes on disk."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat


@dataclass(frozen=True)
class Size:
    """Size of the artefact's model files in MB (10⁶ bytes)."""

    name: str = "size"
    unit: str = "MB"
    direction: str = "minimize"

    def measure(self, probe: Probe) -> Reading:
        """Add up the files."""
        return Reading(Stat.exact(probe.size_bytes / 1e6, self.unit))
