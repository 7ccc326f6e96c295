"""From a recipe to a network, and from a network to an artefact, each through the cache."""

from __future__ import annotations

from autoopt.build.bench import Bench
from autoopt.build.steps import Steps

__all__ = ["Bench", "Steps"]
