"""Sharing: similar layers of equal shape use one weight."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.factors import is_transposed_linear
from autoopt.plan import Tie
from autoopt.replay import replay
from autoopt.techniques._bounds import check_share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from autoopt.interfaces import Target
    from autoopt.task import Task

_KINDS = (nn.Linear, nn.modules.conv._ConvNd)
_NONE = "the network has no two layers of one kind whose weights have the same shape"


@dataclass(frozen=True)
class TiedLayers:
    """Cluster the layers of each shape by the distance of their weights; a cluster shares one.

    Average linkage on the distances ‖A − B‖ / √(‖A‖ ‖B‖) (Frobenius); the shared weight is the
    mean, biases and norms stay each layer's own. Recurrent sharing across depth as in ALBERT (Lan
    et al. 2019, arXiv 1909.11942), but only between layers that are alike.

    Attributes
    ----------
    share
        Share of the layers of one shape whose weight goes, 0 < share < 1; at least one goes.
    """

    share: float = 0.25

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_share("share", self.share)

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that no two layers have the same shape, or None."""
        return None if any(_alike(task.model)) else _NONE

    def edits(self, model: nn.Module, task: Task) -> tuple[Tie, ...]:
        """Return the clusters.

        Raises
        ------
        RefusedError
            If no two layers have the same shape.
        """
        ties: list[Tie] = []
        for names in _alike(model):
            weights = [_weight(model, name) for name in names]
            left = max(1, min(len(names) - 1, round(len(names) * (1 - self.share))))
            for members in _clusters(weights, left):
                if len(members) > 1:
                    ties.append(Tie(tuple(names[member] for member in members)))
        if not ties:
            raise RefusedError(_NONE)
        return tuple(ties)

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Tie, ...]]:
        """Return a copy with the layers tied, and the edits."""
        edits = self.edits(model, task)
        return replay(model, edits).eval(), edits


def distances(weights: Iterable[Tensor]) -> Tensor:
    """Return ‖A − B‖ / √(‖A‖ ‖B‖) of each pair, shape (n, n)."""
    flat = torch.stack([weight.detach().flatten().double() for weight in weights])
    norms = flat.norm(dim=1).clamp_min(1e-12)
    between: Tensor = torch.cdist(flat, flat)
    scale: Tensor = (norms[:, None] * norms[None, :]).sqrt()
    return between / scale


def _clusters(weights: list[Tensor], count: int) -> list[list[int]]:
    """Return the positions of the weights in at most `count` clusters."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    table = distances(weights)
    table = (table + table.T) / 2
    table.fill_diagonal_(0)
    labels = fcluster(linkage(squareform(table.numpy()), "average"), count, "maxclust")
    return [[i for i, own in enumerate(labels) if own == label] for label in sorted(set(labels))]


def _weight(model: nn.Module, name: str) -> Tensor:
    return model.get_parameter(f"{name}.weight")


def _alike(model: nn.Module) -> list[list[str]]:
    """Return the names of layers of one kind and shape, at least two together.

    Weights that are shared already stay as they are.
    """
    users = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    groups: dict[tuple[type[nn.Module], tuple[int, ...]], list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        if not name or not (isinstance(module, _KINDS) or is_transposed_linear(module)):
            continue
        weight = module._parameters.get("weight")
        if weight is not None and weight.is_floating_point() and users[id(weight)] == 1:
            groups[type(module), tuple(weight.shape)].append(name)
    return [names for names in groups.values() if len(names) > 1]
