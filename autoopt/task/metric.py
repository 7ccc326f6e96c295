"""Metrics: how good outputs are, with a confidence interval."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from autoopt.errors import DivergedError, MetricError
from autoopt.measurement import Stat
from autoopt.task.foreign import shown_as
from autoopt.task.loss import IGNORED_CLASS

Array = npt.NDArray[Any]
Score = Callable[[Array, Array], float]

RESAMPLES = 200
# A metric that is slow by itself gets fewer resamples: an interval may take about this long.
RESAMPLING_SECONDS = 1.0
FEWEST_RESAMPLES = 20


@final
@dataclass(frozen=True)
class Accuracy:
    """Share of right predictions.

    Attributes
    ----------
    axis
        Axis of the outputs that holds the classes; None for one score a label.
    threshold
        Scores above it mean yes: 0 for logits, 0.5 for probabilities.
    """

    axis: int | None = 1
    threshold: float = 0.0

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the share, from 0 to 1."""
        right, counted = self.right(targets, outputs)
        return float(right[counted].mean()) if counted.any() else 0.0

    def right(self, targets: Array, outputs: Array) -> tuple[Array, Array]:
        """Return which predictions are right, and which count."""
        if self.axis is None:
            wanted = targets.reshape(outputs.shape) > 0.5
            found = outputs > self.threshold
            return found == wanted, np.ones(found.shape, dtype=bool)
        classes = outputs.argmax(axis=self.axis)
        if targets.shape == outputs.shape:
            # One-hot rows, or one probability a class.
            wanted = targets.argmax(axis=self.axis)
        else:
            wanted = targets.reshape(classes.shape)
        return classes == wanted, wanted != IGNORED_CLASS


@final
@dataclass(frozen=True)
class RSquared:
    """Coefficient of determination, 1 − residual / total sum of squares, mean of all columns."""

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the coefficient: 1 is perfect, 0 no better than the mean."""
        wanted = targets.reshape(len(targets), -1).astype(np.float64)
        residual = ((wanted - outputs.reshape(wanted.shape)) ** 2).sum(axis=0)
        total = ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)
        # As scikit-learn has it: constant targets give 1 if met, else 0.
        safe = np.where(total > 0, total, 1.0)
        each = np.where(total > 0, 1 - residual / safe, (residual == 0).astype(np.float64))
        return float(each.mean())


@final
@dataclass(frozen=True)
class Own:
    """A person's function of (outputs, targets), both NumPy arrays; greater is better."""

    function: Callable[[Array, Array], Any]

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return what the function gives."""
        return float(self.function(outputs, targets))


@final
@dataclass(frozen=True)
class Metric:
    """How good a model's outputs are.

    Attributes
    ----------
    name
        Such as ``"accuracy"`` or ``"r2"``.
    direction
        Whether greater or smaller is better.
    unit
        Of the value; empty for shares.
    score
        Computes it from (targets, outputs), arrays whose first axis is samples.
    """

    name: str
    direction: Literal["maximize", "minimize"] = "maximize"
    unit: str = ""
    score: Score = field(kw_only=True, repr=False)

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the value for raw outputs (logits or values).

        Raises
        ------
        MetricError
            If it cannot be computed; the cause is shown.
        """
        with shown_as(
            lambda cause: MetricError(
                f"the metric {self.name!r} failed on outputs of shape {outputs.shape} and "
                f"targets of shape {targets.shape}: {cause}"
            )
        ):
            return float(self.score(targets, outputs))

    def stat(self, targets: Array, outputs: Array) -> Stat:
        """Return the value with its 95 % interval.

        Wilson's interval for the accuracy of one prediction a sample, otherwise the percentiles
        of a seeded bootstrap over samples.

        Raises
        ------
        DivergedError
            If an output is not finite.
        """
        bad = outputs.size - int(np.isfinite(outputs).sum())
        if bad:
            raise DivergedError(f"{bad} of {outputs.size} outputs are NaN or infinite.")
        value = self(targets, outputs)
        if isinstance(self.score, Accuracy):
            right, counted = self.score.right(targets, outputs)
            if right.size == len(targets) and counted.all():
                return self._binomial(int(right.sum()), right.size)
        return self._bootstrap(value, targets, outputs)

    def _binomial(self, right: int, count: int) -> Stat:
        from scipy.stats import binomtest

        value = right / count
        interval = binomtest(right, count).proportion_ci(method="wilson")
        low, high = min(float(interval.low), value), max(float(interval.high), value)
        return Stat(value, low, high, count, self.unit)

    def _bootstrap(self, value: float, targets: Array, outputs: Array) -> Stat:
        generator = np.random.default_rng(0)
        values: list[float] = []
        start = time.monotonic()
        for number in range(RESAMPLES):
            late = time.monotonic() - start > RESAMPLING_SECONDS
            if late and number >= FEWEST_RESAMPLES:
                break
            rows = generator.integers(len(targets), size=len(targets))
            # A resample may miss a class, and then some metrics are not defined.
            with suppress(MetricError):
                values.append(self(targets[rows], outputs[rows]))
        defined = [item for item in values if np.isfinite(item)] or [value]
        low, high = np.percentile(defined, [2.5, 97.5]).tolist()
        return Stat(value, min(low, value), max(high, value), len(targets), self.unit)
