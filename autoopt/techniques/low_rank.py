"""Factorization: layers become products of two smaller ones by singular value decomposition."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from autoopt.errors import RefusedError
from autoopt.factors import as_matrix, largest_rank, pair, truncated, unfit
from autoopt.plan import Factor
from autoopt.replay import replay
from autoopt.techniques._bounds import check_choice, check_share
from autoopt.techniques._moments import second_moments
from autoopt.techniques._rewriting import Rewriting
from autoopt.techniques._trial import runnable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoopt.interfaces import Target
    from autoopt.task import Task

ALIGNMENT = 8
# Layers of fewer outputs or inputs, such as the first and the last, lose much and gain little.
NARROWEST = 16
# Keeps the whitening of inputs that are never seen, or always alike, invertible.
DAMPING = 1e-4

_SCHEMES = ("channel", "spatial")
_NONE = "no layer of this network would get smaller by being split into two at this rank"


class _Factorization(Rewriting):
    """What all factorizations share: which layers, and what is refused."""

    scheme: Literal["channel", "spatial"]

    @abstractmethod
    def rank(self, matrix: Tensor) -> int:
        """Return the rank for a weight."""

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that no layer can be split, or None."""
        if _layers(task.model):
            return None
        return (
            "the network has no linear layer and no ungrouped convolution of real weights of its "
            f"own that is at least {NARROWEST} wide"
        )

    def edits(self, model: nn.Module, task: Task) -> tuple[Factor, ...]:
        """Return the layers to split; those that would grow, or that must stay whole, stay.

        Raises
        ------
        RefusedError
            If no layer would get smaller, or the network does not run with any of them split.
        """
        edits = []
        for name in _layers(model):
            layer = model.get_submodule(name)
            scheme = self.scheme if unfit(layer, self.scheme) is None else "channel"
            rank = self.rank(as_matrix(layer, scheme))
            if rank <= largest_rank(layer, scheme):
                edits.append(Factor(name, rank, scheme))
        if not edits:
            raise RefusedError(_NONE)
        return runnable(model, task, edits)

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Factor, ...]]:
        """Return a copy with the layers split, and the edits."""
        edits = self.edits(model, task)
        return replay(model, edits).eval(), edits


@dataclass(frozen=True)
class Svd(_Factorization):
    """Split layers by truncated SVD, all at the same share of their full rank.

    A convolution is split over its channels (Zhang et al. 2015, arXiv 1505.06798) or over the two
    sides of its kernel (Jaderberg et al. 2014, arXiv 1405.3866); kernels of 1 × 1 only over
    channels. A layer that would grow stays whole.

    Attributes
    ----------
    fraction
        Share of the full rank that stays, 0 < fraction < 1; ranks of 16 and more are rounded to 8.
    scheme
        ``"channel"`` or ``"spatial"``.
    """

    fraction: float = 0.25
    scheme: Literal["channel", "spatial"] = "channel"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("fraction", self.fraction)
        check_choice("scheme", self.scheme, _SCHEMES)

    def rank(self, matrix: Tensor) -> int:
        """Return the rank for a weight."""
        return _aligned(self.fraction * min(matrix.shape))


@dataclass(frozen=True)
class SvdEnergy(_Factorization):
    """Split layers by truncated SVD, each at the rank that keeps a share of its energy.

    The energy of a weight is the sum of its squared singular values: redundant layers are cut
    deeper than others. A layer that would grow stays whole.

    Attributes
    ----------
    energy
        Share that stays, 0 < energy < 1.
    scheme
        As in `Svd`.
    """

    energy: float = 0.9
    scheme: Literal["channel", "spatial"] = "channel"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("energy", self.energy)
        check_choice("scheme", self.scheme, _SCHEMES)

    def rank(self, matrix: Tensor) -> int:
        """Return the rank for a weight."""
        energies = torch.linalg.svdvals(matrix.double()).square()
        shares = energies.cumsum(0) / energies.sum()
        return int((shares < self.energy).sum()) + 1


@dataclass(frozen=True)
class ActivationSvd(_Factorization):
    """Split layers where it changes their outputs least, not their weights.

    With E[x xᵀ] = S Sᵀ of the layer's inputs on calibration data (Cholesky), the truncated SVD of
    W S gives the product L R = (W S)ᵣ S⁻¹ that minimises E‖W x − L R x‖² at that rank (Wang et
    al. 2024, arXiv 2403.07378; Yuan et al. 2023, arXiv 2312.05821).

    Attributes
    ----------
    fraction
        Share of the full rank that stays, 0 < fraction < 1; ranks of 16 and more are rounded to 8.
    """

    fraction: float = 0.25
    scheme: Literal["channel"] = "channel"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("fraction", self.fraction)
        check_choice("scheme", self.scheme, ("channel",))

    def rank(self, matrix: Tensor) -> int:
        """Return the rank for a weight."""
        return _aligned(self.fraction * min(matrix.shape))

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Factor, ...]]:
        """Return a copy with the layers split, and the edits."""
        edits = self.edits(model, task)
        moments = second_moments(model, task, [edit.module for edit in edits])
        network: Any = replay(model, edits).eval()
        for edit in edits:
            layer = model.get_submodule(edit.module)
            if edit.module in moments:
                left, right = whitened(as_matrix(layer), moments[edit.module], edit.rank)
                made = pair(layer, left, right)
                network.get_submodule(edit.module).load_state_dict(made.state_dict())
        return network, edits


def whitened(matrix: Tensor, moment: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return L and R of that rank which change the outputs least for inputs of that moment.

    The moment is E[x xᵀ], or its diagonal alone, which then weighs the inputs one by one.
    """
    moment = moment.double()
    if moment.ndim == 1:
        scales = (moment + DAMPING * moment.mean().clamp_min(1e-12)).sqrt()
        left, scaled = truncated(matrix.double() * scales, rank)
        return left.to(matrix.dtype), (scaled / scales).to(matrix.dtype)
    damping = DAMPING * moment.diagonal().mean().clamp_min(1e-12)
    s = torch.linalg.cholesky(moment + damping * torch.eye(len(moment), dtype=moment.dtype))
    left, scaled = truncated(matrix.double() @ s, rank)
    right = torch.linalg.solve_triangular(s, scaled, upper=False, left=False)
    return left.to(matrix.dtype), right.to(matrix.dtype)


def _layers(model: nn.Module) -> list[str]:
    """Return the layers that can be split: used in one place, with a weight of their own."""
    places = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    every = [(name, module) for name, module in model.named_modules(remove_duplicate=False)]
    calls = Counter(id(module) for _, module in every)
    return [
        name
        for name, module in every
        if name
        and unfit(module) is None
        and calls[id(module)] == 1
        and places[id(module.weight)] == 1
        and min(as_matrix(module).shape) >= NARROWEST
    ]


def _aligned(rank: float) -> int:
    """Round to a multiple of 8 where the rank is large; never below 1."""
    if rank >= 2 * ALIGNMENT:
        return ALIGNMENT * round(rank / ALIGNMENT)
    return max(1, round(rank))
