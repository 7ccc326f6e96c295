"""Weights that several nodes of an ONNX model share, for tools that take each to have one user."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def unshare(model: onnx.ModelProto) -> None:
    """Give every node that multiplies by a stored weight one of its own, in place.

    ONNX Runtime's dynamic quantizer transposes the weight of each Gemm where it stands: what two
    share is transposed twice.
    """
    stored = {item.name: item for item in model.graph.initializer}
    users: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type == "Gemm" and node.input[1] in stored:
            weight = stored[node.input[1]]
            if users[weight.name]:
                copied = model.graph.initializer.add()
                copied.CopyFrom(weight)
                copied.name = f"{weight.name}.{users[weight.name]}"
                node.input[1] = copied.name
            users[weight.name] += 1


def share(model: onnx.ModelProto) -> None:
    """Let nodes use one initializer wherever several are equal, in place."""
    first: dict[bytes, str] = {}
    other: dict[str, str] = {}
    kept = []
    for item in model.graph.initializer:
        content = type(item)()
        content.CopyFrom(item)
        content.name = ""
        name = first.setdefault(content.SerializeToString(deterministic=True), item.name)
        if name == item.name:
            kept.append(item)
        else:
            other[item.name] = name
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = other.get(name, name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
