"""How an artefact does on the test part: per class and group, and where it differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import DataError, MetricError
from autoopt.handle.by_place import class_rows
from autoopt.measurement import Stat

if TYPE_CHECKING:
    import pandas as pd

    from autoopt.interfaces import Array
    from autoopt.loading import Predictor
    from autoopt.task import Task

FEWEST = 5
"""Samples below which a group's figure has no interval worth showing."""

UNKNOWN = "unknown"
"""Group of the samples that have no value in the column given."""

MOST_GROUPS = 200
MOST_EXAMPLES = 1000


@dataclass(frozen=True)
class OnTest:
    """An artefact and the original on the test part.

    Attributes
    ----------
    samples
        How many there are.
    quality, original
        Of both, with 95 % intervals.
    difference
        Quality minus the original's with the 95 % interval of the paired difference, where the
        outputs are classes; None elsewhere.
    groups
        One row a class, or a group of the column given: name, samples, both qualities. Where a
        sample has many places, one row a class with the share of its places that are right.
    disagreement
        Share of the samples on which the two answer differently (another class; for values the
        mean distance over the spread of the original's answers).
    examples
        One row a sample on which they differ, the furthest apart first: its place in the test
        part, target, both answers.
    """

    samples: int
    quality: Stat
    original: Stat
    difference: Stat | None
    groups: tuple[dict[str, Any], ...]
    disagreement: float
    examples: tuple[dict[str, Any], ...] = field(repr=False)


def on_test(
    task: Task, mine: Predictor, original: Predictor, groups: Sequence[Any] | pd.Series | None
) -> OnTest:
    """Run two artefacts on the test part and compare them.

    Raises
    ------
    DataError
        If the groups are not one for each sample of the test part.
    """
    answers, theirs, wanted = _answers(task, mine, original)
    column, name = _column(groups, wanted, task)
    classes = task.form.name == "classes" and task.form.axis == 1 and answers.ndim == 2
    apart = (
        _apart_classes(answers, theirs) if classes else _apart_values(answers, theirs)
    )  # fmt: skip
    hits = [(out.argmax(axis=1) == wanted.reshape(-1)) if classes else None
            for out in (answers, theirs)]  # fmt: skip
    return OnTest(
        samples=len(answers),
        quality=task.metric.stat(wanted, answers),
        original=task.metric.stat(wanted, theirs),
        difference=_paired(*hits) if classes else None,
        groups=tuple(
            class_rows(task.form, wanted, answers, theirs, MOST_GROUPS)
            if column is None
            else _by_group(task, wanted, answers, theirs, column, name)
        ),
        disagreement=float((apart > 0).mean()) if classes else float(apart.mean()),
        examples=tuple(_examples(wanted, answers, theirs, apart, classes=classes)),
    )


def _answers(task: Task, mine: Predictor, original: Predictor) -> tuple[Array, Array, Array]:
    """Return the answers of both and the targets of the test part, read once."""
    found: tuple[list[Array], list[Array], list[Array]] = ([], [], [])
    for inputs, targets in task.test.batches(task.request_size):
        arrays = [tensor.numpy() for tensor in inputs]
        found[0].append(mine(*arrays))
        found[1].append(original(*arrays))
        found[2].append(targets.numpy())
    answers, theirs, wanted = (np.concatenate(parts) for parts in found)
    return answers, theirs, wanted


def _column(groups: Sequence[Any] | pd.Series | None, wanted: Array, task: Task) -> tuple[Any, str]:
    """Return a group for each sample: those given, or the classes; None where there are none."""
    if groups is not None:
        name = getattr(groups, "name", None)
        column = tuple(groups) if isinstance(groups, Iterator) else groups
        shape = np.shape(np.asarray(column, dtype=object))
        if shape != (len(wanted),):
            raise DataError(
                "`groups` must hold one value for each sample of the test part, which has "
                f"{len(wanted)}, but got shape {shape}. Hand the data over as (train, "
                "valid, test), so that you know which samples these are."
            )
        return column, "group" if name is None else str(name)
    if task.kind == "classification" and wanted.ndim == 1:
        return wanted, "class"
    return None, ""


