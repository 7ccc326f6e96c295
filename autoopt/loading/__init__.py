"""Exported strategies, running again: `load` and what it gives back."""

from __future__ import annotations

from autoopt.loading.predictor import Predictor, load, load_artifact

__all__ = ["Predictor", "load", "load_artifact"]
