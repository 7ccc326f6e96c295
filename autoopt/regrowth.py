"""Un-pruning: removed channels go back into a network, with the weights they had."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from autoopt.errors import ModelError
from autoopt.plan import Assign, Edit, Keep
from autoopt.replay import replay


def regrown(original: nn.Module, edits: Iterable[Edit], network: nn.Module) -> nn.Module:
    """Return a copy of `original` in which what `network` kept has the weights of `network`.

    What the edits removed has the weights of `original`: without training in between, un-pruning
    gives back the original bit for bit.

    Parameters
    ----------
    original
        What was cut; stays as it was.
    edits
        Cuts of channels (`Keep` and `Assign`) that lead from `original` to `network`.
    network
        What was cut out of `original`, and maybe trained since.

    Raises
    ------
    ModelError
        If an edit is no cut, or the edits do not lead to the shapes of `network`.
    """
    edits = tuple(edits)
    if strange := [edit for edit in edits if not isinstance(edit, Keep | Assign)]:
        raise ModelError(f"Only cuts of channels can be undone, but got {strange[0]}.")
    places = replay(_numbered(original), edits).state_dict()
    kept = network.state_dict()
    if {name: value.shape for name, value in places.items()} != {
        name: value.shape for name, value in kept.items()
    }:
        raise ModelError("The edits do not lead from the original to the shapes of the network.")
    grown = copy.deepcopy(original)
    with torch.no_grad():
        # A state dict shares its memory with the parameters: this fills them in place.
        for name, tensor in grown.state_dict().items():
            flat = tensor.flatten().clone()
            flat[places[name].flatten().long()] = kept[name].flatten().to(tensor.dtype)
            tensor.copy_(flat.reshape(tensor.shape))
    return grown


def _numbered(model: nn.Module) -> nn.Module:
    """Return a copy in which each value is its own position: cuts then say where values are."""
    numbered = copy.deepcopy(model)
    for module in numbered.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.data = _positions(parameter)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _positions(buffer)
    return numbered


def _positions(tensor: Tensor) -> Tensor:
    # In float64 every whole number below 2^53 is exact, and gradients stay allowed.
    return torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
