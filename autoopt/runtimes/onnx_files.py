"""ONNX files: float32 from an exported program, and their static quantization to int8."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.runtimes.quiet import quiet_library

if TYPE_CHECKING:
    import onnx

    from autoopt.interfaces import Array, Quantization
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

LAYERS = ("Conv", "Gemm", "MatMul")
# The first that has integers of 4 bits.
OPSET = 21
CALIBRATION = 256
# Names in a file hold a dot, which no name in an exported graph does: a person's own (`output`,
# `relu`) could be those of values inside.
OUTPUT = "graph.output"


def graph_input(number: int) -> str:
    """Return the name that an input has in the files, where order tells which it is."""
    return f"graph.input_{number}"


def to_onnx(exported: Exported) -> onnx.ModelProto:
    """Return an exported program as an ONNX model; its inputs are told by their order."""
    import torch

    names = [graph_input(number) for number in range(len(exported.inputs))]
    with quiet_library("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        program = torch.onnx.export(
            exported.program,
            dynamo=True,
            input_names=names,
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program.")
    model: onnx.ModelProto = program.model_proto
    # Paths, stack traces and names of the author's machine; value_info trips the quantizer.
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def weight_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that multiply with stored weights, in the order they run."""
    stored = {item.name for item in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in stored
    ]


def quantize_static_int8(
    model: onnx.ModelProto, request: Quantization, task: Task
) -> tuple[onnx.ModelProto, int]:
    """Return the model with weights and activations in int8, and how many layers are.

    Activations are unsigned and weights signed: what processors multiply fastest.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as scratch, quiet_library(""):
        plain, ready, done = (Path(scratch) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        onnx.save(model, plain)
        # Folds batch norms; the symbolic shape inference is for transformers and slow.
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        prepared = onnx.load(ready)
        layers = [node.name for node in weight_layers(prepared)]
        left = [layers[0], layers[-1]] if request.keep == "first_last" and layers else []
        quantize_static(
            ready,
            done,
            _reader([port.name for port in model.graph.input], task),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=None,
            per_channel=request.granularity == "per_channel",
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=left,
        )
        return onnx.load(done), len(set(layers) - set(left))


def _reader(names: list[str], task: Task) -> Any:
    """Return the calibration samples in the shape that the quantizer reads them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # has no type information
        """Gives one batch after another."""

        def __init__(self) -> None:
            self._batches = calibration_batches(task)

        def get_next(self) -> dict[str, Array] | None:
            """Return the next batch, or None."""
            batch = next(self._batches, None)
            return None if batch is None else dict(zip(names, batch, strict=True))

    return Reader()


def calibration_batches(task: Task) -> Iterator[tuple[Array, ...]]:
    """Go through at most `CALIBRATION` calibration samples, a request at a time.

    All batches are of the request's size, which even an artefact of a fixed size takes.
    """
    size = len(task.example[0])
    inputs = [x.numpy() for x in task.calibration.inputs(min(CALIBRATION, len(task.calibration)))]
    count = len(inputs[0])
    if count < size:
        # Repeats do not change ranges.
        inputs = [np.resize(x, (size, *x.shape[1:])) for x in inputs]
        count = size
    for start in range(0, count - size + 1, size):
        yield tuple(x[start : start + size] for x in inputs)
