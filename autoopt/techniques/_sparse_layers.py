"""The weights that can be zeroed one by one, and how much each of them matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoopt.factors import is_transposed_linear
from autoopt.task.randomness import seeded
from autoopt.techniques._contributions import Steadiness, contributions

if TYPE_CHECKING:
    from autoopt.task import Task

IMPORTANCES = ("magnitude", "taylor", "stability", "random")

_KINDS = (
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
NO_WEIGHTS = (
    "the network has no linear, convolutional, recurrent or attention layer with real weights of "
    "its own"
)


def sparse_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return name → weight, in order, of the layers that multiply with what they hold.

    Embeddings are left out, and with them the weights that share theirs: their rows are looked
    up, not multiplied. So are weights that a parametrization computes.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for parameter in module.parameters(recurse=False)
    }
    owners = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, _KINDS) or is_transposed_linear(module)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1 and parameter.is_floating_point()
    }
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name in owners and id(parameter) not in embeddings
    }


def weight_scores(model: nn.Module, task: Task, importance: str) -> dict[str, Tensor]:
    """Return name → how much each weight matters, of the weight's shape.

    ``"magnitude"``: absolute value; ``"taylor"``: |w · ∂loss/∂w|, mean over calibration batches;
    ``"stability"``: how steadily it ranks high in that from batch to batch, whatever its sign;
    ``"random"``: a control.
    """
    weights = sparse_weights(model)
    if importance == "magnitude":
        return {name: weight.detach().abs() for name, weight in weights.items()}
    if importance == "random":
        with seeded(task.seed):
            return {name: torch.rand(weight.shape) for name, weight in weights.items()}
    if importance == "taylor":
        sums = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}
        for found in contributions(model, task):
            for name, total in sums.items():
                total += found[name].abs()
        return sums
    steady = {name: Steadiness() for name in weights}
    for found in contributions(model, task):
        for name, ranks in steady.items():
            ranks.add(found[name].abs())
    return {name: ranks.value() for name, ranks in steady.items()}
