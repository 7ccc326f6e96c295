"""Unstructured pruning: single weights become zero, and stay so under every recovery.

No runtime here skips them: the network is as fast as before, and only its files get smaller.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError
from autoopt.factors import is_transposed_linear
from autoopt.techniques._allocation import Allocation, cubic
from autoopt.techniques._bounds import (
    check_choice,
    check_share,
    check_whole,
    missing_layer,
    read_layers,
)
from autoopt.techniques._contributions import calibration_loss
from autoopt.techniques._own_training import SCHEDULES, train_on
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._sparse_layers import (
    IMPORTANCES,
    NO_WEIGHTS,
    sparse_weights,
    weight_scores,
)

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task

# A layer of which even this much is gone still passes something on.
MOST_OF_A_LAYER = 0.98
PATTERNS = ("2:4", "1:4", "4:8")


@dataclass(frozen=True)
class SparsePruning(Rewriting):
    """Set the weights of least importance to zero.

    Attributes
    ----------
    sparsity
        Share of the weights that become zero, 0 < sparsity < 1; at most 98 % of one layer.
    importance
        ``"magnitude"``, ``"taylor"``, ``"stability"`` or ``"random"``; see `weight_scores`.
    allocation, slope, layers
        How the share is spread over the layers; see `Allocation`.
    schedule
        ``"one_shot"``, or ``"iterative"``: a cubic rise with an epoch of training after each step.
    epochs
        Steps of the iterative schedule.
    """

    sparsity: float = 0.75
    importance: Literal["magnitude", "taylor", "stability", "random"] = "magnitude"
    allocation: Literal["global", "uniform", "sensitivity"] = "global"
    slope: float = 0.0
    layers: str = ""
    schedule: Literal["one_shot", "iterative"] = "one_shot"
    epochs: int = 4

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_whole("epochs", self.epochs, 1)
        check_share("sparsity", self.sparsity)
        self._allocation()

    @property
    def trains(self) -> bool:
        """Whether it trains between steps."""
        return self.schedule == "iterative"

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is nothing to zero, or which layer named is absent, or None."""
        known = [name.rpartition(".")[0] for name in sparse_weights(task.model)]
        return missing_layer(read_layers(self.layers), known) if known else NO_WEIGHTS

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a copy with zeros; there are no edits.

        Raises
        ------
        RefusedError
            If no weight can become zero.
        """
        if reason := self.refuse_model(model):
            raise RefusedError(reason)
        network = copy.deepcopy(model).eval()
        if self.schedule == "one_shot":
            self._zero(network, task)
        else:
            for step in range(1, self.epochs + 1):
                self._zero(network, task, cubic(step, self.epochs))
                network = train_on(network, task)
        return network, ()

    def refuse_model(self, model: nn.Module) -> str | None:
        """Say that a network has nothing to zero, or None."""
        return None if sparse_weights(model) else NO_WEIGHTS

    def _zero(self, network: nn.Module, task: Task, part: float = 1.0) -> None:
        weights = sparse_weights(network)
        scores = weight_scores(network, task, self.importance)
        # What is zero already counts as gone, whatever its score.
        for name, weight in weights.items():
            scores[name] = scores[name].masked_fill(weight.detach() == 0, -torch.inf)
        before = calibration_loss(network, task) if self.allocation == "sensitivity" else 0.0

        def rise(name: str, share: float) -> float:
            weight = weights[name]
            kept = weight.detach().clone()
            zero_lowest(weight, scores[name], share)
            loss = calibration_loss(network, task)
            weight.data.copy_(kept)
            return loss - before

        shares = self._allocation().shares(scores, rise, part=part)
        for name, weight in weights.items():
            zero_lowest(weight, scores[name], shares[name])

    def _allocation(self) -> Allocation:
        return Allocation(self.sparsity, self.allocation, self.slope, self.layers, MOST_OF_A_LAYER)


@dataclass(frozen=True)
class PatternPruning(Rewriting):
    """Of every m weights in a row, along the inputs, keep the n of largest magnitude.

    2:4 is the pattern that sparse tensor cores of GPUs compute with (Mishra et al. 2021, arXiv
    2104.08378); no kernel on a processor here uses it. Layers whose inputs are no multiple of m
    stay as they are.

    Attributes
    ----------
    pattern
        ``"2:4"``, ``"1:4"`` or ``"4:8"``.
    """

    pattern: Literal["2:4", "1:4", "4:8"] = "2:4"

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("pattern", self.pattern, PATTERNS)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that no layer fits the pattern, or None."""
        return self._refusal(task.model)

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a copy with zeros; there are no edits."""
        if reason := self._refusal(model):
            raise RefusedError(reason)
        network = copy.deepcopy(model).eval()
        kept, of = map(int, self.pattern.split(":"))
        for weight, axis in self._fitting(network).values():
            weight.data.copy_(n_of_m(weight.detach(), kept, of, axis=axis))
        return network, ()

    def _refusal(self, model: nn.Module) -> str | None:
        if not sparse_weights(model):
            return NO_WEIGHTS
        if not self._fitting(model):
            return f"no layer has a number of inputs that {self.pattern} divides"
        return None

    def _fitting(self, model: nn.Module) -> Mapping[str, tuple[nn.Parameter, int]]:
        """Return the weights that the pattern divides, with the axis of their inputs."""
        of = int(self.pattern.partition(":")[2])
        found = {}
        for name, weight in sparse_weights(model).items():
            module = model.get_submodule(name.rpartition(".")[0])
            first = is_transposed_linear(module) or isinstance(
                module, nn.modules.conv._ConvTransposeNd
            )
            axis = 0 if first else 1
            if weight.shape[axis] % of == 0:
                found[name] = (weight, axis)
        return found


def zero_lowest(weight: nn.Parameter, scores: Tensor, share: float) -> None:
    """Set that share of a weight's values, those of lowest score, to zero, in place."""
    count = int(share * weight.numel() + 1e-6)
    lowest = scores.flatten().argsort(stable=True)[:count]
    kept = torch.ones(weight.numel(), dtype=weight.dtype).index_fill_(0, lowest, 0)
    weight.data.mul_(kept.reshape(weight.shape))


def n_of_m(weight: Tensor, kept: int, of: int, *, axis: int = 1) -> Tensor:
    """Return a weight in which of every `of` values along an axis only the largest stay."""
    last = weight.movedim(axis, -1)
    rows = last.reshape(-1, of)
    order = rows.abs().argsort(dim=1, descending=True, stable=True)[:, :kept]
    mask = torch.zeros_like(rows).scatter_(1, order, 1)
    return (rows * mask).reshape(last.shape).movedim(-1, axis)
