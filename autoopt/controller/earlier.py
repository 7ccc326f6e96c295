"""Whether the very same search came to its end before, over the same cache."""

from __future__ import annotations

import time
from pathlib import Path

from autoopt.cache import Cache, cache_key
from autoopt.history import History
from autoopt.settings import Settings

NOTHING_TRAINED = (
    "training: none, because the very same search came to its end before; its networks are in the "
    "cache and are measured again. Another seed or budget searches on."
)

_PRIVATE = ("cache", "storage", "notes")
"""Settings that do not decide about which networks a search trains."""


def may_train(settings: Settings, history: History) -> bool:
    """Say whether new networks may be trained: not if the same search came to its end before.

    Its networks are in the cache then, and this one measures them again.
    """
    found = Cache(Path(settings.cache)).get("searches", _same_search(settings, history))
    return not settings.stable or found is None or found.meta["study"] == history.study


def remember(settings: Settings, history: History) -> None:
    """Note that a search came to its end, so that the same one again trains nothing new.

    Networks that failed are none that another could find.
    """
    cache, key = Cache(Path(settings.cache)), _same_search(settings, history)
    whole = not any(r.failure and r.failure.bars_network for r in history.records)
    if settings.stable and whole and cache.get("searches", key) is None:
        with cache.write("searches", key) as (_, meta):
            meta |= {"created": time.time(), "study": history.study}


def _same_search(settings: Settings, history: History) -> str:
    """Return the cache key of a search: two of one key ask for the very same."""
    asked = {**settings.to_dict(), "builders": history.builders}
    return cache_key({name: value for name, value in asked.items() if name not in _PRIVATE})
