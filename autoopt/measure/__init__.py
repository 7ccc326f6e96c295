"""Measuring a deployed artefact."""

from __future__ import annotations

from autoopt.measure.lock import device_lock
from autoopt.measure.measure import MeasurePlan, measure_artifact
from autoopt.measure.memory import serving_memory

__all__ = ["MeasurePlan", "device_lock", "measure_artifact", "serving_memory"]
