"""The search: what is next, what became of it, and when to end.

controller    SearchController: candidate after candidate until the budget ends
policy        a new network, or a completion of one that is there
baselines     what always runs first
costs         what stages cost, learnt from the log
study         Optuna: proposals, and a copy for dashboards
job, setup, launching, __main__    the controller's process
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.controller.controller import SearchController
    from autoopt.controller.job import Job
    from autoopt.controller.launching import Launched, launch

_HOMES = {
    "Job": "job",
    "Launched": "launching",
    "SearchController": "controller",
    "launch": "launching",
}


def __getattr__(name: str) -> Any:
    """Import on use: a kernel that starts a controller never needs Optuna."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["Job", "Launched", "SearchController", "launch"]
