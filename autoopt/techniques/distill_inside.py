"""Distillation that looks inside: features and attention of the original's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.errors import RefusedError
from autoopt.techniques._bounds import check_number
from autoopt.techniques._guide import Comparison, Guide, channels_last
from autoopt.techniques._training import check_course, train
from autoopt.techniques.distill import soft_targets

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task
    from autoopt.watch import Watch

_TINY = 1e-8


@dataclass(frozen=True)
class Features:
    """What layers give, brought to the original's width by a linear projection.

    The distance is mean (P s − t)² / mean t², so that layers of every scale count alike.
    """

    def read(self, layer: nn.Module, output: Any) -> Tensor | None:
        """Return a layer's output, channels last."""
        found = channels_last(layer, output)
        return None if found is None else found.float()

    def projection(self, student: Tensor, teacher: Tensor) -> nn.Module | None:
        """Return the projection, or None where more than the width differs."""
        if student.shape[:-1] != teacher.shape[:-1]:
            return None
        if student.shape[-1] == teacher.shape[-1]:
            return nn.Identity()
        return nn.Linear(student.shape[-1], teacher.shape[-1])

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the relative squared distance."""
        return F.mse_loss(student, teacher) / teacher.square().mean().clamp_min(_TINY)


@dataclass(frozen=True)
class Attention:
    """Where layers look: attention weights, or the energy at each position.

    Of a layer of attention it is the mean of its heads' weights; of any other layer over space or
    time the sum of squares over channels. Both are brought to norm 1 a sample, and the distance
    is the squared one (Zagoruyko & Komodakis 2017, arXiv 1612.03928).

    Attributes
    ----------
    weights
        Compare attention weights only; otherwise only energies.
    """

    weights: bool

    def read(self, layer: nn.Module, output: Any) -> Tensor | None:
        """Return the map of a layer, one row a sample, or None if it has none."""
        if self.weights:
            found = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            is_map = isinstance(found, Tensor) and found.ndim == 4
            return _normal(found.float().mean(dim=1)) if found is not None and is_map else None
        features = channels_last(layer, output)
        if features is None or features.ndim < 3:
            return None
        return _normal(features.float().square().sum(dim=-1))

    def projection(self, student: Tensor, teacher: Tensor) -> nn.Module | None:
        """Return nothing to be trained: maps of one shape compare as they are."""
        return nn.Identity() if student.shape == teacher.shape else None

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared distance of the maps."""
        return (student - teacher).square().sum(dim=1).mean()


def _normal(maps: Tensor) -> Tensor:
    return F.normalize(maps.flatten(1), dim=1)


@dataclass(frozen=True)
class DistillFeatures:
    """Learn from what the original's layers give (Romero et al. 2015, arXiv 1412.6550).

    The loss is that of soft targets + ``beta`` · mean distance of up to four pairs of layers.
    Where widths differ, a linear projection that is trained along and then thrown away brings the
    student's to the original's.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached.
    temperature
        How much the original's outputs are softened.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the original's outputs against the labels, from 0 to 1.
    beta
        Weight of the features beside both.
    """

    epochs: int = 6
    temperature: float = 4.0
    learning_rate: float = 2e-3
    alpha: float = 0.9
    beta: float = 1.0

    watched: ClassVar[bool] = True
    """Its training can be given up and gone on with."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        _check(self)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is no layer inside that could be compared, or None."""
        if Guide(task, Features()).fits(task.model):
            return None
        return "the network has no layer but the last that gives one tensor to compare"

    def apply(self, model: nn.Module, task: Task, watch: Watch | None = None) -> nn.Module:
        """Return a trained copy in eval mode, unless the watch gives it up.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        RefusedError
            If no layer of `model` fits one of the original.
        """
        return _trained(self, model, task, Features(), watch)


@dataclass(frozen=True)
class DistillAttention:
    """Learn to look where the original looks (Zagoruyko & Komodakis 2017, arXiv 1612.03928).

    The loss is that of soft targets + ``beta`` · mean distance of up to four pairs of maps:
    attention weights in transformers, the energy at each position elsewhere.

    Attributes
    ----------
    epochs
        Passes over the train part at most; fewer when the original's quality is reached.
    temperature
        How much the original's outputs are softened.
    learning_rate
        The highest one of the schedule.
    alpha
        Weight of the original's outputs against the labels, from 0 to 1.
    beta
        Weight of the maps beside both.
    """

    epochs: int = 6
    temperature: float = 4.0
    learning_rate: float = 2e-3
    alpha: float = 0.9
    beta: float = 10.0

    watched: ClassVar[bool] = True
    """Its training can be given up and gone on with."""

    def __post_init__(self) -> None:
        """Hold the bounds."""
        _check(self)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that no layer gives a map of where it looks, or None."""
        if _maps(task.model, task) is not None:
            return None
        return "no layer of the network is laid out over space or time, so none looks anywhere"

    def apply(self, model: nn.Module, task: Task, watch: Watch | None = None) -> nn.Module:
        """Return a trained copy in eval mode, unless the watch gives it up.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        RefusedError
            If no map of `model` has the shape of one of the original.
        """
        return _trained(self, model, task, _maps(model, task) or Attention(weights=False), watch)


def _maps(model: nn.Module, task: Task) -> Attention | None:
    """Return the comparison that finds maps, attention weights first."""
    for weights in (True, False):
        comparison = Attention(weights)
        with torch.no_grad():
            if Guide(task, comparison).fits(model):
                return comparison
    return None


def _trained(
    course: DistillFeatures | DistillAttention,
    model: nn.Module,
    task: Task,
    comparison: Comparison,
    watch: Watch | None,
) -> nn.Module:
    guide = Guide(task, comparison)
    if not guide.fits(model):
        raise RefusedError("no layer of the network fits one of the original in shape")
    soft = soft_targets(task, task.teacher_outputs(), course.temperature, course.alpha)

    def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
        return soft(outputs, targets, rows, inputs) + course.beta * guide.loss()

    return train(
        model,
        task,
        loss,
        epochs=course.epochs,
        learning_rate=course.learning_rate,
        guide=guide,
        watch=watch,
    )


def _check(course: DistillFeatures | DistillAttention) -> None:
    check_course(course.epochs, course.learning_rate)
    check_number("temperature", course.temperature, above=0)
    check_number("alpha", course.alpha, least=0, most=1)
    check_number("beta", course.beta, above=0)
