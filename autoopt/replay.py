"""Replaying a structural plan: the same cuts on a copy of the original, in any process.

What becomes of a module's channels stands in `cuts`; blocks, factors and ties are done here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from autoopt.cuts import Cutter
from autoopt.errors import ModelError
from autoopt.factors import factored
from autoopt.plan import Assign, Drop, Edit, Factor, Keep, Tie


def replay(model: nn.Module, edits: Iterable[Edit]) -> nn.Module:
    """Return a copy of `model` with the edits done in their order; `model` stays as it was.

    Raises
    ------
    ModelError
        If an edit names a module that is absent or of a kind that cannot be cut, if its indices
        do not fit, or if it would cut a shared parameter in one place only.
    """
    network = copy.deepcopy(model)
    cutter = Cutter()
    for edit in edits:
        match edit:
            case Keep(name):
                cutter.keep(_named(network, name), edit)
            case Drop(name):
                _put(network, name, Skipped(_named(network, name)))
            case Assign(name):
                _assign(_named(network, name), edit)
            case Factor(name, rank, scheme):
                _put(network, name, factored(_named(network, name), rank, scheme))
            case Tie(names):
                _tie([_named(network, name) for name in names], edit)
    cutter.check_shared(network)
    return network


class Skipped(nn.Module):
    """What stands where a block was: gives the first of whatever it takes.

    Parameters
    ----------
    block
        Plain numbers and words that it keeps about itself stay readable: the network around it
        may ask for them (its number, or its kind of attention).
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        own = vars(self).keys()
        for name, value in vars(block).items():
            if name not in own and isinstance(value, bool | int | float | str):
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the first input, whatever else there is."""
        return (*inputs, *named.values())[0]


def _named(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        near = get_close_matches(name, [known for known, _ in network.named_modules()])
        advice = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
        raise ModelError(
            f"The plan names the module {name!r}, which this model does not have{advice}."
        ) from None


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one with that name."""
    _named(network, name)
    parent, _, child = name.rpartition(".")
    if not child:
        raise ModelError("The plan drops the whole model; name a module inside it.")
    setattr(network.get_submodule(parent), child, module)


def _assign(module: nn.Module, edit: Assign) -> None:
    old = getattr(module, edit.attribute, None)
    if type(old) is not int:
        raise ModelError(
            f"The plan sets `{edit.attribute}` of the module {edit.module!r}, which must be a "
            f"whole number there, but is {old!r}."
        )
    setattr(module, edit.attribute, edit.value)


def _tie(modules: Sequence[nn.Module], edit: Tie) -> None:
    weights = [module._parameters.get("weight") for module in modules]
    found = [weight for weight in weights if weight is not None]
    if len(found) < max(2, len(weights)) or len({weight.shape for weight in found}) != 1:
        shapes = {
            name: weight is not None and tuple(weight.shape)
            for name, weight in zip(edit.modules, weights, strict=True)
        }
        raise ModelError(
            f"The plan ties layers, at least two with weights of one shape, but got {shapes}."
        )
    mean = torch.stack([weight.detach() for weight in found]).mean(dim=0)
    shared = nn.Parameter(mean, requires_grad=found[0].requires_grad)
    for module in modules:
        module.weight = shared
