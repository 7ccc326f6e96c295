"""From a recipe to a network, and from a network to an artefact, each through the cache."""

from __future__ import annotations

from autoopt.build.bench import Bench
from autoopt.build.fitting import Change, Fitting
from autoopt.build.roles import Layer, layers_of
from autoopt.build.steps import Steps
from autoopt.build.survey import survey

__all__ = ["Bench", "Change", "Fitting", "Layer", "Steps", "layers_of", "survey"]
