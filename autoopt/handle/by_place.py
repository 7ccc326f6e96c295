"""How often classes are told right where a sample has many places: pixels, or tokens of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.measurement import Stat

if TYPE_CHECKING:
    from autoopt.interfaces import Array
    from autoopt.task.form import Form
    from autoopt.task.metric import Accuracy


@dataclass(frozen=True)
class _Counts:
    """Places by sample and class, and how many of them are right."""

    places: Any
    right: Any


def class_rows(
    form: Form, wanted: Array, answers: Array, theirs: Array, most: int
) -> list[dict[str, Any]]:
    """Return one row a class, in order: places and samples that hold it, and both shares right.

    Parameters
    ----------
    form
        Of the outputs, which says where their classes lie.
    wanted, answers, theirs
        Targets, and the outputs of an artefact and of the original.
    most
        Classes that are shown; of more those that are most frequent.
    """
    if form.axis is None or answers.ndim < 3 or not wanted.size:
        return []
    truth, counted = _truth(form, wanted, answers)
    numbers, sizes = np.unique(truth[counted], return_counts=True)
    shown = np.sort(numbers[np.argsort(-sizes, kind="stable")[:most]])
    mine, other = (_counts(form, wanted, out, shown) for out in (answers, theirs))
    return [
        {
            "class": int(number),
            "places": int(mine.places[:, column].sum()),
            "samples": int((mine.places[:, column] > 0).sum()),
            "figure": "share right",
            "original": _share(other.right[:, column], other.places[:, column]),
            "this": _share(mine.right[:, column], mine.places[:, column]),
        }
        for column, number in enumerate(shown)
    ]


def _reading(form: Form) -> Accuracy:
    from autoopt.task.metric import Accuracy  # with torch, which reading a search goes without

    return Accuracy(form.axis)


def _moved(form: Form, wanted: Array, outputs: Array) -> tuple[Array, Array]:
    """Return targets and outputs of the same places."""
    if not form.shift:
        return wanted, outputs
    return wanted[:, form.shift :], outputs[:, : outputs.shape[1] - form.shift]


def _truth(form: Form, wanted: Array, outputs: Array) -> tuple[Any, Any]:
    """Return the class of each place, and which places count, a row a sample."""
    targets, scores = _moved(form, wanted, outputs)
    _, counted = _reading(form).right(targets, scores)
    one_hot = targets.shape == scores.shape
    truth: Any = targets.argmax(axis=form.axis) if one_hot else targets
    return truth.reshape(len(wanted), -1), counted.reshape(len(wanted), -1)


def _counts(form: Form, wanted: Array, outputs: Array, shown: Any) -> _Counts:
    """Count places of the classes shown, by sample."""
    truth, counted = _truth(form, wanted, outputs)
    right, _ = _reading(form).right(*_moved(form, wanted, outputs))
    inside = counted & np.isin(truth, shown)
    columns = np.searchsorted(shown, truth[inside])
    cells = np.nonzero(inside)[0] * len(shown) + columns
    shape = (len(wanted), len(shown))
    hits = right.reshape(len(wanted), -1)[inside]
    return _Counts(
        np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape),
        np.bincount(cells, weights=hits, minlength=shape[0] * shape[1]).reshape(shape),
    )


def _share(right: Any, places: Any) -> Stat:
    """Return a share with its 95 % interval.

    Places of one sample resemble each other, so that the samples are what was drawn: Wilson's
    interval with as many trials as give the variance of the ratio over samples (Cochran, "Sampling
    Techniques", 1977, 6.3), at most one a place, and one a sample where nothing varies.
    """
    total, held = float(places.sum()), int((places > 0).sum())
    share = float(right.sum()) / total
    spread = float(((right - share * places) ** 2).sum()) * held / max(1, held - 1)
    trials = min(total, share * (1 - share) * total**2 / spread) if spread > 0 else float(held)
    z = 1.96
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * (share * (1 - share) / trials + (z / (2 * trials)) ** 2) ** 0.5 / (1 + z**2 / trials)
    return Stat(share, min(share, middle - half), max(share, middle + half), held)
