"""What is removed from the network: the second slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["PRUNING"]

# What says how much a channel or head matters: norms cost nothing, the loss's gradient sees what
# norms miss, steadiness over batches (of a unit's rank, not of its sign) distrusts single ones, and
# random is the control.
_IMPORTANCE = Choice(["l2", "l1", "taylor", "stability", "random"], usual="l2")
_ALLOCATION = Choice(["global", "uniform", "sensitivity"], usual="global")
# A cubic rise with an epoch of training after each step pays above half; it costs its epochs.
_SCHEDULE = Choice(["one_shot", "iterative"], usual="one_shot")
_EPOCHS = Choice([4, 8], usual=4)
# Shares of layers or stages fixed by hand, such as "stages.0=0, stages.2=0.75": extend it.
_LAYERS = Choice([""])
# More from late layers above zero, where the allocation is uniform: `stages` searches it.
_SLOPE = Choice([0.0])

PRUNING: Options = {
    "none": {},
    # The fraction of channels removed, those of least L2 norm in the whole network first. In
    # eighths: finer steps drown in noise, less than a quarter hardly shows in the latency.
    "magnitude": {"ratio": Choice([0.25, 0.375, 0.5, 0.625, 0.75], usual=0.5)},
    # The same with every way to rank, to share out and to take steps. Slope tilts the uniform
    # allocation: above zero more goes from late layers, which are often the redundant ones.
    "channels": {
        "ratio": Choice([0.25, 0.375, 0.5, 0.625, 0.75], usual=0.5),
        "importance": _IMPORTANCE,
        "allocation": _ALLOCATION,
        "slope": _SLOPE,
        "layers": _LAYERS,
        "schedule": _SCHEDULE,
        "epochs": _EPOCHS,
    },
    "stages": {
        "ratio": Choice([0.25, 0.375, 0.5, 0.625, 0.75], usual=0.5),
        "slope": Choice([-0.5, 0.5], usual=0.5),
        "importance": _IMPORTANCE,
    },
    # Attention heads: half of them are often idle (Michel et al., arXiv 1905.10650).
    "heads": {
        "ratio": Choice([0.25, 0.5], usual=0.25),
        "importance": _IMPORTANCE,
        "allocation": _ALLOCATION,
        "slope": _SLOPE,
        "layers": _LAYERS,
        "schedule": _SCHEDULE,
        "epochs": _EPOCHS,
    },
    # Hidden channels between two linear layers: two thirds of a transformer's weights.
    "feed_forward": {
        "ratio": Choice([0.25, 0.5, 0.75], usual=0.5),
        "importance": _IMPORTANCE,
        "allocation": _ALLOCATION,
        "slope": _SLOPE,
        "layers": _LAYERS,
        "schedule": _SCHEDULE,
        "epochs": _EPOCHS,
    },
    # Hidden units of an LSTM or a GRU, with all their gates.
    "recurrent": {
        "ratio": Choice([0.25, 0.5, 0.75], usual=0.5),
        "importance": _IMPORTANCE,
        "allocation": Choice(["global"]),
        "slope": _SLOPE,
        "layers": _LAYERS,
        "schedule": _SCHEDULE,
        "epochs": _EPOCHS,
    },
    # Whole blocks by what the loss says without them; half the depth is about what training mends.
    "blocks": {
        "ratio": Choice([0.25, 0.5], usual=0.25),
        "importance": Choice(["loss", "similarity", "random"], usual="loss"),
    },
    # Cut, train, put back with old weights, cut less: 1 puts all back, a start for a recovery.
    "regrow": {
        "ratio": Choice([0.5, 0.75], usual=0.5),
        "back": Choice([0.5, 1.0], usual=0.5),
        "importance": Choice(["l2", "taylor"], usual="l2"),
        "epochs": Choice([2, 4], usual=2),
    },
    # Single weights. No kernel here skips them: the files get smaller, the network no faster.
    # Half of the weights go nearly free; from 0.9 on an iterative schedule is worth its training.
    "sparse": {
        "sparsity": Choice([0.5, 0.75, 0.9], usual=0.75),
        "importance": Choice(["magnitude", "taylor", "stability", "random"], usual="magnitude"),
        "allocation": _ALLOCATION,
        "slope": _SLOPE,
        "layers": _LAYERS,
        "schedule": _SCHEDULE,
        "epochs": _EPOCHS,
    },
    # The patterns that sparse tensor cores know (2:4) and its neighbours.
    "pattern": {"pattern": Choice(["2:4", "1:4", "4:8"], usual="2:4")},
    # Weights shrink by this many standard deviations over the epochs: at 0.5 about a third
    # reach zero, at 2 nearly all that training does not restore.
    "soft_threshold": {
        "strength": Choice([0.5, 1.0, 2.0], usual=1.0),
        "epochs": _EPOCHS,
    },
    # A start for a recovery that prepares for the same bits later.
    "rounded": {"bits": Choice([8, 6, 4, 3], usual=4)},
}
