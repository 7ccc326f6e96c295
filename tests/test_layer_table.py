"""Layers read back from the files of every runtime."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import nn

from autoopt.errors import ArtifactError
from autoopt.handle.layer_changes import kept_layers, layer_changes
from autoopt.interfaces import Quantization
from autoopt.runtimes import load_runtime
from autoopt.runtimes.layer_table import FileLayer, read_layers, stored_form
from autoopt.task import make_task
from tests.runtime_builds import built, refusal

SHAPES = [(8, 1, 3, 3), (8, 8, 3, 3), (4, 8)]
BITS = {"float32": [32, 32, 32], "static": [8, 8, 8], "weights2": [8, 2, 8], "bfloat16": [16] * 3}
CASES = [
    *((runtime, "float32") for runtime in ("eager", "onnxruntime", "openvino")),
    ("onnxruntime", "static"),
    ("openvino", "weights2"),
    ("eager", "weights2"),
]


@pytest.mark.parametrize(("runtime", "precision"), CASES)
def test_shapes_and_bits_are_those_in_the_file(runtime, precision):
    if reason := refusal("cnn", runtime, precision):
        pytest.skip(reason)
    layers = read_layers(built("cnn", runtime, precision))
    assert [layer.shape for layer in layers] == SHAPES
    assert [layer.parameters for layer in layers] == [72, 576, 32]
    assert [layer.bits for layer in layers] == BITS[precision]


def test_what_is_read_agrees_with_onnx_itself():
    model = onnx.load(built("cnn", "onnxruntime", "static") / "model.onnx")
    kinds = {onnx.TensorProto.DataType.Name(i.data_type).lower() for i in model.graph.initializer
             if len(i.dims) > 1}  # fmt: skip
    layers = read_layers(built("cnn", "onnxruntime", "static"))
    assert {layer.stored for layer in layers} <= kinds
    assert [layer.name for layer in layers] == ["stem", "body", "head"]
    # What the session runs after its fusions, not what the file asks for.
    assert layers[0].kernel == "QLinearConv"
    assert layers[0].kind == "Conv"


def read_with_onnx(folder: Path) -> list[tuple[tuple[int, ...], int]]:
    """Return shape and bits of the weights of every product, read by onnx alone."""
    graph = onnx.load(folder / "model.onnx").graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    found = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            name = node.input[1]
            while name not in stored:
                name = made[name].input[0]
            kind = onnx.helper.tensor_dtype_to_np_dtype(stored[name].data_type)
            found.append((tuple(stored[name].dims), 8 * np.dtype(kind).itemsize))
    return found


def read_with_openvino(folder: Path) -> list[tuple[tuple[int, ...], int]]:
    """Return shape and bits of the weights of every product, read by openvino alone."""
    found = []
    for operation in openvino.Core().read_model(folder / "model.xml").get_ordered_ops():
        if operation.get_type_name() in ("Convolution", "MatMul"):
            source = operation.input_value(1).get_node()
            while source.get_type_name() != "Constant":
                source = source.input_value(0).get_node()
            kind = source.get_element_type()
            found.append((tuple(source.get_shape()), kind.bitwidth))
    return found


READERS = {"onnxruntime": read_with_onnx, "openvino": read_with_openvino}


@pytest.mark.parametrize("runtime", READERS)
@pytest.mark.parametrize("precision", ["float32", "static", "weights8", "bfloat16"])
def test_what_an_explanation_says_of_layers_agrees_with_the_librarys_own_reader(runtime, precision):
    if reason := refusal("cnn", runtime, precision):
        pytest.skip(reason)
    folder = built("cnn", runtime, precision)
    there = READERS[runtime](folder)
    assert len(there) == 3
    rows = layer_changes(folder, built("cnn", "eager"))
    if precision != "weights8":  # stored as a matrix, which the graph brings into shape
        assert [row["shape"] for row in rows] == ["×".join(map(str, shape)) for shape, _ in there]
    assert [row["parameters"] for row in rows] == [math.prod(shape) for shape, _ in there]
    assert [row["bits"] for row in rows] == [bits for _, bits in there]


def test_openvino_says_which_kernel_it_chose():
    kernels = [layer.kernel for layer in read_layers(built("cnn", "openvino", "float32"))]
    assert all("f32" in kernel for kernel in kernels)
    assert "FullyConnected" in kernels[-1] or "gemm" in kernels[-1]


def test_layers_without_names_are_matched_in_their_order():
    rows = layer_changes(built("cnn", "openvino"), built("cnn", "eager"))
    assert [row["layer"] for row in rows] == ["stem", "body", "head"]
    assert [row["bits_before"] for row in rows] == [32, 32, 32]
    assert [row["shape_before"] for row in rows] == ["8×1×3×3", "8×8×3×3", "4×8"]


def test_layers_that_keep_more_bits_are_named():
    rows = layer_changes(built("cnn", "eager", "weights2"), None)
    assert kept_layers(rows) == ["stem", "head"]
    assert [row["parameters_before"] for row in rows] == [None] * 3
    assert kept_layers(layer_changes(built("cnn", "eager"), None)) == []


def test_a_damaged_file_is_not_read(tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(built("cnn", "onnxruntime"), folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="not what was exported"):
        read_layers(folder)


@pytest.mark.parametrize(
    ("parts", "weights", "expected"),
    [
        ([("float32", 400.0)], 100, ("float32", 32.0)),
        ([("int8", 100.0), ("float32", 40.0)], 100, ("int8", 8.0)),
        # Six bits in two fields; the codebook is larger than either.
        ([("uint8", 50.0), ("uint8", 25.0), ("float32", 256.0)], 100, ("uint8", 6.0)),
        # Zero points of int8 beside weights in float are no codes.
        ([("float16", 200.0), ("int8", 4.0)], 100, ("float16", 16.0)),
    ],
)
def test_bits_are_counted_without_scales(parts, weights, expected):
    assert stored_form(parts, weights) == expected


def layer(name: str, kind: str, size: int) -> FileLayer:
    return FileLayer(name, kind, (size, 2), 32.0, "float32", kind)


def test_families_of_layers_are_matched_on_their_own_and_nothing_is_guessed(monkeypatch, tmp_path):
    before = (layer("a", "embedding", 9), layer("p", "embedding", 5), layer("q", "linear", 4),
              layer("out", "linear", 3))  # fmt: skip
    after = (layer("Gather 1", "Gather", 9), layer("MatMul 1", "MatMul", 2),
             layer("MatMul 2", "MatMul", 3))  # fmt: skip
    found = {tmp_path / "after": after, tmp_path / "before": before}
    monkeypatch.setattr("autoopt.handle.layer_changes.read_layers", found.__getitem__)
    rows = layer_changes(tmp_path / "after", tmp_path / "before")
    # One table of words became a constant: which of the two is left is not known.
    assert [row["layer"] for row in rows] == ["Gather 1", "q", "out"]
    assert [row["parameters_before"] for row in rows] == [None, 8, 6]


def test_both_weights_of_a_recurrent_layer_are_counted(tmp_path):
    torch.manual_seed(0)
    network = Recurrent().eval()
    words = np.random.default_rng(0).integers(0, 20, (60, 6))
    task = make_task(network, (words, (words[:, 0] > 9).astype(np.int64)), request_size=4,
                     threads=1)  # fmt: skip
    load_runtime("onnxruntime").build(network, Quantization(), task, tmp_path)
    sizes = [(layer.kind, layer.parameters) for layer in read_layers(tmp_path)]
    assert sizes == [("Gather", 20 * 4), ("LSTM", 24 * 4), ("LSTM", 24 * 6), ("Gemm", 12)]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 4)
        self.memory = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.memory(self.words(x))[0][:, -1])
        return answer
