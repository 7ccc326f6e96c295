"""How accuracy is won back after a cut: the slot that costs time."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["RECOVERY"]

# One value each: usual, and seldom worth a search of its own. Extend the space for others.
_ALPHA = Choice([0.9])
_TEMPERATURE = Choice([4.0])

RECOVERY: Options = {
    "none": {},
    # Batch-norm statistics measured anew, no training: first aid that takes seconds.
    "recalibrate": {},
    # Training on the labels. Few epochs, because the weights start close to good ones; a rate
    # from a tenth to a third of usual training, for the same reason.
    "finetune": {
        "epochs": Choice([4, 8], usual=4),
        "learning_rate": Choice([1e-3, 3e-3], usual=1e-3),
    },
    # The same by several processes, each with a share of every batch: for networks and data whose
    # steps are long enough to outweigh the exchange of gradients.
    "finetune_parallel": {
        "epochs": Choice([4, 8], usual=4),
        "learning_rate": Choice([1e-3, 3e-3], usual=1e-3),
        "processes": Choice([2, 4], usual=2),
    },
    # Training on the softened outputs of the original, which carry more than labels do and stand
    # more epochs before they overfit; temperatures from Hinton et al., arXiv 1503.02531.
    "distill": {
        "epochs": Choice([6, 12], usual=6),
        "temperature": Choice([2.0, 4.0], usual=4.0),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "alpha": _ALPHA,
    },
    # Training with weights rounded as they will be: where rounding after training loses too much,
    # at 4 and 2 bits above all. It decides the quantization, which is then no choice any more.
    "qat": {
        "bits": Choice([8, 4, 2], usual=4),
        "scheme": Choice(["symmetric", "affine"], usual="symmetric"),
        "epochs": Choice([4, 8], usual=4),
        "learning_rate": Choice([3e-4, 1e-3], usual=1e-3),
    },
    # The raw outputs instead: no temperature to find. Labels count as much as the original by
    # default, because outputs of large scale would drown them.
    "distill_logits": {
        "epochs": Choice([6, 12], usual=6),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "alpha": Choice([0.5, 0.9], usual=0.5),
    },
    # What layers inside give, beside soft targets. A guide for deep students, whose first layers
    # the outputs hardly reach; too heavy a weight and the student copies instead of solving.
    "distill_features": {
        "epochs": Choice([6, 12], usual=6),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "beta": Choice([0.3, 1.0, 3.0], usual=1.0),
        "temperature": _TEMPERATURE,
        "alpha": _ALPHA,
    },
    # Where layers look. Maps have norm 1, so their distances are small and weights large.
    "distill_attention": {
        "epochs": Choice([6, 12], usual=6),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "beta": Choice([3.0, 10.0, 30.0], usual=10.0),
        "temperature": _TEMPERATURE,
        "alpha": _ALPHA,
    },
    # The mean of several teachers; each snapshot costs two epochs of the original, once.
    "distill_ensemble": {
        "epochs": Choice([6, 12], usual=6),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "members": Choice([1, 2, 4], usual=2),
        "temperature": _TEMPERATURE,
        "alpha": _ALPHA,
    },
    # The student teaches the original first. Three trainings, so only few epochs each.
    "distill_reversed": {
        "epochs": Choice([4, 8], usual=4),
        "learning_rate": Choice([1e-3, 3e-3], usual=3e-3),
        "alpha": Choice([0.5, 0.9], usual=0.9),
        "temperature": _TEMPERATURE,
    },
}
