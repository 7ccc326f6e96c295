"""What an architecture or this machine must have for a technique to mean anything there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from autoopt.precision import Weight, quantizable
from autoopt.task import Task

PROJECTIONS = frozenset({"query", "q_proj", "c_attn"})
"""What the module is called that projects queries."""


@dataclass(frozen=True)
class Need:
    """A part without which a technique has nothing to do.

    Attributes
    ----------
    there
        Says whether a task has it.
    lacking
        How that is said where it is missing.
    """

    there: Callable[[Task], bool]
    lacking: str


def has_batch_norm(task: Task) -> bool:
    return any(isinstance(module, _BatchNorm) for module in task.model.modules())


def has_heads(task: Task) -> bool:
    """Say whether there is attention: a module that projects queries, keys and values."""
    parts = [name.rpartition(".")[2] for name, _ in task.model.named_modules()]
    own = any(isinstance(module, nn.MultiheadAttention) for module in task.model.modules())
    return own or any(part in PROJECTIONS for part in parts)


def has_positions(task: Task) -> bool:
    """Say whether layers work over space or time, so that there is somewhere to look."""
    kinds = (_ConvNd, nn.RNNBase)
    return has_heads(task) or any(isinstance(module, kinds) for module in task.model.modules())


def has_repeated_blocks(task: Task) -> bool:
    """Say whether a list or sequence holds one class of composed modules twice."""
    for module in task.model.modules():
        if isinstance(module, nn.Sequential | nn.ModuleList):
            kinds = [type(child) for child in module if any(child.children())]
            if any(kinds.count(kind) > 1 for kind in kinds):
                return True
    return False


def has_feed_forward(task: Task) -> bool:
    """Say whether blocks of attention have a widening pair of layers beside it.

    A block is what holds attention somewhere below it; the pair are two of its linear layers of
    which the one takes as many numbers as the other gives, more than what flows between blocks.
    """
    for module in task.model.modules():
        children = list(module.modules())
        own = any(isinstance(child, nn.MultiheadAttention) for child in children)
        if not own and not any(_is_attention(name) for name, _ in module.named_modules()):
            continue
        shapes = [
            tuple(weight.rows().shape) for child in children for weight in _own_products(child)
        ]
        # Rows are outputs: (wide, narrow) and (narrow, wide).
        if any(wide > narrow and (narrow, wide) in shapes for wide, narrow in shapes):
            return True
    return False


def _is_attention(name: str) -> bool:
    return name.rpartition(".")[2] in PROJECTIONS


def _own_products(module: nn.Module) -> list[Weight]:
    """Return the weight of a module that is itself a linear layer."""
    own = quantizable(module).get("")
    return [own] if own is not None and own.tensor.ndim == 2 else []


def has_recurrent(task: Task) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in task.model.modules())


def has_cuda(task: Task) -> bool:
    return torch.cuda.is_available()


def has_torchao(task: Task) -> bool:
    return importlib.util.find_spec("torchao") is not None


NEEDS: Mapping[str, Need] = {
    "batch_norm": Need(has_batch_norm, "no batch norm"),
    "heads": Need(has_heads, "no attention heads"),
    "feed_forward": Need(has_feed_forward, "no feed-forward blocks beside attention"),
    "blocks": Need(has_repeated_blocks, "no repeated blocks"),
    "positions": Need(has_positions, "no layer works over space or time"),
    "recurrent": Need(has_recurrent, "no recurrent layers"),
    "cuda": Need(has_cuda, "no CUDA device"),
    "torchao": Need(has_torchao, "no torchao"),
}

# Option, or setting and value, to what it needs.
NEEDED_BY: Mapping[str, str] = {
    "recalibrate": "batch_norm",
    "depth": "blocks",
    "width_depth": "blocks",
    "distill_attention": "positions",
    "heads": "heads",
    "feed_forward": "feed_forward",
    "blocks": "blocks",
    "recurrent": "recurrent",
    "fp8": "cuda",
    # Stored so, and computed in float wherever it runs.
    "mode=weight_only": "torchao",
    "int4": "cuda",
}


def lacking(technique: str, task: Task) -> str | None:
    """Return what a task lacks for a technique (``option`` or ``option[setting=value]``)."""
    option, _, variant = technique.partition("[")
    setting = variant.rstrip("]")
    need = NEEDS.get(NEEDED_BY.get(setting if setting in NEEDED_BY else option, ""))
    return None if need is None or need.there(task) else need.lacking
