"""Samples that ranges of activations are found on, and the ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.precision import Histogram, activation_range

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Quantization
    from autoopt.task import Task

CALIBRATION = 256

Answer = Callable[[tuple["Array", ...]], Mapping[str, "Array"]]


def calibration_batches(task: Task) -> Iterator[tuple[Array, ...]]:
    """Go through at most `CALIBRATION` calibration samples, a request at a time.

    All batches are of the request's size, which even an artefact of a fixed size takes.
    """
    size = len(task.example[0])
    inputs = [x.numpy() for x in task.calibration.inputs(min(CALIBRATION, len(task.calibration)))]
    count = len(inputs[0])
    if count < size:
        # Repeats do not change ranges.
        inputs = [np.resize(x, (size, *x.shape[1:])) for x in inputs]
        count = size
    for start in range(0, count - size + 1, size):
        yield tuple(x[start : start + size] for x in inputs)


def activation_ranges(
    answer: Answer, batches: Sequence[tuple[Array, ...]], request: Quantization
) -> dict[str, tuple[float, float]]:
    """Return the range of each activation that a request's calibration finds.

    The samples run twice: histograms need to know their ends.

    Parameters
    ----------
    answer
        Gives the activations of a batch by their names; what is not float is passed over.
    batches
        Calibration samples.
    request
        Says how to calibrate.
    """
    ends: dict[str, tuple[float, float]] = {}
    for batch in batches:
        for name, values in _floats(answer(batch)):
            low, high = ends.get(name, (np.inf, -np.inf))
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    histograms = {name: Histogram.empty(*bounds) for name, bounds in ends.items()}
    for batch in batches:
        for name, values in _floats(answer(batch)):
            histograms[name] = histograms[name].add(values)
    symmetric = request.activations == "symmetric"
    return {
        name: activation_range(
            histogram, request.calibration, symmetric=symmetric, share=request.percentile
        )
        for name, histogram in histograms.items()
    }


def _floats(found: Mapping[str, Array]) -> Iterator[tuple[str, Any]]:
    for name, values in found.items():
        if values.dtype == np.float32 and values.size and np.isfinite(values).all():
            yield name, values
