"""Weights of an ONNX file stored in few bits; the session unpacks them once, when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from autoopt.precision import Grid, Stored, fields, pack, pack_field, store
from autoopt.runtimes.onnx_files import weight_layers
from autoopt.runtimes.onnx_graph import GraphParts
from autoopt.runtimes.weight_names import layer_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

# Bits that ONNX has an integer type for: a dequantization, which kernels may know what to do with.
TYPED = (8, 4)


def layer_names(model: onnx.ModelProto) -> list[str]:
    """Return the names of the layers whose weights can be stored, in the order they run."""
    return list(_weights(model))


def store_weights(model: onnx.ModelProto, grids: Mapping[str, Grid]) -> None:
    """Replace the weights of the layers that `grids` names, in place."""
    from onnx import numpy_helper

    initializers = {item.name: item for item in model.graph.initializer}
    parts = GraphParts()
    for layer, node in _weights(model).items():
        if layer not in grids:
            continue
        name = node.input[1]
        weights = numpy_helper.to_array(initializers[name])
        axis = _output_axis(node, weights.ndim)
        turned = np.moveaxis(weights, axis, 0)
        stored = store(np.ascontiguousarray(turned.reshape(len(turned), -1)), grids[layer])
        rows = _rows(parts, name, stored)
        _shaped(parts, rows, name, turned.shape, axis)
        model.graph.initializer.remove(initializers[name])
    parts.put_before(model)


def store_halves(model: onnx.ModelProto) -> list[str]:
    """Store float32 initializers in 16 bits, in place; return the names of the layers among them.

    The numbers that float16 cannot hold are clipped to those it can.
    """
    from onnx import numpy_helper

    layers, parts = layer_names(model), GraphParts()
    top = np.finfo(np.float16).max
    for item in list(model.graph.initializer):
        values = numpy_helper.to_array(item)
        if values.dtype != np.float32 or values.ndim < 1:
            continue
        half = np.clip(values, -top, top).astype(np.float16)
        stored = parts.constant(f"{item.name}_half", half)
        parts.add("Cast", [stored], item.name, to=1)
        model.graph.initializer.remove(item)
    parts.put_before(model)
    return layers


def _weights(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the first node of each layer with float32 weights by the layer's name."""
    from onnx import TensorProto

    floats = {
        item.name
        for item in model.graph.initializer
        if item.data_type == TensorProto.FLOAT and len(item.dims) > 1
    }
    found: dict[str, onnx.NodeProto] = {}
    for node in weight_layers(model):
        if node.input[1] in floats:
            found.setdefault(layer_of(node.input[1]), node)
    return found


def _output_axis(node: onnx.NodeProto, ndim: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(item.name == "transB" and item.i for item in node.attribute) else 1
    return ndim - 1


def _rows(parts: GraphParts, name: str, stored: Stored) -> str:
    """Add what gives the weights as a matrix, one row an output channel; return its name."""
    grid, shape = stored.grid, stored.codes.shape
    if grid.scheme == "symmetric" and stored.bits in TYPED:
        return _dequantized(parts, name, stored)
    codes = _codes(parts, name, stored)
    if stored.codebook.size:
        book = parts.constant(f"{name}_codebook", stored.codebook)
        flat = parts.add("Gather", [book, parts.add("Cast", [codes], to=6)], axis=0)
        return parts.reshape(flat, shape)
    rows = parts.reshape(parts.add("Cast", [codes], to=1), shape)
    if grid.scheme == "affine":
        zero = _spread(parts, f"{name}_zeros", stored.zeros, stored)
    else:
        zero = parts.shared(np.float32(stored.zeros.flat[0]))
    scale = _spread(parts, f"{name}_scales", stored.scales, stored)
    return parts.add("Mul", [parts.add("Sub", [rows, zero]), scale])


def _dequantized(parts: GraphParts, name: str, stored: Stored) -> str:
    """Add a DequantizeLinear of signed integers."""
    middle, bits = 2 ** (stored.bits - 1), stored.bits
    integers = stored.codes.astype(np.int16) - middle
    codes = (integers & (2**bits - 1)).astype(np.uint8)
    packed = parts.integers(f"{name}_q", pack(codes, bits), stored.codes.shape, bits)
    if stored.grid.granularity == "per_group":
        scales = parts.constant(f"{name}_s", stored.scales)
        return parts.add("DequantizeLinear", [packed, scales], axis=1, block_size=stored.grid.group)
    scales = parts.constant(f"{name}_s", stored.scales.reshape(-1).squeeze())
    if stored.grid.granularity == "per_tensor" or stored.scales.size == 1:
        scales = parts.constant(f"{name}_s1", stored.scales.reshape(-1)[0])
    return parts.add("DequantizeLinear", [packed, scales], axis=0)


def _codes(parts: GraphParts, name: str, stored: Stored) -> str:
    """Add what unpacks flat codes of 8 bits from packed ones."""
    found = ""
    for width, shift in fields(stored.bits):
        packed = pack_field(stored.codes, width, shift)
        field = parts.constant(f"{name}_field{width}", packed)
        if width < 8:
            field = _unpacked(parts, field, width, stored.codes.size)
        if shift:
            field = parts.add("BitShift", [field, parts.shared(np.uint8(shift))], direction="LEFT")
        found = parts.add("BitwiseOr", [found, field]) if found else field
    return found


def _unpacked(parts: GraphParts, field: str, width: int, count: int) -> str:
    places = parts.shared(np.arange(0, 8, width, dtype=np.uint8))
    mask = parts.shared(np.uint8(2**width - 1))
    bytes_ = parts.add("Unsqueeze", [field, parts.shared(np.array([1]))])
    values = parts.add("BitShift", [bytes_, places], direction="RIGHT")
    flat = parts.reshape(parts.add("BitwiseAnd", [values, mask]), (-1,))
    ends = [parts.shared(np.array([value])) for value in (0, count)]
    return parts.add("Slice", [flat, *ends])


def _spread(parts: GraphParts, name: str, values: npt.NDArray[np.float32], stored: Stored) -> str:
    """Add what gives a number for each weight, or one that is broadcast to them."""
    given = parts.constant(name, values)
    if stored.grid.granularity != "per_group":
        return given
    rows, columns = stored.codes.shape
    each = parts.add("Unsqueeze", [given, parts.shared(np.array([2]))])
    wide = parts.shared(np.array([*values.shape, stored.grid.group]))
    flat = parts.reshape(parts.add("Expand", [each, wide]), (rows, -1))
    ends = [parts.shared(np.array([value])) for value in (0, columns, 1)]
    return parts.add("Slice", [flat, *ends])


def _shaped(parts: GraphParts, rows: str, name: str, shape: tuple[int, ...], axis: int) -> None:
    """Give a matrix the shape of the weights and their name."""
    if axis == 0:
        parts.reshape(rows, shape, output=name)
        return
    whole = parts.reshape(rows, shape)
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape))]
    parts.add("Transpose", [whole], name, perm=order)
