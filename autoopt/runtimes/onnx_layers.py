"""The layers of an `.onnx` file, and the kernels that ONNX Runtime chooses for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from autoopt.runtimes.layer_table import FileLayer, count_of, stored_form
from autoopt.runtimes.weight_names import MATRIX, layer_of

if TYPE_CHECKING:
    import onnx

    from autoopt.runtimes.artifact import Manifest

# Operator to the places of its weights among its inputs.
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (1,), "ConvInteger": (1,),
    "MatMulInteger": (1,), "QLinearConv": (3,), "QLinearMatMul": (3,), "LSTM": (1, 2),
    "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,),
}  # fmt: skip
# Endings that storing in few bits gives to the names of weights.
MARKS = ("_half", "_quantized", "_scale", "_zero_point", "_DequantizeLinear_Output", "_codes")


def read_layers(path: Path, manifest: Manifest) -> tuple[FileLayer, ...]:
    """Return the layers of a file in the order in which they run."""
    import onnx

    model = onnx.load(path)
    graph = _Graph(onnx.shape_inference.infer_shapes(model, data_prop=True))
    kernels = _kernels(path)
    layers = []
    for node in model.graph.node:
        kernel = kernels.get(node.name) or kernels.get(next(iter(node.output), ""), node.op_type)
        for place in WEIGHTS.get(node.op_type, ()):
            if len(node.input) <= place or not graph.is_constant(node.input[place]):
                continue
            held, shape = graph.held(node.input[place]), graph.shape(node.input[place])
            if len(shape) < 2 or not held:
                continue
            parts = [(_element(tensor), _bytes(tensor)) for tensor in held]
            stored, bits = stored_form(parts, count_of(shape))
            layers.append(FileLayer(_name(node, held), node.op_type, shape, bits, stored, kernel))
    return tuple(layers)


class _Graph:
    """Who makes which value, and what is constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = {item.name: item for item in model.graph.initializer}
        self.makers = {out: node for node in model.graph.node for out in node.output}
        self._shapes = {
            item.name: tuple(axis.dim_value for axis in item.type.tensor_type.shape.dim)
            for item in model.graph.value_info
        }

    def is_constant(self, name: str) -> bool:
        """Say whether a value comes from stored ones alone."""
        if name in self.constants:
            return True
        node = self.makers.get(name)
        return node is not None and all(self.is_constant(used) for used in node.input if used)

    def held(self, name: str) -> list[onnx.TensorProto]:
        """Return the stored tensors that a constant value is made from."""
        if name in self.constants:
            return [self.constants[name]]
        node = self.makers[name]
        return [tensor for used in node.input if used for tensor in self.held(used)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a constant value."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        return self._shapes.get(name, ())


def _element(tensor: onnx.TensorProto) -> str:
    """Return the name of a tensor's element type."""
    import onnx

    name: str = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _bytes(tensor: onnx.TensorProto) -> float:
    import onnx

    four = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
    if tensor.data_type in four:
        return count_of(tensor.dims) / 2
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return float(count_of(tensor.dims) * kind.itemsize)


def _name(node: onnx.NodeProto, held: list[onnx.TensorProto]) -> str:
    """Return the network's name of a layer: its weights bear it, with a mark where stored."""
    largest = max(held, key=_bytes).name
    for mark in MARKS:
        largest = largest.removesuffix(mark)
    stem, dot, last = largest.rpartition(".")
    # Fields of codes are numbered: ``fc.weight_field4``.
    matrix = MATRIX.match(last)
    own = matrix.group() if matrix else last.partition("_")[0]
    return layer_of(f"{stem}{dot}{own}" if dot or matrix else largest) or node.name


def _kernels(path: Path) -> dict[str, str]:
    """Return node names and outputs to the operator that the session runs after its fusions."""
    import onnx
    import onnxruntime

    with TemporaryDirectory(prefix="autoopt-") as scratch:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(scratch) / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        optimized: Any = onnx.load(Path(scratch) / "optimized.onnx")
    made = {out: node.op_type for node in optimized.graph.node for out in node.output}
    found: dict[str, str] = {}
    for node in optimized.graph.node:
        # What only lays an answer out anew stands for what gave it.
        kind = made.get(node.input[0], "") if node.op_type == "ReorderOutput" else node.op_type
        found |= dict.fromkeys((node.name, *node.output), kind)
    return found
