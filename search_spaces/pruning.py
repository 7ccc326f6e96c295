"""What is removed from the network: the second slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["PRUNING"]

PRUNING: Options = {
    "none": {},
    # The fraction of channels removed, those of least L2 norm in the whole network first. In
    # eighths: finer steps drown in noise, less than a quarter hardly shows in the latency.
    "magnitude": {"ratio": Choice([0.25, 0.375, 0.5, 0.625, 0.75], usual=0.5)},
    # Single weights. No kernel here skips them: the files get smaller, the network no faster.
    # Half of the weights go nearly free; from 0.9 on an iterative schedule is worth its training.
    "sparse": {
        "sparsity": Choice([0.5, 0.75, 0.9], usual=0.75),
        "importance": Choice(["magnitude", "taylor", "stability", "random"], usual="magnitude"),
        "allocation": Choice(["global", "uniform", "sensitivity"], usual="global"),
        "schedule": Choice(["one_shot", "iterative"], usual="one_shot"),
        "epochs": Choice([4, 8], usual=4),
    },
    # The patterns that sparse tensor cores know (2:4) and its neighbours.
    "pattern": {"pattern": Choice(["2:4", "1:4", "4:8"], usual="2:4")},
    # Weights shrink by this many standard deviations over the epochs: at 0.5 about a third
    # reach zero, at 2 nearly all that training does not restore.
    "soft_threshold": {
        "strength": Choice([0.5, 1.0, 2.0], usual=1.0),
        "epochs": Choice([4, 8], usual=4),
    },
    # A start for a recovery that prepares for the same bits later.
    "rounded": {"bits": Choice([8, 6, 4, 3], usual=4)},
}
