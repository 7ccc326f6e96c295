"""Floats of 8 bits and weights of 4 by torchao: refused in words, stored on any device."""

from __future__ import annotations

import dataclasses
import importlib.util
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.interfaces import Parallel, Quantization
from autoopt.runtimes import load_runtime, torchao_layers
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layer_table import read_layers
from autoopt.runtimes.program import export_program, save_program
from autoopt.runtimes.pt2 import UntrustedProgramError, calls_torchao, load_program
from autoopt.runtimes.torchao_layers import refuse_torchao, torchao_module
from autoopt.task import Task, make_task
from autoopt.techniques import load_technique
from tests.runtime_builds import distance

FP8 = Quantization("fp8", 8)
FP8_WEIGHTS = Quantization("fp8_weights", 8)
INT4 = Quantization("int4", 4, "per_group", scheme="affine", group=32)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@dataclasses.dataclass
class Device:
    """A target that is only a name."""

    name: str

    def describe(self) -> dict[str, Any]:
        return {}


@cache
def task_of(inputs: int = 64, hidden: int = 128) -> Task:
    torch.manual_seed(0)
    layers = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 32)]
    network = nn.Sequential(*layers).eval()
    x = np.random.default_rng(0).standard_normal((60, inputs)).astype(np.float32)
    with torch.no_grad():
        targets = network(torch.from_numpy(x)).numpy()
    return make_task(network, (x, targets), request_size=4, threads=1, metric="r2")


