"""Which layers a runtime computes in float32 although 16 bits were asked for: what files hold."""

from __future__ import annotations

import ctypes
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from autoopt.handle.explain import _in_float
from autoopt.interfaces import Quantization
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.compiled import compiler
from autoopt.runtimes.layer_table import FileLayer, read_layers, stayed_in_float32
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from tests import runtime_builds as plain

HALVES = {name: Quantization(name, 16) for name in ("float16", "bfloat16")}
TORCH = ["eager", "compiled", pytest.param("aotinductor", marks=pytest.mark.slow)]


class Island(nn.Module):
    """Its head computes in float32 whatever the network is converted to."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.first = nn.Linear(8, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = torch.relu(self.first(self.table(x).mean(1)))
        return functional.linear(hidden.float(), self.head.weight.float(), self.head.bias.float())


@cache
def task_of() -> Task:
    torch.manual_seed(0)
    x = np.random.default_rng(0).integers(0, 5, (60, 3))
    return make_task(Island().eval(), (x, x[:, 0] % 4), request_size=4, threads=1)


@cache
def built(runtime: str, precision: str) -> Path:
    task, request = task_of(), HALVES[precision]
    if reason := load_runtime(runtime).refuse(request, task, load_target("cpu")):
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    load_runtime(runtime).build(task.model, request, task, folder)
    return folder


def realised(runtime: str, precision: str) -> Mapping[str, Any]:
    return read_manifest(built(runtime, precision)).realised


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("runtime", TORCH)
def test_torch_names_the_layer_that_the_network_itself_computes_in_float32(runtime, precision):
    found = realised(runtime, precision)
    assert found["precision"] == precision
    assert found["stayed_in_float32"] == ["head"]


@pytest.mark.parametrize("precision", HALVES)
def test_a_program_multiplies_in_the_types_that_are_said(precision):
    program = torch.export.load(built("eager", precision) / "model.pt2")
    types = [
        node.meta["val"].dtype
        for node in program.graph.nodes
        if str(node.target).startswith("aten.linear")
    ]
    assert types == [getattr(torch, precision), torch.float32]


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
@pytest.mark.parametrize("precision", HALVES)
def test_native_code_holds_its_weights_in_the_types_that_are_said(precision, tmp_path: Path):
    with zipfile.ZipFile(built("aotinductor", precision) / "model.pt2") as package:
        code = next(name for name in package.namelist() if name.endswith(".so"))
        path = package.extract(code, tmp_path)
    half = {"float16": 5, "bfloat16": 15}[precision]
    # Torch numbers float32 as 6. oneDNN lays weights out in blocks, so there may be more bytes.
    held = constants_of(path)
    assert set(held) == {half, 6}
    assert held[half] >= 2 * (5 * 8 + 8 * 16 + 16)
    assert held[6] >= 4 * (16 * 4 + 4)
    found = {layer.name: layer for layer in read_layers(built("aotinductor", precision))}
    assert list(found) == ["table", "first", "head"]
    assert (found["first"].shape, found["first"].bits) == ((16, 8), 16.0)
    assert found["head"].kernel == "inductor linear float32"


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
def test_native_code_without_a_layer_in_float32_holds_no_weights_in_it(tmp_path: Path):
    folder = plain.built("mlp", "aotinductor", "bfloat16")
    assert read_manifest(folder).realised["stayed_in_float32"] == []
    with zipfile.ZipFile(folder / "model.pt2") as package:
        code = next(name for name in package.namelist() if name.endswith(".so"))
        assert set(constants_of(package.extract(code, tmp_path))) == {15}


def constants_of(path: str) -> dict[int, int]:
    """Return the bytes of the constants in a compiled model, by torch's number of their type."""
    code, handle, count = ctypes.CDLL(path), ctypes.c_void_p(), ctypes.c_size_t()
    name = "AOTInductorModelContainer"
    made = getattr(code, f"{name}CreateWithDevice")
    assert made(ctypes.byref(handle), ctypes.c_size_t(1), b"cpu", None) == 0
    assert getattr(code, f"{name}GetNumConstants")(handle, ctypes.byref(count)) == 0
    found: dict[int, int] = {}
    for number in range(count.value):
        kind, size = ctypes.c_int32(), ctypes.c_size_t()
        place = ctypes.c_size_t(number)
        assert getattr(code, f"{name}GetConstantDtype")(handle, place, ctypes.byref(kind)) == 0
        assert getattr(code, f"{name}GetConstantDataSize")(handle, place, ctypes.byref(size)) == 0
        found[kind.value] = found.get(kind.value, 0) + size.value
    getattr(code, f"{name}Delete")(handle)
    return found


def test_onnx_runtime_multiplies_float16_weights_in_float32_and_says_so():
    import onnx

    assert realised("onnxruntime", "float16")["stayed_in_float32"] == ["first", "head"]
    model = onnx.shape_inference.infer_shapes(
        onnx.load(built("onnxruntime", "float16") / "model.onnx")
    )
    kinds = {item.name: item.type.tensor_type.elem_type for item in model.graph.value_info}
    products = [node for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    assert len(products) == 2
    assert {kinds[node.input[1]] for node in products} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("precision", HALVES)
def test_openvino_names_what_its_plugin_runs_in_float32(precision):
    import openvino

    folder = built("openvino", precision)
    options = read_manifest(folder).options
    config = {"INFERENCE_PRECISION_HINT": options["hint"]}
    compiled = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", config)
    kinds = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) in ("FullyConnected", "MatMul")
    ]
    stayed = realised("openvino", precision)["stayed_in_float32"]
    assert len(stayed) == kinds.count("f32")
    assert len(kinds) == 2


def test_words_of_one_sixteen_bit_type_are_not_taken_for_the_other():
    layers = [
        FileLayer("half", "linear", (4, 4), 16, "float16", "aten.linear float16"),
        FileLayer("brain", "linear", (4, 4), 16, "bfloat16", "aten.linear bfloat16"),
        FileLayer("table", "embedding", (4, 4), 32, "float32", "aten.embedding float32"),
    ]
    assert stayed_in_float32(layers, "float16") == ["brain"]
    assert stayed_in_float32(layers, "bfloat16") == ["half"]


def test_a_sentence_names_a_few_of_the_layers_and_not_all_of_many():
    names = [f"l{n}" for n in range(9)]
    assert _in_float([], 9) == ""
    assert _in_float(names[:2], 9) == " In float32 stayed l0, l1."
    assert _in_float(names[:8], 9) == " In float32 stayed l0, l1, l2, l3, l4, l5 and 2 more."
    assert _in_float(names, 9) == " All of them are computed in float32."
