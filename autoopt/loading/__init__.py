"""Exported strategies, running again: `load`, `load_together` and what they give back."""

from __future__ import annotations

from autoopt.loading.predictor import Predictor, load, load_artifact
from autoopt.loading.together import Together, load_together

__all__ = ["Predictor", "Together", "load", "load_artifact", "load_together"]