def able(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    """Pretend that there is a CUDA device, and torchao."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torchao_layers, "find_spec", lambda name: object())


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("request_", [FP8, INT4], ids=lambda r: r.name)
@pytest.mark.parametrize("runtime", ["eager", "compiled"])
def test_tensor_cores_are_missed_on_the_processor(runtime: str, request_: Quantization):
    reason = load_runtime(runtime).refuse(request_, task_of(), Device("cpu"))
    assert reason is not None
    assert "needs the tensor cores of a CUDA device, but candidates run on 'cpu'" in reason
    assert "mode='weight_only'" in reason


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_other_runtimes_do_not_know_it(runtime: str):
    for request in (FP8, FP8_WEIGHTS, INT4):
        reason = load_runtime(runtime).refuse(request, task_of(), Device("cpu"))
        assert f"has no precision '{request.name}'" in str(reason)


def test_without_torchao_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchao_layers, "find_spec", lambda name: None)
    reason = refuse_torchao(FP8_WEIGHTS, task_of(), Device("cpu"))
    assert "pip install 'autoopt[cuda]'" in str(reason)


@pytest.mark.parametrize(
    ("request_", "capability", "words"),
    [
        (FP8, (8, 0), "fp8 needs compute capability 8.9, but 'cuda' has 8.0"),
        (FP8, (8, 9), None),
        (INT4, (7, 5), "int4 needs compute capability 8.0, but 'cuda' has 7.5"),
        (INT4, (8, 0), None),
    ],
)
def test_a_device_must_have_the_kernels(monkeypatch, request_, capability, words):
    able(monkeypatch, capability)
    reason = refuse_torchao(request_, task_of(), Device("cuda"))
    assert reason is None if words is None else words in str(reason)


def test_layers_must_have_sizes_that_kernels_take(monkeypatch: pytest.MonkeyPatch):
    able(monkeypatch, (9, 0))
    odd, device = task_of(50, 75), Device("cuda:1")
    assert "multiples of 16" in str(refuse_torchao(FP8, odd, device))
    assert "as many inputs as groups of 32 divide" in str(refuse_torchao(INT4, odd, device))
    coarse = dataclasses.replace(INT4, group=512)
    assert "takes groups of 32, 64, 128, 256, but got 512" in str(
        refuse_torchao(coarse, odd, device)
    )
    grouped = dataclasses.replace(FP8, granularity="per_group", group=32)
    assert "a scale a channel or a tensor" in str(refuse_torchao(grouped, task_of(), device))


@pytest.mark.parametrize(
    ("option", "settings", "words"),
    [
        ("fp8", {"mode": "static"}, "`mode` must be one of"),
        ("fp8", {"granularity": "per_group"}, "`granularity` must be one of"),
        ("fp8", {"keep": "all"}, "`keep` must be one of"),
        ("int4", {"group": 100}, r"`group` must be one of 32, 64, 128, 256, but got 100"),
    ],
)
def test_settings_outside_their_range_are_named(option, settings, words):
    with pytest.raises(ValueError, match=words):
        load_technique("quantization", option)(**settings)


def test_options_ask_for_what_they_say():
    fp8, int4 = load_technique("quantization", "fp8"), load_technique("quantization", "int4")
    assert fp8().request() == FP8
    assert fp8("weight_only", "per_tensor").request() == Quantization(
        "fp8_weights", 8, "per_tensor"
    )
    assert int4(32).request() == INT4


# ------------------------------------------------------------------ on any device


@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_weights_lie_in_8_bit_floats_in_the_file_and_open_safely(granularity, tmp_path: Path):
    pytest.importorskip("torchao")
    task, request = task_of(), dataclasses.replace(FP8_WEIGHTS, granularity=granularity)
    assert load_runtime("eager").refuse(request, task, Device("cpu")) is None
    load_runtime("eager").build(task.model, request, task, tmp_path)
    realised = read_manifest(tmp_path).realised
    assert realised["precision"] == "fp8 weights, float32 compute"
    assert realised["storage_only"] is True
    assert realised["layers"] == {"0": 8, "2": 8}
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        sizes = [i.file_size for i in archive.infolist() if "/weight_" in i.filename]
    assert max(sizes) == 128 * 64
    scales = 4 if granularity == "per_tensor" else 128 * 4
    assert scales in sizes
    assert {layer.bits for layer in read_layers(tmp_path)} == {8.0}
    deployment = load_runtime("eager").load(tmp_path, Parallel(1))
    found = np.asarray(deployment(*(x.numpy() for x in task.example)))
    deployment.close()
    with torch.no_grad():
        expected = rounded_by_hand(task.model, granularity)(*task.example).numpy()
    assert distance(found, expected) < 1e-4


def rounded_by_hand(model: nn.Module, granularity: str) -> nn.Module:
    """The network whose weights are the nearest E4M3 numbers times a scale."""
    other = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).eval()
    other.load_state_dict(model.state_dict())
    for place in (0, 2):
        weight: Any = other[place].weight.data
        largest = weight.abs().amax(dim=None if granularity == "per_tensor" else 1, keepdim=True)
        scale = largest / torch.finfo(torch.float8_e4m3fn).max
        weight.copy_((weight / scale).to(torch.float8_e4m3fn).float() * scale)
    return other


def test_a_program_that_multiplies_8_bit_floats_is_traced_saved_and_opened(monkeypatch, tmp_path):
    """What runs on a CUDA device, traced here: torch multiplies such floats on processors too."""
    api = pytest.importorskip("torchao.quantization.quant_api")
    monkeypatch.setattr(api, "_check_hardware_support", lambda granularity: None)
    task = task_of()
    module, bits = torchao_module(task.model, FP8, task, "cpu")
    assert bits == {"0": 8, "2": 8}
    exported = export_program(module, Faced(task))
    calls = {str(node.target) for node in exported.program.graph.nodes}
    assert "aten._scaled_mm.default" in calls
    save_program(exported.program, tmp_path / "model.pt2")
    program = load_program(tmp_path / "model.pt2")
    with torch.no_grad():
        found, expected = program(*task.example).numpy(), task.model(*task.example).numpy()
    assert found.dtype == np.float32
    assert 1e-3 < distance(found, expected) < 0.15


class Faced:
    """A task whose network has its positional face."""

    def __init__(self, task: Task) -> None:
        self.example, self.input_names = task.example, task.input_names

    def wrapped(self, network: nn.Module) -> nn.Module:
        return network


def test_kept_layers_stay_in_float(tmp_path: Path):
    pytest.importorskip("torchao")
    torch.manual_seed(0)
    layers = [nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)]
    network = nn.Sequential(*layers).eval()
    x = np.random.default_rng(0).standard_normal((60, 32)).astype(np.float32)
    with torch.no_grad():
        y = network(torch.from_numpy(x)).numpy()
    task = make_task(network, (x, y), request_size=4, threads=1, metric="r2")
    request = dataclasses.replace(FP8_WEIGHTS, keep="first_last")
    module, bits = torchao_module(network, request, task, "cpu")
    assert bits == {"0": 32, "2": 8, "4": 32}
    kinds = [p.dtype for n, p in module.named_parameters() if p.ndim == 2 and p.shape[1] == 32]
    assert kinds.count(torch.float8_e4m3fn) == 1
    assert kinds.count(torch.float32) == 2


def test_an_8_bit_program_without_torchao_says_what_to_install(monkeypatch, tmp_path: Path):
    api = pytest.importorskip("torchao.quantization.quant_api")
    monkeypatch.setattr(api, "_check_hardware_support", lambda granularity: None)
    module, _ = torchao_module(task_of().model, FP8, task_of(), "cpu")
    save_program(export_program(module, Faced(task_of())).program, tmp_path / "model.pt2")
    assert calls_torchao(tmp_path / "model.pt2")
    monkeypatch.setitem(importlib.import_module("sys").modules, "torchao.quantization", None)
    with pytest.raises(UntrustedProgramError, match="pip install torchao"):
        load_program(tmp_path / "model.pt2")


# ------------------------------------------------------------------ on a CUDA device


@CUDA
@pytest.mark.cuda
@pytest.mark.parametrize("request_", [FP8, INT4], ids=lambda r: r.name)
def test_a_cuda_device_computes_in_it(request_: Quantization, tmp_path: Path):
    pytest.importorskip("torchao")
    task = task_of()
    if reason := load_runtime("eager").refuse(request_, task, Device("cuda")):
        pytest.skip(reason)
    load_runtime("eager").build(task.model, request_, task, tmp_path)
    realised = read_manifest(tmp_path).realised
    assert realised["storage_only"] is False
    assert realised["agreement"]["relative_error"] < 0.2
    assert set(realised["layers"].values()) == {request_.bits}
