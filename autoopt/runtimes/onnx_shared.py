"""Weights that several nodes of an ONNX model share, for tools that take each to have one user."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def unshare(model: onnx.ModelProto) -> None:
    """Give every Gemm whose weight has other users a copy of its own, in place.

    ONNX Runtime's dynamic quantizer transposes the weight of each Gemm where it stands, and so for
    whoever else uses it: two Gemms of a tied layer, or the embedding of a tied head.
    """
    graph = model.graph
    stored = {item.name: item for item in graph.initializer}
    users = Counter(name for node in graph.node for name in node.input if name in stored)
    for number, node in enumerate(graph.node):
        if node.op_type == "Gemm" and users[node.input[1]] > 1:
            weight = stored[node.input[1]]
            copied = graph.initializer.add()
            copied.CopyFrom(weight)
            copied.name = f"{weight.name}.{number}"
            node.input[1] = copied.name
    used = {name for node in graph.node for name in node.input}
    for name, item in stored.items():
        if users[name] > 1 and name not in used:
            graph.initializer.remove(item)


def share(model: onnx.ModelProto) -> None:
    """Let nodes use one initializer wherever several are equal, in place.

    A model with graphs inside its nodes stays as it is: those may name any initializer.
    """
    graph = model.graph
    if any(part.HasField("g") or part.graphs for node in graph.node for part in node.attribute):
        return
    outputs = {item.name for item in graph.output}
    first: dict[bytes, str] = {}
    other: dict[str, str] = {}
    for item in graph.initializer:
        name = first.setdefault(_content(item), item.name)
        if name != item.name and item.name not in outputs:
            other[item.name] = name
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = other.get(name, name)
    kept = [item for item in graph.initializer if item.name not in other]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _content(item: onnx.TensorProto) -> bytes:
    """Return a digest of everything but the name."""
    nameless = type(item)()
    nameless.CopyFrom(item)
    nameless.name = ""
    return hashlib.sha256(nameless.SerializeToString(deterministic=True)).digest()
