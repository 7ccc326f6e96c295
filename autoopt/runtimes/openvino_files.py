"""OpenVINO's models: conversion, NNCF's quantization, and what their constants really are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from autoopt.errors import RefusedError
from autoopt.runtimes.onnx_files import (
    CALIBRATION,
    calibration_batches,
    graph_input,
    to_onnx,
)
from autoopt.runtimes.quiet import decline_telemetry, quiet_library

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

LAYERS = {"Convolution", "GroupConvolution", "MatMul"}
INTEGERS = {"i8", "u8", "i4", "u4"}


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
            *(RuntimeError, ValueError, NotImplementedError),
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


def quantize_static_int8(model: Any, request: Quantization, task: Task) -> Any:
    """Return the model with weights and activations in int8, by NNCF."""
    decline_telemetry()
    with quiet_library("nncf", "openvino"):
        import nncf
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            QuantizationParameters,
        )

        batches = list(calibration_batches(task))
        per_channel = request.granularity == "per_channel"
        left = _first_and_last(model) if request.keep == "first_last" else []
        return nncf.quantize(
            model,
            nncf.Dataset(batches, lambda batch: batch if len(batch) > 1 else batch[0]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=max(1, min(len(batches), CALIBRATION)),
            ignored_scope=nncf.IgnoredScope(names=left) if left else None,
            advanced_parameters=AdvancedQuantizationParameters(
                weights_quantization_params=QuantizationParameters(per_channel=per_channel),
                batchwise_statistics=len(task.example[0]) > 1,
            ),
        )


def store_weights(model: Any, bits: int) -> Any:
    """Return the model with weights stored in 8 or 4 bits, by NNCF.

    Raises
    ------
    RefusedError
        If less than half of the weights ended up in these bits.
    """
    decline_telemetry()
    with quiet_library("nncf", "openvino"):
        import nncf

        modes = nncf.CompressWeightsMode
        four = {"mode": modes.INT4_SYM, "ratio": 1.0, "group_size": -1, "all_layers": True}
        model = nncf.compress_weights(model, **(four if bits == 4 else {"mode": modes.INT8_ASYM}))
    kinds = weight_kinds(model)
    packed = sum(count for kind, count in kinds.items() if kind.endswith(str(bits)))
    if 2 * packed < sum(kinds.values()):
        raise RefusedError(
            f"NNCF stored only {packed} of {sum(kinds.values())} weights of this network in {bits} "
            f"bits (it left {dict(kinds)}): it packs matrix products, not convolutions; use "
            "onnxruntime or eager for the size."
        )
    return model


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
        if layer.get_type_name() in LAYERS and (constant := _constant(layer)) is not None:
            element = constant.get_output_element_type(0).get_type_name()
            kinds[element] += _count(constant)
    return kinds


def layers_in_integers(model: Any) -> int:
    """Return how many layers have their weights in integers."""
    return sum(
        layer.get_type_name() in LAYERS
        and (constant := _constant(layer)) is not None
        and constant.get_output_element_type(0).get_type_name() in INTEGERS
        for layer in model.get_ordered_ops()
    )


def _first_and_last(model: Any) -> list[str]:
    """Return the names of the first and the last layer with weights."""
    names = [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() in LAYERS and _constant(op) is not None
    ]
    return sorted({names[0], names[-1]}) if names else []


def _constant(layer: Any) -> Any:
    """Return the constant behind a layer's weights, through conversions and scales, or None."""
    node = layer.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        if node.get_type_name() not in {
            "Convert", "Multiply", "Subtract", "Reshape", "Transpose", "FakeQuantize",
        }:  # fmt: skip
            return None
        node = node.input_value(0).get_node()
    return node


def _count(constant: Any) -> int:
    count = 1
    for size in constant.get_output_shape(0):
        count *= size
    return count
