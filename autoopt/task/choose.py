"""Metric and loss of a task: given or guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoopt.errors import DataError, MetricError
from autoopt.task.checks import Trial
from autoopt.task.foreign import shown_as
from autoopt.task.form import Form, form_of
from autoopt.task.guess import Guess, Kind
from autoopt.task.loss import IGNORED_CLASS, Loss, given_loss
from autoopt.task.metric import Accuracy, Metric, Own, RSquared


@dataclass(frozen=True)
class Judgement:
    """How the task judges outputs.

    Attributes
    ----------
    kind
        Of the task.
    metric, loss
        Ready to use.
    form
        What the outputs say.
    notes
        What was guessed, in sentences.
    """

    kind: Kind
    metric: Metric
    loss: Loss
    form: Form
    notes: tuple[str, ...]


def choose(trial: Trial, guessed: Guess | None, metric: Any, loss: Any) -> Judgement:
    """Settle metric and loss, and try both on the model's outputs.

    Raises
    ------
    DataError
        If something is to be guessed and outputs and targets do not fit, or the loss fails.
    MetricError
        If the metric is unknown, or gives no finite number.
    UnknownNameError
        If the loss's name is unknown.
    """
    if guessed is None and (metric is None or loss is None):
        missing = " and ".join(
            name for name, value in (("metric", metric), ("loss", loss)) if value is None
        )
        raise DataError(
            f"the {missing} cannot be guessed: the model's outputs have the shape "
            f"{tuple(trial.outputs.shape)} and the targets {tuple(trial.targets.shape)} "
            f"({trial.targets.dtype}). Give `metric=` and `loss=`, or targets that fit."
            f"{_hint(trial)}"
        )
    kind: Kind = guessed.kind if guessed else "custom"
    chosen_metric = choose_metric(metric, guessed)
    chosen_loss = given_loss(loss) if guessed is None or loss is not None else guessed.loss
    notes = [*_try_metric(chosen_metric, trial, kind)]
    _try_loss(chosen_loss, trial)
    if guessed and metric is None:
        notes.append(f"metric: {chosen_metric.name}, guessed because {guessed.because}")
    if guessed and loss is None:
        notes.append(f"loss: {_words(chosen_loss)}, guessed because {guessed.because}")
    # A loss of the person's own says nothing about the outputs; what fits the targets does.
    form = form_of(guessed.loss if guessed else chosen_loss)
    return Judgement(kind, chosen_metric, chosen_loss, form, tuple(notes))


def choose_metric(metric: Any, guessed: Guess | None) -> Metric:
    """Return the metric that was given, or the guessed one.

    Raises
    ------
    MetricError
        If it is neither a known name nor a callable.
    """
    if isinstance(metric, Metric):
        return metric
    if metric is None and guessed is not None:
        return Metric(guessed.metric_name, guessed.direction, score=guessed.score)
    if isinstance(metric, str):
        return _named(metric, guessed)
    if isinstance(metric, type) or not callable(metric):
        raise MetricError(
            "`metric` must be a name or a function (outputs, targets) -> float, but got "
            f"{metric!r}."
        )
    own: Callable[..., Any] = metric
    return Metric(getattr(own, "__name__", type(own).__name__), score=Own(own))


def _named(name: str, guessed: Guess | None) -> Metric:
    if guessed is not None and name == guessed.metric_name:
        return Metric(name, guessed.direction, score=guessed.score)
    if name == "r2":
        return Metric(name, score=RSquared())
    if name == "accuracy" and guessed is None:
        return Metric(name, score=Accuracy())
    from autoopt.task.scorer import Scorer, scorer_names

    known = scorer_names()
    if name not in known:
        raise MetricError(
            f"unknown metric {name!r}; known: {', '.join(known)}; or a function "
            "(outputs, targets) -> float, greater is better."
        )
    form = form_of(guessed.loss) if guessed is not None else Form()
    return Metric(name, score=Scorer(name, form))


def _words(loss: Loss) -> str:
    name = type(loss).__name__
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _try_metric(metric: Metric, trial: Trial, kind: Kind) -> tuple[str, ...]:
    """Compute the metric once; a sample that lacks a class is no proof against it."""
    targets, outputs = trial.targets.numpy(), trial.outputs.numpy()
    classes = outputs.shape[1] if outputs.ndim > 1 and outputs.shape[1] > 1 else 2
    # Of labels and one-hot rows, each column is a class, held if it is not the same throughout.
    columns = targets.ndim == 2 and targets.shape == outputs.shape and targets.shape[1] > 1
    held = int((np.ptp(targets, axis=0) > 0).sum()) if columns else len(np.unique(targets))
    if kind == "classification" and held < classes:
        try:
            value = metric(targets, outputs)
        except MetricError:
            value = np.nan
        if not np.isfinite(value):
            count = len(targets)
            note = (
                f"metric: {metric.name} is not defined on the {count} samples that it was tried "
                "on, because they do not hold every class"
            )
            return (note,)
        return ()
    value = metric(targets, outputs)
    if not np.isfinite(value):
        raise MetricError(
            f"the metric must give a finite number, but {metric.name!r} gave {value} for "
            f"{len(targets)} samples."
        )
    return ()


def _hint(trial: Trial) -> str:
    """Return advice where class numbers seem to be stored as floats."""
    targets, outputs = trial.targets, trial.outputs
    one_each = targets[0].numel() == 1 and outputs[0].numel() > 1
    if not targets.is_floating_point() or not (one_each or targets.ndim == outputs.ndim - 1):
        return ""
    whole = bool((targets == targets.round()).all()) and bool((targets >= IGNORED_CLASS).all())
    return (
        " The targets are whole numbers stored as floats: if they are classes, use y.astype(int)."
        if whole
        else ""
    )


def _try_loss(loss: Loss, trial: Trial) -> None:
    import torch

    outputs = trial.outputs.detach().clone().requires_grad_(True)
    shapes = (
        f"outputs of shape {tuple(outputs.shape)} and targets of shape "
        f"{tuple(trial.targets.shape)} ({trial.targets.dtype})"
    )
    with shown_as(lambda cause: DataError(f"the loss failed on {shapes}: {cause}{_hint(trial)}")):
        value: Any = loss(outputs, trial.targets)
    if not isinstance(value, torch.Tensor) or value.ndim or not value.requires_grad:
        shown = (
            f"a tensor of shape {tuple(value.shape)}"
            if isinstance(value, torch.Tensor)
            else f"a {type(value).__name__}"
        )
        raise DataError(
            f"the loss must give a scalar tensor with a gradient, but gave {shown} for {shapes}."
        )
    if not bool(value.isfinite()):
        raise DataError(f"the loss must be finite, but gave {value.item()} for {shapes}.")
