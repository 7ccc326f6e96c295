"""The task's own metric on the validation part."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.interfaces import Probe, Reading


@dataclass(frozen=True)
class Quality:
    """The metric of the task; its real name, unit and direction are the metric's."""

    name: str = "quality"
    unit: str = ""
    direction: str = "maximize"

    def measure(self, probe: Probe) -> Reading:
        """Score what the deployed artefact answers to the validation part."""
        return Reading(probe.score("validation"))
