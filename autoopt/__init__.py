"""Make trained PyTorch models smaller and faster by measurement.

search      search(model, data) → Search: builds and measures candidates of a joint space
open        reads a finished or running search without its model
resume      goes on with a search after a crash, a stop or a kernel restart
apply       builds and measures a recipe on another model
describe_target  prints what this machine can do, and what each runtime computes on it
load        loads what a strategy exported, where neither model nor search is known
load_together  loads several exports, each on cores of its own, to answer at the same time
Search      a running or finished search: front, trials, best, pick, panel
Strategy    one candidate with its verbs: export, predict, recipe
SearchSpace the joint space (see `search_spaces`)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.errors import AutooptError
    from autoopt.handle.applying import apply
    from autoopt.handle.handle import Search
    from autoopt.handle.reading import open_search as open
    from autoopt.handle.start import resume, search
    from autoopt.handle.strategy import Strategy
    from autoopt.loading import load, load_together
    from autoopt.machine import describe_target
    from search_spaces import SearchSpace

_HOMES = {
    "AutooptError": "autoopt.errors",
    "Search": "autoopt.handle.handle",
    "SearchSpace": "search_spaces",
    "Strategy": "autoopt.handle.strategy",
    "apply": "autoopt.handle.applying",
    "describe_target": "autoopt.machine",
    "load": "autoopt.loading",
    "load_together": "autoopt.loading",
    "open": "autoopt.handle.reading:open_search",
    "resume": "autoopt.handle.start",
    "search": "autoopt.handle.start",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the import itself costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


__version__ = "0.1.0"
__all__ = [
    "AutooptError",
    "Search",
    "SearchSpace",
    "Strategy",
    "apply",
    "describe_target",
    "load",
    "load_together",
    "open",
    "resume",
    "search",
]
