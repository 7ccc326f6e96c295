"""OpenVINO's models: conversion, compact files, and what their constants really are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from autoopt.errors import RefusedError
from autoopt.runtimes.onnx_files import OUTPUT, graph_input, to_onnx
from autoopt.runtimes.quiet import decline_telemetry, quiet_library

if TYPE_CHECKING:
    from autoopt.runtimes.program import Exported

LAYERS = {"Convolution", "GroupConvolution", "MatMul"}
# Where the matrices of a recurrent layer stand among its inputs: after state and lengths.
MATRICES = {"LSTMSequence": (4, 5), "GRUSequence": (3, 4), "RNNSequence": (3, 4)}
INTEGERS = {"i8", "u8", "i4", "u4", "u2", "u1"}


def to_openvino(exported: Exported) -> Any:
    """Return an exported program as an OpenVINO model; only the number of samples stays open.

    Raises
    ------
    RefusedError
        If OpenVINO knows an operator of the network neither from ONNX nor from torch.
    """
    decline_telemetry()
    with quiet_library("openvino", "nncf"):
        import openvino
        from openvino import frontend

        reasons = (
            *(RuntimeError, ValueError, NotImplementedError, RefusedError),
            # These derive from Exception alone.
            *(frontend.GeneralFailure, frontend.OpConversionFailure, frontend.OpValidationFailure),
            *(frontend.InitializationFailure, frontend.NotImplementedFailure),
        )

        try:
            model = _through_onnx(exported)
        except reasons:
            # ONNX lacks an operator of this network; OpenVINO reads programs of torch too.
            try:
                model = openvino.convert_model(exported.program)
            except reasons as error:
                cause = " ".join(str(error).split())[:300]
                raise RefusedError(f"OpenVINO cannot convert this network ({cause}).") from error
    shapes = {}
    for number, (port, node) in enumerate(zip(exported.inputs, model.inputs, strict=True)):
        # Not the person's names, which may be those of tensors or nodes inside.
        node.get_tensor().set_names({graph_input(number)})
        node.get_node().set_friendly_name(graph_input(number))
        samples = -1 if exported.fixed is None else exported.fixed
        shapes[node] = [samples, *port.shape[1:]]
    model.reshape(shapes)
    model.outputs[0].get_tensor().set_names({OUTPUT})
    return model


def _through_onnx(exported: Exported) -> Any:
    """Return the model read from the ONNX form: tracing takes seconds, and that is traced already.

    What comes out is the same graph.
    """
    import onnx
    import openvino

    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        onnx.save(exported.form("onnx", to_onnx), path)
        return openvino.convert_model(path)


def save_compact(model: Any, path: Path, *, half: bool) -> None:
    """Write `.xml` and `.bin` without what only names and indents the inside of the model.

    Of a small network in int8, names and indentation are half of the bytes on disk.

    Parameters
    ----------
    model
        What to write; its inner names are changed.
    path
        The `.xml` file.
    half
        Store float constants in 16 bits.
    """
    import openvino

    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() in {"Parameter", "Result"}:
            continue
        node.set_friendly_name(str(number))
        for output in node.outputs():
            output.get_tensor().set_names(set())
    openvino.save_model(model, path, compress_to_fp16=half)
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r">\s+<", "><", text), encoding="utf-8")


def weight_kinds(model: Any) -> Counter[str]:
    """Return how many weights the layers hold, by the element type they are stored in."""
    kinds: Counter[str] = Counter()
    for layer in model.get_ordered_ops():
        for constant in _constants(layer):
            element = constant.get_output_element_type(0).get_type_name()
            kinds[element] += _count(constant)
    return kinds


def layers_in_integers(model: Any) -> int:
    """Return how many weights of layers are in integers."""
    return sum(
        constant.get_output_element_type(0).get_type_name() in INTEGERS
        for layer in model.get_ordered_ops()
        for constant in _constants(layer)
    )


def weight_places(layer: Any) -> tuple[int, ...]:
    """Return where weights may stand among the inputs of a node."""
    kind = layer.get_type_name()
    return MATRICES.get(kind, (1,) if kind in LAYERS else ())


def _constants(layer: Any) -> list[Any]:
    """Return the constants behind a layer's weights."""
    found = [_constant(layer.input_value(place).get_node()) for place in weight_places(layer)]
    return [constant for constant in found if constant is not None]


def _constant(node: Any) -> Any:
    """Return the constant behind weights, through conversions and scales, or None."""
    while node.get_type_name() != "Constant":
        if node.get_type_name() not in {
            "Add", "Concat", "Convert", "FakeQuantize", "Gather", "Multiply", "Reshape",
            "Subtract", "Transpose",
        }:  # fmt: skip
            return None
        # A codebook comes first, the codes that look it up second.
        node = node.input_value(int(node.get_type_name() == "Gather")).get_node()
    return node


def _count(constant: Any) -> int:
    count = 1
    for size in constant.get_output_shape(0):
        count *= size
    return count
