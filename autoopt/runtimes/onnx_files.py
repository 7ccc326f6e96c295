"""ONNX models in float32 from an exported program."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from autoopt.errors import RefusedError
from autoopt.runtimes.quiet import quiet_library
from autoopt.runtimes.weight_names import name_weights

if TYPE_CHECKING:
    import onnx

    from autoopt.runtimes.program import Exported

LAYERS = ("Conv", "Gemm", "MatMul")
RECURRENT = ("LSTM", "GRU", "RNN")
# Of a recurrent node: what multiplies its input, and what multiplies its state.
MATRICES = (1, 2)
# The first that has integers of 4 bits.
OPSET = 21
# Names in a file hold a dot, which no name in an exported graph does: a person's own (`output`,
# `relu`) could be those of values inside.
OUTPUT = "graph.output"


def graph_input(number: int) -> str:
    """Return the name that an input has in the files, where order tells which it is."""
    return f"graph.input_{number}"


def to_onnx(exported: Exported) -> onnx.ModelProto:
    """Return an exported program as an ONNX model.

    Inputs are told by their order; weights bear the task's names.
    """
    import torch

    names = [graph_input(number) for number in range(len(exported.inputs))]
    with quiet_library("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        try:
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
        except torch.onnx.errors.OnnxExporterError as error:
            # The cause of the cause names the operator; what is above it tells of torch's steps.
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            said = " ".join(str(cause).split())[:300]
            raise RefusedError(
                f"ONNX cannot hold this network ({said}); use eager or openvino."
            ) from error
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program.")
    model: onnx.ModelProto = program.model_proto
    # Paths, stack traces and names of the author's machine; value_info trips the quantizer.
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    products = {node.input[1] for node in weight_layers(model)}
    matrices = {name for _, name in recurrent_weights(model)}
    name_weights(model, exported, products=products, matrices=matrices)
    return model


def weight_layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that multiply with stored weights, in the order they run."""
    stored = {item.name for item in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in stored
    ]


def recurrent_weights(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, str]]:
    """Return recurrent nodes with the names of their stored matrices, in the order they run."""
    stored = {item.name for item in model.graph.initializer}
    return [
        (node, node.input[place])
        for node in model.graph.node
        if node.op_type in RECURRENT
        for place in MATRICES
        if node.input[place] in stored
    ]
