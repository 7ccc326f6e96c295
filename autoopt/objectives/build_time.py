"""Time to make a candidate."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.errors import RefusedError
from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat


@dataclass(frozen=True)
class BuildTime:
    """Seconds that making the artefact's files took: conversion, quantization and their check.

    What came out of the cache counts as long as it took when it was made. Training of the network
    is not part of it.
    """

    name: str = "build_time"
    unit: str = "s"
    direction: str = "minimize"

    def measure(self, probe: Probe) -> Reading:
        """Return what the build noted."""
        if probe.build_seconds is None:
            raise RefusedError("how long this artefact took to build was not noted.")
        return Reading(Stat.exact(probe.build_seconds, self.unit))
