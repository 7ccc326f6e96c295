"""New random weights for a network of any kind."""

from __future__ import annotations

import copy

import torch
from torch import nn

from autoopt.task.randomness import seeded


def with_fresh_weights(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy whose weights and statistics are as before any training.

    Layers draw them in their own way (``reset_parameters``); what a module of another kind holds
    is drawn from the normal distribution of the mean and spread that it has. So are embeddings:
    by themselves they are drawn far wider than language models start with.
    """
    fresh = copy.deepcopy(network)
    with seeded(seed), torch.no_grad():
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset) and not isinstance(module, nn.Embedding | nn.EmbeddingBag):
                reset()
            else:
                _redraw(module)
    return fresh


def _redraw(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point() and parameter.numel():
            # Scales and shifts start alike.
            spread = parameter.std(correction=0) if parameter.ndim > 1 else 0.0
            parameter.copy_(parameter.mean() + spread * torch.randn_like(parameter))
    padding = getattr(module, "padding_idx", None)
    if padding is not None:
        module.get_parameter("weight")[padding] = 0
