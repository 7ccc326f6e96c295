"""Any scikit-learn scorer, on outputs that are there already."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from autoopt.task.form import Form

Array = npt.NDArray[Any]


class _Replay(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type information
    """An estimator whose input is the outputs of a model."""

    fitted_ = True

    def fit(self, outputs: Array, targets: Array) -> _Replay:
        return self


class _Regressor(RegressorMixin, _Replay):  # type: ignore[misc]  # as above
    def predict(self, outputs: Array) -> Array:
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


class _Classifier(ClassifierMixin, _Replay):  # type: ignore[misc]  # as above
    """One logit (or probability) for the second of two classes, or one logit a class."""

    def __init__(self, classes: int, probabilities: bool) -> None:
        self.classes = classes
        self.probabilities = probabilities
        self.classes_ = np.arange(classes)

    def predict_proba(self, outputs: Array) -> Array:
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            column = outputs.reshape(-1).astype(np.float64)
            yes = column if self.probabilities else expit(column)
            return np.stack([1 - yes, yes], axis=1)
        found: Array = softmax(outputs.astype(np.float64), axis=1)
        return found

    def predict(self, outputs: Array) -> Array:
        found: Array = self.predict_proba(outputs).argmax(axis=1)
        return found

    def decision_function(self, outputs: Array) -> Array:
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            return outputs.reshape(-1)
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs


class _Labels(ClassifierMixin, _Replay):  # type: ignore[misc]  # as above
    """One logit (or probability) for each of several yes or no."""

    def __init__(self, labels: int, probabilities: bool) -> None:
        self.labels = labels
        self.probabilities = probabilities
        # As scikit-learn's forests have it, by which its scorers know several labels.
        self.classes_ = [np.arange(2)] * labels

    def predict_proba(self, outputs: Array) -> Array:
        scores = outputs.astype(np.float64)
        found: Array = scores if self.probabilities else expit(scores)
        return found

    def predict(self, outputs: Array) -> Array:
        found: Array = (self.predict_proba(outputs) > 0.5).astype(np.int64)
        return found

    def decision_function(self, outputs: Array) -> Array:
        return outputs


def scorer_names() -> tuple[str, ...]:
    """Return all names that scikit-learn knows."""
    return tuple(get_scorer_names())


@final
@dataclass(frozen=True)
class Scorer:
    """A scikit-learn scorer by name; greater is better, errors are negative.

    Attributes
    ----------
    name
        Such as ``"f1_macro"``, ``"roc_auc_ovr"`` or ``"neg_mean_absolute_error"``.
    form
        What the outputs say.
    """

    name: str
    form: Form

    def __call__(self, targets: Array, outputs: Array) -> float:
        """Return the score."""
        wanted = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
        single = outputs.ndim == 1 or outputs.shape[1] == 1
        estimator: Any
        if self.form.name not in ("classes", "labels"):
            estimator = _Regressor()
        elif single or self.form.name == "classes":
            estimator = _Classifier(2 if single else outputs.shape[1], self.form.probabilities)
            one_hot = not single and wanted.shape == outputs.shape
            wanted = (wanted.argmax(axis=1) if one_hot else wanted).astype(np.int64)
        else:
            estimator = _Labels(outputs.shape[1], self.form.probabilities)
            wanted = wanted.astype(np.int64)
        with warnings.catch_warnings():
            # Where a score is not defined it is NaN or 0, and that is looked at by the caller.
            warnings.simplefilter("ignore")
            return float(get_scorer(self.name)(estimator, outputs, wanted))
