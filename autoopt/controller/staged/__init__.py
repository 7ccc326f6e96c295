"""The staged search: cheap completions of networks that are there against new networks.

sampler       StagedSampler: the search as Optuna sees it
staged        StagedSearch: the decision of each round
goal          what is worth something, and what became of a recipe
opening       the first networks, far from one another
candidates    the pool that it chooses from
finalists     the networks of it that are looked at closely
models        what a candidate is expected to measure on every axis
surrogate     the same on one of them
points        points as models see them
covariance    how alike two points are taken to be
hope          what quality a network must keep to matter
view          where volumes are measured
scale         on which scale an objective is modelled
improvement   what a point would add to the hypervolume
codes         points as rows of whole numbers
features      what is known of a recipe without building it
"""

from __future__ import annotations

from autoopt.controller.staged.candidates import Kitchen
from autoopt.controller.staged.codes import Codes
from autoopt.controller.staged.goal import Goal, Observation
from autoopt.controller.staged.sampler import StagedSampler
from autoopt.controller.staged.staged import StagedSearch

__all__ = ["Codes", "Goal", "Kitchen", "Observation", "StagedSampler", "StagedSearch"]
