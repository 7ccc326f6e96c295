"""How the cores are used while the artefact answers a request: the last and cheapest slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice, Dimension
from search_spaces.errors import DimensionError, SpaceError
from search_spaces.menu import Options
from search_spaces.scalars import is_whole

__all__ = ["PARALLEL", "cap_threads"]

PARALLEL: Options = {
    # The threads given for the search, one replica, the whole request in one batch.
    "default": {},
    "tuned": {
        # In total, over all replicas. Powers of two: kernels split their work evenly.
        "threads": Choice([1, 2, 4], usual=2),
        # Copies that answer parts of a request at the same time.
        "replicas": Choice([1, 2], usual=2),
        # Samples a call; 0 is the whole request.
        "batch": Choice([0, 1, 4, 8, 16], usual=0),
    },
    # Branches of the network side by side: only ONNX Runtime has it, and only wide networks gain.
    "inter_op": {"threads": Choice([1, 2]), "inter_op": Choice([2, 4])},
    # Replicas that share no interpreter, each on cores of its own if pinned; a request goes
    # through shared memory, which small networks feel.
    "processes": {
        "threads": Choice([1, 2, 4], usual=2),
        "replicas": Choice([1, 2], usual=2),
        "batch": Choice([0, 1, 4, 8, 16], usual=0),
        "pinned": Choice([False, True]),
    },
    # Requests of many callers answered together: for throughput and the server scenario.
    "batching": {
        "threads": Choice([1, 2, 4], usual=2),
        "replicas": Choice([1, 2]),
        "gather": Choice([8, 16, 32], usual=16),
        "delay_ms": Choice([0.5, 2.0]),
    },
    # One network in several processes, each with operators of its own, or with a part of every
    # layer: for networks that one core's cache or one machine's memory does not hold. Only torch
    # runs them so, operator by operator.
    "pipeline": {
        "threads": Choice([2, 4], usual=2),
        "stages": Choice([2, 4], usual=2),
        "batch": Choice([0, 1, 4], usual=0),
        "pinned": Choice([False, True]),
    },
    "tensor": {
        "threads": Choice([2, 4], usual=2),
        "shards": Choice([2, 4], usual=2),
        "pinned": Choice([False, True]),
    },
}

_CAPPED = ("threads", "replicas", "inter_op", "stages", "shards")


def cap_threads(options: Options, cores: int) -> Options:
    """Leave out more threads and replicas than there are cores, and options that need more.

    Parameters
    ----------
    options : mapping
        Option → settings, as in `PARALLEL`; settings of other names stay as they are.
    cores : int
        Cores that the artefact may use, at least 1.

    Raises
    ------
    SpaceError
        If `cores` is no positive whole number.
    """
    if not is_whole(cores) or cores < 1:
        raise SpaceError(f"cores must be a whole number of at least 1; got {cores!r}")
    return {
        option: {
            name: dimension.narrow((1, cores)) if name in _CAPPED else dimension
            for name, dimension in settings.items()
        }
        for option, settings in options.items()
        if all(_fits(settings[name], cores) for name in _CAPPED if name in settings)
    }


def _fits(dimension: Dimension, cores: int) -> bool:
    """Tell whether any value is within the cores."""
    try:
        dimension.narrow((1, cores))
    except DimensionError:
        return False
    return True
