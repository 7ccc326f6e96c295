"""Weights of an OpenVINO model stored in few bits, in the element types of its own format.

OpenVINO has constants of 8, 4, 2 and 1 bits, which it converts when the model is compiled or,
where a kernel can, when a matrix product reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.precision import Grid, Stored, fields, pack, pack_field, store
from autoopt.runtimes.openvino_files import LAYERS, weight_places
from autoopt.runtimes.weight_names import WeightNames, direction_name, layer_of

if TYPE_CHECKING:
    from autoopt.interfaces import Array

# Signed types of symmetric grids: kernels of matrix products read these.
SIGNED = {8: "i8", 4: "i4"}


@dataclass(frozen=True)
class _Place:
    """Where the weights of a layer stand.

    Attributes
    ----------
    node
        The operator.
    number
        Of its input.
    direction
        Of a recurrent layer; its matrices lie side by side along the first axis.
    """

    node: Any
    number: int = 1
    direction: int | None = None


class OpenVinoWeights:
    """The layers of a model whose weights are float32 constants.

    Parameters
    ----------
    model
        What the layers belong to; `store_weights` changes it.
    weights
        The network's weights by their names, as the model's constants hold them.
    layers
        Names of those that belong to layers.
    """

    def __init__(self, model: Any, weights: Mapping[str, Array], layers: Set[str]) -> None:
        self._model = model
        self._places: dict[str, _Place] = {}
        names = WeightNames(weights, layers)
        for node in model.get_ordered_ops():
            for number in weight_places(node):
                constant = _float_constant(node, number)
                if constant is not None and node.get_type_name() in LAYERS:
                    name = names.of(constant.data) or node.get_friendly_name()
                    layer = layer_of(name) if name in weights else name
                    self._places.setdefault(layer, _Place(node))
                elif constant is not None:
                    for direction, matrix in enumerate(constant.data):
                        own = f"{node.get_friendly_name()}.{number}"
                        found = names.of_matrix(matrix) or direction_name(own, direction)
                        self._places.setdefault(found, _Place(node, number, direction))

    @property
    def names(self) -> list[str]:
        """The names of all layers, in the order they run."""
        return list(self._places)

    @property
    def layers(self) -> dict[str, Any]:
        """The nodes of products and convolutions by the names of their layers."""
        found = self._places.items()
        return {name: place.node for name, place in found if place.direction is None}

    def matrices(self) -> set[str]:
        """Return the names of the layers that are matrix products."""
        found = self.layers.items()
        return {name for name, layer in found if layer.get_type_name() == "MatMul"}

    def undivided(self, group: int) -> set[str]:
        """Return the names of the matrix products whose rows groups of that size do not divide."""
        columns = {
            name: layer.input_value(1).get_shape()[0 if _is_turned(layer) else 1]
            for name, layer in self.layers.items()
            if layer.get_type_name() == "MatMul"
        }
        return {name for name, count in columns.items() if count % group}

    def store_weights(self, grids: Mapping[str, Grid]) -> None:
        """Replace the weights of the layers that `grids` names.

        What holds the same numbers besides, as an embedding that is tied, is made of them.
        """
        groups: dict[tuple[int, int], list[str]] = {}
        for name, place in self._places.items():
            groups.setdefault((id(place.node), place.number), []).append(name)
        for names in groups.values():
            if not grids.keys() & set(names):
                continue
            place = self._places[names[0]]
            constant = _float_constant(place.node, place.number)
            if constant is None:
                # Another layer holds this very constant.
                continue
            weights = constant.data.copy()
            if place.direction is not None:
                value = _side_by_side(weights, [grids.get(name) for name in names])
            else:
                turned = _is_turned(place.node)
                matrix = weights.T if turned else weights.reshape(_channels(place.node), -1)
                rows = _rows(store(np.ascontiguousarray(matrix), grids[names[0]]))
                value = _shaped(rows, weights.shape, turned=turned)
                self._replace_copies(weights, value, constant)
            constant.output(0).replace(value.output(0))

    def _replace_copies(self, weights: Array, value: Any, constant: Any) -> None:
        from openvino import opset13 as op

        own = {constant.get_friendly_name()} | {
            found.get_friendly_name()
            for place in self._places.values()
            if (found := _float_constant(place.node, place.number)) is not None
        }
        for node in self._model.get_ordered_ops():
            if node.get_type_name() != "Constant" or node.get_friendly_name() in own:
                continue
            if node.get_output_element_type(0).get_type_name() != "f32" or weights.ndim != 2:
                continue
            if len(node.get_output_shape(0)) != 2:
                continue
            if np.array_equal(node.data, weights):
                node.output(0).replace(value.output(0))
            elif np.array_equal(node.data, weights.T):
                turned = op.transpose(value, op.constant(np.array([1, 0])))
                node.output(0).replace(turned.output(0))


def _side_by_side(weights: Array, grids: Sequence[Grid | None]) -> Any:
    """Return what gives the matrices of a recurrent layer, each on its grid or in float."""
    from openvino import opset13 as op

    matrices = []
    for matrix, grid in zip(weights, grids, strict=True):
        if grid is None:
            matrices.append(op.constant(np.ascontiguousarray(matrix[None])))
        else:
            rows = _rows(store(np.ascontiguousarray(matrix), grid))
            matrices.append(op.reshape(rows, op.constant(np.array((1, *matrix.shape))), False))
    return op.concat(matrices, 0) if len(matrices) > 1 else matrices[0]


def _float_constant(layer: Any, number: int = 1) -> Any:
    """Return the constant of float32 weights at an input of a layer, or None."""
    node = layer.input_value(number).get_node()
    if node.get_type_name() == "Reshape":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or len(node.get_output_shape(0)) < 2:
        return None
    if node.get_output_element_type(0).get_type_name() != "f32":
        return None
    matrix = layer.get_type_name() == "MatMul"
    return None if matrix and len(node.get_output_shape(0)) != 2 else node


def _is_turned(layer: Any) -> bool:
    """Say whether a matrix has its output channels along the second axis."""
    return layer.get_type_name() == "MatMul" and not layer.get_attributes()["transpose_b"]


def _channels(layer: Any) -> int:
    shape = layer.input_value(1).get_shape()
    if layer.get_type_name() == "GroupConvolution":
        return int(shape[0] * shape[1])
    return int(shape[0])


def _shaped(rows: Any, shape: tuple[int, ...], *, turned: bool) -> Any:
    """Give a matrix, one row an output channel, the shape that the layer takes."""
    from openvino import opset13 as op

    if turned:
        return op.transpose(rows, op.constant(np.array([1, 0])))
    if tuple(rows.get_output_shape(0)) == tuple(shape):
        return rows
    return op.reshape(rows, op.constant(np.array(shape, np.int64)), False)


def _rows(stored: Stored) -> Any:
    """Return the node that gives the weights as a matrix."""
    from openvino import opset13 as op

    shape, grid = stored.codes.shape, stored.grid
    if stored.codebook.size:
        book, axis = op.constant(stored.codebook), op.constant(np.array(0))
        return op.gather(book, op.convert(_codes(stored, shape, "i32"), "i32"), axis)
    whole = _whole(stored)
    if grid.scheme == "symmetric" and stored.bits in SIGNED:
        numbers = op.convert(_signed(stored, whole), "f32")
    else:
        numbers = _less_zero(stored, op.convert(_codes(stored, whole, "f32"), "f32"), whole)
    numbers = op.multiply(numbers, _spread(stored.scales, stored, whole))
    return numbers if whole == shape else op.reshape(numbers, op.constant(np.array(shape)), False)


def _whole(stored: Stored) -> tuple[int, ...]:
    """Return the shape in which codes and scales meet.

    Groups that do not divide the rows are put side by side in one long row: a kernel that reads a
    matrix of 4 bits takes as many scales as weights for groups of one, and ends the process with
    SIGFPE (OpenVINO 2026.4, requests of 16 samples or more).
    """
    (rows, columns), group = stored.codes.shape, stored.grid.group
    if stored.grid.granularity != "per_group":
        return rows, columns
    return (rows * columns,) if columns % group else (rows, columns // group, group)


def _less_zero(stored: Stored, codes: Any, whole: tuple[int, ...]) -> Any:
    from openvino import opset13 as op

    if stored.grid.whole_zeros:
        # Kernels that multiply integers look for zero points in the type of the codes.
        zeros = stored.zeros if len(whole) == 2 else stored.zeros[:, :, None]
        points = op.constant(np.ascontiguousarray(zeros).astype(np.uint8))
        return op.subtract(codes, op.convert(points, "f32"))
    if stored.grid.scheme == "affine":
        return op.subtract(codes, _spread(stored.zeros, stored, whole))
    return op.subtract(codes, op.constant(np.float32(stored.zeros.flat[0])))


def _spread(values: Array, stored: Stored, whole: tuple[int, ...]) -> Any:
    """Return a constant that broadcasts one number a group over the weights."""
    from openvino import opset13 as op

    if len(whole) == 3:
        return op.constant(np.ascontiguousarray(values[:, :, None]))
    if stored.grid.granularity != "per_group":
        return op.constant(np.ascontiguousarray(values))
    group, columns = stored.grid.group, stored.codes.shape[1]
    # Rows that do not divide into groups: repeated by an index instead of a shape.
    place = (np.arange(columns) // group).astype(np.int32)
    spread = op.gather(op.constant(values), op.constant(place), op.constant(np.array(1)))
    return op.reshape(spread, op.constant(np.array([-1])), False)


def _signed(stored: Stored, shape: tuple[int, ...]) -> Any:
    middle, bits = 2 ** (stored.bits - 1), stored.bits
    integers = (stored.codes.astype(np.int16) - middle) & (2**bits - 1)
    return _constant(pack(integers.astype(np.uint8), bits), shape, SIGNED[bits])


def _codes(stored: Stored, shape: tuple[int, ...], kind: str) -> Any:
    """Return the node that puts codes together from their fields, as numbers of a kind."""
    from openvino import opset13 as op

    parts = list(_fields(stored, shape))
    if len(parts) == 1:
        return parts[0][0]
    total = None
    for part, shift in parts:
        number = op.convert(part, kind)
        if shift:
            number = op.multiply(number, op.constant(np.array(2**shift, _NUMPY[kind])))
        total = number if total is None else op.add(total, number)
    return total


_NUMPY = {"f32": np.float32, "i32": np.int32}


def _fields(stored: Stored, shape: tuple[int, ...]) -> Iterator[tuple[Any, int]]:
    for width, shift in fields(stored.bits):
        if width == 1:
            # OpenVINO counts single bits from the high end of a byte.
            packed = np.packbits((stored.codes.reshape(-1) >> shift) & 1)
        else:
            packed = pack_field(stored.codes, width, shift)
        yield _constant(packed, shape, f"u{width}"), shift


def _constant(content: Array, shape: tuple[int, ...], kind: str) -> Any:
    import openvino
    from openvino import opset13 as op

    element = getattr(openvino.Type, kind)
    flat = np.ascontiguousarray(content)
    if kind == "i8":
        flat = flat.view(np.int8)
    if kind in ("i8", "u8"):
        flat = flat.reshape(shape)
    # Copied: a tensor around an array does not keep the array alive.
    return op.constant(openvino.Tensor(flat, openvino.Shape(shape), element), shared_memory=False)