def _by_group(
    task: Task,
    wanted: Array,
    answers: Array,
    theirs: Array,
    column: Any,
    name: str,
) -> list[dict[str, Any]]:
    """Return one row a group, in order; samples of which nobody knows the group come last."""
    import pandas as pd

    codes, values = pd.factorize(pd.Series(column))
    named = sorted(enumerate(values.tolist()), key=lambda item: (str(type(item[1])), item[1]))
    order = [*named, *([(-1, UNKNOWN)] if (codes < 0).any() else [])]
    rows = []
    for code, value in order[:MOST_GROUPS]:
        inside = codes == code
        mine, other = (_stat(task, wanted[inside], out[inside]) for out in (answers, theirs))
        row = {name: value, "samples": int(inside.sum()), "original": other, "this": mine}
        rows.append(row)
    return rows


def _stat(task: Task, wanted: Array, outputs: Array) -> Stat | None:
    """Return the metric on a group, or None where it cannot be computed on it alone."""
    try:
        if len(wanted) < FEWEST:
            return Stat.exact(task.metric(wanted, outputs), task.metric.unit)
        return task.metric.stat(wanted, outputs)
    except MetricError:
        # Such as an area under a curve of a single class.
        return None


def _apart_classes(answers: Array, theirs: Array) -> Any:
    """Return how far the two are apart where they choose another class, and 0 elsewhere."""
    mine, other = _shares(answers), _shares(theirs)
    differs = mine.argmax(axis=1) != other.argmax(axis=1)
    return np.where(differs, np.abs(mine - other).sum(axis=1) / 2, 0.0)


def _shares(scores: Array) -> Any:
    """Return scores of classes as shares of one."""
    values = np.asarray(scores, np.float64)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _apart_values(answers: Array, theirs: Array) -> Any:
    """Return the mean distance of each sample's answers over the spread of the original's."""
    other = np.asarray(theirs, np.float64)
    gap = np.abs(np.asarray(answers, np.float64) - other).reshape(len(answers), -1)
    spread = float(np.std(other)) or 1.0
    return gap.mean(axis=1) / spread


def _paired(mine: Any, other: Any) -> Stat:
    """Return the difference of two accuracies on the same samples with its 95 % interval.

    Wald's interval with half a sample more in each of the four cells: without it, two that never
    differ would be known to be the same (Agresti and Min, "Simple improved confidence intervals
    for comparing matched proportions", Statistics in Medicine 24, 2005).
    """
    each = mine.astype(float) - other.astype(float)
    count, gained, lost = len(each), int((each > 0).sum()), int((each < 0).sum())
    more = count + 2
    middle = (gained - lost) / more
    half = 1.96 * ((gained + lost + 1) / more - middle**2) ** 0.5 / more**0.5
    return Stat(float(each.mean()), max(-1.0, middle - half), min(1.0, middle + half), count)


def _examples(
    wanted: Array, answers: Array, theirs: Array, apart: Any, *, classes: bool
) -> list[dict[str, Any]]:
    rows = []
    for place in np.argsort(-apart, kind="stable")[:MOST_EXAMPLES]:
        if apart[place] <= 0:
            break
        shown = [(int(out[place].argmax()) if classes else _short(out[place]))
                 for out in (theirs, answers)]  # fmt: skip
        rows.append(
            {
                "sample": int(place),
                "target": _short(wanted[place]),
                "original": shown[0],
                "this": shown[1],
                "apart": float(apart[place]),
            }
        )
    return rows


def _short(value: Any) -> Any:
    """Return a number as it is, and of an array its first few."""
    array = np.asarray(value)
    if array.size == 1:
        return array.reshape(-1)[0].item()
    shown = ", ".join(f"{item:.4g}" for item in array.reshape(-1)[:4])
    return shown + (" …" if array.size > 4 else "")
