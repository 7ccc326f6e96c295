"""ONNX models that compute in int8: static and dynamic quantization by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.runtimes.calibration import activation_ranges, calibration_batches
from autoopt.runtimes.layers import FLOAT, layer_bits
from autoopt.runtimes.onnx_files import weight_layers
from autoopt.runtimes.onnx_shared import share, unshare
from autoopt.runtimes.onnx_weights import layer_names
from autoopt.runtimes.quiet import quiet_library
from autoopt.runtimes.weight_names import layer_of

if TYPE_CHECKING:
    import onnx

    from autoopt.interfaces import Array, Quantization
    from autoopt.task import Task

DYNAMIC = ("MatMul", "Gemm", "Conv")
INTEGER_PRODUCTS = ("MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul")
ZERO_POINT = 3
"""Place of the weights' zero point among the inputs of a product of integers."""


def quantize_static_int8(
    model: onnx.ModelProto, request: Quantization, task: Task
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return the model with weights and activations in int8, and the bits of each layer.

    Affine activations are unsigned and symmetric weights signed: what processors multiply fastest.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    symmetric, affine = request.activations == "symmetric", request.scheme == "affine"
    with TemporaryDirectory() as scratch, quiet_library(""):
        plain, ready, done, ranges = (Path(scratch) / f"{name}.onnx" for name in "abcd")
        onnx.save(model, plain)
        # Folds batch norms; the symbolic shape inference is for transformers and slow.
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        prepared = onnx.load(ready)
        bits = layer_bits(request, layer_names(prepared))
        if request.calibration != "minmax":
            _write_ranges(prepared, request, task, ranges)
        quantize_static(
            ready,
            done,
            _reader([port.name for port in model.graph.input], task),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=None,
            per_channel=request.granularity == "per_channel",
            # Kernels for unsigned weights take unsigned activations only.
            activation_type=QuantType.QInt8 if symmetric and not affine else QuantType.QUInt8,
            weight_type=QuantType.QUInt8 if affine else QuantType.QInt8,
            nodes_to_exclude=_left(prepared, bits),
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": not affine},
            # Read where it exists, written otherwise.
            calibration_cache_path=ranges,
        )
        quantized = onnx.load(done)
        # The shapes of all values inside, which the session finds itself.
        del quantized.graph.value_info[:]
        return quantized, bits


def quantize_dynamic_int8(
    model: onnx.ModelProto, request: Quantization
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return the model with int8 weights whose activations are quantized as they come.

    And the bits of each layer. The model that was given is changed.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    bits = layer_bits(request, layer_names(model))
    left = _left(model, bits)
    unshare(model)
    with TemporaryDirectory() as scratch, quiet_library(""):
        plain, done = (Path(scratch) / f"{name}.onnx" for name in "ab")
        onnx.save(model, plain)
        quantize_dynamic(
            plain,
            done,
            op_types_to_quantize=list(DYNAMIC),
            per_channel=request.granularity == "per_channel",
            # Convolutions in integers take unsigned weights only.
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=left,
            extra_options={
                "MatMulConstBOnly": True,
                "WeightSymmetric": request.scheme == "symmetric",
            },
        )
        quantized = onnx.load(done)
    share(quantized)
    return quantized, bits


def granularities(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many products of integers have a scale a tensor, and a scale a channel.

    What is counted are the zero points of weights, of which there are as many as scales.
    """
    sizes = {item.name: int(np.prod(item.dims)) for item in model.graph.initializer}
    found = {"per_channel": 0, "per_tensor": 0}
    for node in model.graph.node:
        if node.op_type in INTEGER_PRODUCTS and len(node.input) > ZERO_POINT:
            found["per_channel" if sizes.get(node.input[ZERO_POINT], 1) > 1 else "per_tensor"] += 1
    return found


def _left(model: onnx.ModelProto, bits: dict[str, int]) -> list[str]:
    """Return the names of the nodes that stay in float."""
    return [
        node.name for node in weight_layers(model) if bits.get(layer_of(node.input[1])) == FLOAT
    ]


def _write_ranges(model: onnx.ModelProto, request: Quantization, task: Task, path: Path) -> None:
    """Calibrate with histograms and write the ranges as the quantizer reads them."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.quantize import save_tensors_data

    found = activation_ranges(_watched(model), list(calibration_batches(task)), request)
    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, pairs), path)


def _watched(model: onnx.ModelProto) -> Any:
    """Return a callable from a batch to all activations of the model by their names."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {item.name for item in shown.graph.output}
    for node in shown.graph.node:
        # ONNX Runtime fills in the types.
        shown.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name and name not in known
        )
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = [item.name for item in session.get_inputs()]
    outputs = [item.name for item in session.get_outputs()]

    def answer(batch: tuple[Array, ...]) -> dict[str, Array]:
        given = dict(zip(inputs, batch, strict=True))
        return {**given, **dict(zip(outputs, session.run(outputs, given), strict=True))}

    return answer


def _reader(names: list[str], task: Task) -> Any:
    """Return the calibration samples in the shape that the quantizer reads them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # has no type information
        """Gives one batch after another."""

        def __init__(self) -> None:
            self._batches: Iterator[tuple[Array, ...]] = calibration_batches(task)

        def get_next(self) -> dict[str, Array] | None:
            """Return the next batch, or None."""
            batch = next(self._batches, None)
            return None if batch is None else dict(zip(names, batch, strict=True))

    return Reader()
