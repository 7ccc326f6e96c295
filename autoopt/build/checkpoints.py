"""Trainings that were given up, kept in the cache so that they can go on."""

from __future__ import annotations

import time
from functools import partial

from autoopt.cache import Cache
from autoopt.watch import Checkpoint, Watch

TENSORS = "checkpoint.safetensors"


def checkpointed(cache: Cache, key: str, bar: float | None) -> Watch:
    """Return a watch whose checkpoint lies in the cache.

    Parameters
    ----------
    cache
        Where it lies.
    key
        The same for trainings that can go on from one another.
    bar
        See `Watch.bar`.
    """
    return Watch(bar, partial(_load, cache, key), partial(_save, cache, key))


def _load(cache: Cache, key: str) -> Checkpoint | None:
    from safetensors.torch import load_file

    entry = cache.whole("checkpoints", key)
    if entry is None:
        return None
    said = entry.meta
    tensors = load_file(entry.folder / TENSORS)
    return Checkpoint(said["epochs"], tuple(said["scores"]), said["numbers"], tensors)


def _save(cache: Cache, key: str, checkpoint: Checkpoint) -> None:
    from safetensors.torch import save_file

    # Of two the later one has come further.
    cache.drop("checkpoints", key)
    with cache.write("checkpoints", key) as (folder, meta):
        save_file(dict(checkpoint.tensors), folder / TENSORS)
        meta |= {
            "epochs": checkpoint.epochs,
            "scores": list(checkpoint.scores),
            "numbers": dict(checkpoint.numbers),
            "created": time.time(),
        }
