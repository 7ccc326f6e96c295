"""Weights of an ONNX file stored in few bits; the session unpacks them once, when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoopt.precision import Grid, Stored, fields, pack, pack_field, store
from autoopt.runtimes.onnx_files import LAYERS, MATRICES, RECURRENT
from autoopt.runtimes.onnx_graph import GraphParts
from autoopt.runtimes.weight_names import direction_name, layer_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from autoopt.interfaces import Array

# Bits that ONNX has an integer type for: a dequantization, which kernels may know what to do with.
TYPED = (8, 4)


@dataclass(frozen=True)
class _Place:
    """Where the weights of a layer lie.

    Attributes
    ----------
    name
        Of the initializer.
    axis
        The one of its output channels.
    direction
        Of a recurrent layer; its matrices lie side by side along the first axis.
    """

    name: str
    axis: int
    direction: int | None = None


def layer_names(model: onnx.ModelProto) -> list[str]:
    """Return the names of the layers that are products or convolutions, in the order they run."""
    return [layer for layer, place in _places(model).items() if place.direction is None]


def stored_names(model: onnx.ModelProto) -> list[str]:
    """Return the names of all layers whose weights can be stored, in the order they run."""
    return list(_places(model))


def store_weights(model: onnx.ModelProto, grids: Mapping[str, Grid]) -> None:
    """Replace the weights of the layers that `grids` names, in place.

    What holds the same numbers besides, as an embedding that is tied to a layer, is made of them.
    """
    from onnx import numpy_helper

    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    places: dict[str, dict[str, _Place]] = {}
    for layer, place in _places(model).items():
        places.setdefault(place.name, {})[layer] = place
    parts, gone = GraphParts(), set[str]()
    for name, layers in places.items():
        if not grids.keys() & layers.keys():
            continue
        layer, place = next(iter(layers.items()))
        if place.direction is not None:
            _recurrent(parts, name, arrays[name], [grids.get(layer) for layer in layers])
        else:
            turned = np.moveaxis(arrays[name], place.axis, 0)
            matrix = np.ascontiguousarray(turned.reshape(len(turned), -1))
            rows = _rows(parts, name, store(matrix, grids[layer]))
            _shaped(parts, rows, name, turned.shape, place.axis)
            gone |= _copies(parts, name, arrays, places.keys() | gone)
        gone.add(name)
    kept = [item for item in model.graph.initializer if item.name not in gone]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    parts.put_before(model)


def _recurrent(parts: GraphParts, name: str, weights: Array, grids: Sequence[Grid | None]) -> None:
    """Add what gives the matrices of a recurrent layer, each on its grid, or in float."""
    matrices = []
    for number, (matrix, grid) in enumerate(zip(weights, grids, strict=True)):
        own = direction_name(name, number)
        if grid is None:
            matrices.append(parts.constant(f"{own}_kept", matrix[None]))
        else:
            rows = _rows(parts, own, store(np.ascontiguousarray(matrix), grid))
            matrices.append(parts.reshape(rows, (1, *matrix.shape)))
    parts.add("Concat", matrices, name, axis=0)


def _copies(parts: GraphParts, name: str, arrays: Mapping[str, Array], done: Set[str]) -> set[str]:
    """Make every other holder of a layer's numbers of what is stored; return their names."""
    weights, found = arrays[name], set[str]()
    for other, array in arrays.items():
        if other in done or array.ndim != 2 or array.dtype != weights.dtype:
            continue
        if np.array_equal(array, weights):
            parts.add("Identity", [name], other)
        elif np.array_equal(array, weights.T):
            parts.add("Transpose", [name], other, perm=[1, 0])
        else:
            continue
        found.add(other)
    return found


def store_halves(model: onnx.ModelProto) -> list[str]:
    """Store float32 initializers in 16 bits, in place; return the names of the layers among them.

    The numbers that float16 cannot hold are clipped to those it can.
    """
    from onnx import numpy_helper

    layers, parts = stored_names(model), GraphParts()
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


def _places(model: onnx.ModelProto) -> dict[str, _Place]:
    """Return where the float32 weights of each layer lie, by the layer's name."""
    from onnx import TensorProto

    floats = {
        item.name: item.dims
        for item in model.graph.initializer
        if item.data_type == TensorProto.FLOAT and len(item.dims) > 1
    }
    found: dict[str, _Place] = {}
    for node in model.graph.node:
        recurrent = node.op_type in RECURRENT
        used = MATRICES if recurrent else (1,) if node.op_type in LAYERS else ()
        for name in [node.input[place] for place in used if len(node.input) > place]:
            if name not in floats:
                continue
            if not recurrent:
                found.setdefault(layer_of(name), _Place(name, _output_axis(node, floats[name])))
                continue
            for number in range(floats[name][0]):
                layer = layer_of(direction_name(name, number))
                found.setdefault(layer, _Place(name, 0, number))
    return found


def _output_axis(node: onnx.NodeProto, shape: Sequence[int]) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(item.name == "transB" and item.i for item in node.attribute) else 1
    return len(shape) - 1


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
