"""What earlier searches over the same cache have left: their networks, and that they ended."""

from __future__ import annotations

import time
from pathlib import Path

from autoopt.cache import Cache, cache_key
from autoopt.recipe import Recipe
from autoopt.settings import Settings

_PRIVATE = ("cache", "storage", "notes", "limits")
"""Settings that do not decide about which networks a search trains."""


def paid_networks(settings: Settings) -> list[Recipe]:
    """Return the networks of this task that an earlier search left in the cache."""
    if not settings.stable:
        return []
    return [
        Recipe.from_dict(entry.meta["recipe"])
        for entry in Cache(Path(settings.cache)).entries("networks")
        if entry.meta["task"] == settings.fingerprint
    ]


def may_train(settings: Settings, study: str) -> bool:
    """Say whether new networks may be trained: not if the same search came to its end before.

    Its networks are in the cache then, and this one measures them again.
    """
    earlier = Cache(Path(settings.cache)).get("searches", _same_search(settings))
    return not settings.stable or earlier is None or earlier.meta["study"] == study


def remember(settings: Settings, study: str) -> None:
    """Note that a search came to its end, so that the same one again trains nothing new."""
    cache, key = Cache(Path(settings.cache)), _same_search(settings)
    if settings.stable and cache.get("searches", key) is None:
        with cache.write("searches", key) as (_, meta):
            meta |= {"created": time.time(), "study": study}


def _same_search(settings: Settings) -> str:
    """Return the cache key of a search: two of one key ask for the very same."""
    asked = settings.to_dict()
    return cache_key({name: value for name, value in asked.items() if name not in _PRIVATE})
