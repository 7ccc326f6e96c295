"""Weights of an ONNX file stored in 8 or 4 bits, dequantized when a session starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autoopt.runtimes.onnx_files import weight_layers
from autoopt.runtimes.packing import pack_nibbles, round_weights

if TYPE_CHECKING:
    import onnx


def store_weights(model: onnx.ModelProto, bits: int) -> int:
    """Replace the weights of convolutions and matrix products in place; return how many."""
    from onnx import helper, numpy_helper

    stored = {item.name: item for item in model.graph.initializer}
    added: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in weight_layers(model):
        name = node.input[1]
        weights = numpy_helper.to_array(stored[name])
        if name in done or weights.dtype != np.float32 or weights.ndim < 2:
            continue
        axis = _output_axis(node, weights.ndim)
        integers, scales = round_weights(weights, bits, axis=axis)
        model.graph.initializer.remove(stored[name])
        model.graph.initializer.extend(
            [_integers(f"{name}_q", integers, bits), numpy_helper.from_array(scales, f"{name}_s")]
        )
        added.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", f"{name}_s"], [name], f"{name}_dq", axis=axis
            )
        )
        done.add(name)
    nodes = [*added, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return len(done)


def _output_axis(node: onnx.NodeProto, ndim: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(item.name == "transB" and item.i for item in node.attribute) else 1
    return ndim - 1


def _integers(name: str, integers: np.ndarray, bits: int) -> onnx.TensorProto:
    from onnx import TensorProto, helper

    kind = TensorProto.INT8 if bits == 8 else TensorProto.INT4
    content = integers.tobytes() if bits == 8 else pack_nibbles(integers).tobytes()
    return helper.make_tensor(name, kind, integers.shape, content, raw=True)
