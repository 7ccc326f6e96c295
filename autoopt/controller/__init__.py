"""The search: what is next, what became of it, and when to end.

controller    SearchController: candidate after candidate until the budget ends
staged        the staged search, our sampler; staged_policy has it choose in a real search
policy        the same choice with any other sampler of Optuna's
baselines     what always runs first
costs         what stages cost, learnt from the log
allowance     how many networks a budget allows
forms         one form for parallel configurations that do the same
earlier       what earlier searches left in the cache
importance    which settings mattered, by Optuna's evaluators
study         Optuna: proposals, and a copy for dashboards
parameters    the space in Optuna's terms
job, setup, launching, __main__    the controller's process
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.controller.controller import SearchController
    from autoopt.controller.importance import importances
    from autoopt.controller.job import Job
    from autoopt.controller.launching import Launched, launch

_HOMES = {
    "Job": "job",
    "Launched": "launching",
    "SearchController": "controller",
    "importances": "importance",
    "launch": "launching",
}


def __getattr__(name: str) -> Any:
    """Import on use: a kernel that starts a controller never needs Optuna."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["Job", "Launched", "SearchController", "importances", "launch"]
