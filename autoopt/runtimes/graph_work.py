"""How much there is to do in a graph of torch, node by node."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor
from torch.fx import Node

PRODUCTS = frozenset({"matmul", "bmm", "mm", "scaled_dot_product_attention"})
"""Operators that multiply two tensors which both are computed."""

WEIGHTS: dict[str, int] = {
    "linear": 1, "conv1d": 1, "conv2d": 1, "conv3d": 1, "convolution": 1, "addmm": 2,
    "conv_transpose1d": 1, "conv_transpose2d": 1,
}  # fmt: skip
"""Operator to the place of its weights among its arguments."""

RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


def kind_of(node: Node) -> str:
    """Return the name of an operator of torch, such as ``conv2d``; empty for all else."""
    text = str(node.target)
    return text.split(".")[1] if node.op == "call_function" and text.startswith("aten.") else ""


def work_of(node: Node) -> int:
    """Return about how many multiplications and additions a node costs for one sample."""
    kind, value = kind_of(node), node.meta.get("val")
    if not kind:
        return 0
    if kind in RECURRENT:
        given = [numbers_of(n.meta.get("val")) for n in node.all_input_nodes if n.op == "get_attr"]
        steps = shape_of(node.all_input_nodes[0].meta.get("val"))
        # Batch or time comes first; either way the product of both is right.
        return sum(given) * prod(steps[:2])
    if kind in WEIGHTS and len(node.args) > WEIGHTS[kind]:
        weights = node.args[WEIGHTS[kind]]
        held = weights.meta.get("val") if isinstance(weights, Node) else None
        if isinstance(held, Tensor) and isinstance(value, Tensor):
            channels = shape_of(value)[1 if "conv" in kind else -1]
            return numbers_of(held) * numbers_of(value) // max(channels, 1)
    if kind in PRODUCTS:
        first = shape_of(node.all_input_nodes[0].meta.get("val"))
        return numbers_of(value) * (first[-1] if first else 1)
    return numbers_of(value)


def numbers_of(value: Any) -> int:
    """Return how many numbers a value holds, one for each sample that may vary in number."""
    if isinstance(value, tuple | list):
        return sum(map(numbers_of, value))
    return prod(shape_of(value)) if isinstance(value, Tensor) else 1


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the sizes of a traced tensor, 1 where any size will do."""
    if not isinstance(value, Tensor):
        return ()
    return tuple(size if type(size) is int else 1 for size in value.shape)
