"""Programs on a device: what goes where, what is timed, and what is refused beforehand."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.build import Bench
from autoopt.build.survey import survey
from autoopt.cache import Cache
from autoopt.devices import PlacedDeployment, device_of, placement
from autoopt.errors import ArtifactError, RefusedError
from autoopt.exporting.predict_script import predict_script
from autoopt.interfaces import Parallel, Quantization
from autoopt.loading.benchmark import machine_differs
from autoopt.objectives.decoding import FirstToken
from autoopt.objectives.device_memory import DeviceMemory
from autoopt.objectives.energy import Energy
from autoopt.runtimes import cuda_graphs, load_runtime, torch_files
from autoopt.runtimes.artifact import Manifest, read_manifest
from autoopt.runtimes.compiled import missing_compiler
from autoopt.runtimes.device import DeviceDeployment, device_of_artifact
from autoopt.runtimes.int8_layers import Int8Linear, fitting, int8_module, refuse_int8
from autoopt.runtimes.layer_table import read_layers, stayed_in_float32
from autoopt.runtimes.manifest_rules import broken_option
from autoopt.runtimes.opening import cannot_serve, open_own
from autoopt.runtimes.program import export_program, save_program
from autoopt.runtimes.pt2 import load_program
from autoopt.runtimes.torch_files import torch_abilities
from autoopt.task import Task, make_task
from search_spaces import preset
from tests.runtime_builds import built, distance, samples, tiny_task

INT8 = Quantization("dynamic", 8)
CPU_PLACE = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@dataclasses.dataclass
class Device:
    """A target that is only a name."""

    name: str

    def describe(self) -> dict[str, Any]:
        return {}


@cache
def words() -> Task:
    """Torch's own encoder, whose layers have a way past their linear layers."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    network = nn.Sequential(nn.Embedding(20, 32), encoder, nn.Flatten(), nn.Linear(32 * 6, 8))
    x = np.random.default_rng(0).integers(0, 20, (60, 6))
    return make_task(network.eval(), (x, x[:, 0] % 8), request_size=4, threads=1)


# ------------------------------------------------------------------ names and places


def test_a_target_means_one_device_and_only_others_than_the_processor_are_told():
    assert [device_of(name) for name in ("cpu", "cuda", "cuda:0", "cuda:3")] == [
        "cpu", "cuda:0", "cuda:0", "cuda:3",
    ]  # fmt: skip
    assert placement("cpu") == {}
    assert placement("cuda") == {"device": "cuda:0"}


@pytest.mark.parametrize(
    ("device", "fine"),
    [
        ("cpu", True),
        ("cuda:0", True),
        ("cuda:12", True),
        ("cuda", False),
        ("../x", False),
        (3, False),
    ],
)
def test_an_artefact_names_its_device_as_torch_does(device, fine):
    options = {"request": 1, "threads": 1, "batch": None, "device": device}
    assert (broken_option("eager", options) is None) == fine


def manifest_on(device: str) -> Manifest:
    return dataclasses.replace(read_manifest(built("mlp", "eager")), options={"device": device})


def test_an_artefact_runs_where_it_was_built_for_else_on_the_first_device(monkeypatch):
    assert device_of_artifact(manifest_on("cpu")) == CPU_PLACE
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_artifact(manifest_on("cuda:1")) == torch.device("cuda", 1)
    assert device_of_artifact(manifest_on("cuda:5")) == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArtifactError, match="built for a CUDA device, but torch finds none"):
        device_of_artifact(manifest_on("cuda:0"))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "weights8", "codebook"])
def test_a_program_is_brought_to_its_device_with_all_it_holds(device, precision):
    program: Any = load_program(built("cnn", "eager", precision) / "model.pt2", device=device)
    given = torch.from_numpy(samples("cnn")).to(device)
    answer = program(given)
    assert (answer.device.type, tuple(answer.shape)) == (device, (8, 4))
    assert {x.device.type for x in program.state_dict().values()} == {device}


def test_a_build_for_a_device_notes_it_and_traces_on_the_processor(monkeypatch, tmp_path: Path):
    asked: list[str] = []

    def load(path: Path, *, trust_code: bool = False, device: str = "cpu") -> Any:
        asked.append(device)
        return load_program(path, trust_code=trust_code)

    monkeypatch.setattr(torch_files, "load_program", load)
    monkeypatch.setattr(torch_files, "device_of_artifact", lambda manifest: CPU_PLACE)
    task = tiny_task("mlp")
    load_runtime("eager").build(task.model, Quantization(), task, tmp_path, device="cuda:1")
    assert read_manifest(tmp_path).options["device"] == "cuda:1"
    assert asked == ["cpu"]


def test_an_artefact_for_a_device_is_not_opened_where_there_is_none(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    folder = tmp_path / "artefact"
    folder.mkdir()
    for path in built("mlp", "eager").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    data = json.loads((folder / "artifact.json").read_text())
    data["options"]["device"] = "cuda:0"
    (folder / "artifact.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="run it where there is one, or build it with target"):
        open_own(folder, Parallel(1))


# ------------------------------------------------------------------ serving


def on_cpu(parallel: Parallel, fixed: int | None = None) -> tuple[DeviceDeployment, list[int]]:
    """A deployment on the processor, told as if it were a device, and the sizes of its calls."""
    sizes: list[int] = []

    def call(x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        assert x.device == CPU_PLACE
        sizes.append(len(x))
        return x * 2

    return DeviceDeployment(call, CPU_PLACE, parallel, fixed), sizes


@pytest.mark.parametrize(
    ("batch", "fixed", "sizes"),
    [(0, None, [7]), (3, None, [3, 3, 1]), (0, 4, [4, 4]), (2, 4, [4, 4])],
)
def test_a_request_is_answered_in_chunks_that_are_filled_up(batch, fixed, sizes):
    deployment, called = on_cpu(Parallel(1, batch=batch), fixed)
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    np.testing.assert_array_equal(deployment(x), x * 2)
    assert called == sizes
    assert isinstance(deployment, PlacedDeployment)


def test_a_placed_request_is_a_copy_that_is_answered_as_often_as_wanted():
    deployment, called = on_cpu(Parallel(1))
    x = np.ones((2, 3), np.float32)
    x.setflags(write=False)
    call = deployment.placed(x)
    assert called == []
    first, second = call(), call()
    assert [len(answer) for answer in (first, second)] == [1, 1]  # type: ignore[arg-type]  # lists
    assert called == [2, 2]
    deployment.close()
    with pytest.raises(ValueError, match="this deployment is closed"):
        call()


@pytest.mark.parametrize(
    "parallel",
    [
        Parallel(2, 2),
        Parallel(1, processes=True),
        Parallel(2, stages=2),
        Parallel(2, shards=2),
        Parallel(1, gather=4),
        Parallel(1, inter_op=2),
    ],
)
def test_a_device_serves_one_request_after_the_other(parallel):
    reason = cannot_serve("eager", parallel, "cuda:0")
    assert reason is not None
    assert "on 'cuda:0' only a batch may be given" in reason
    assert cannot_serve("eager", Parallel(2, batch=4), "cuda:0") is None


# ------------------------------------------------------------------ what runs there


@pytest.mark.parametrize("runtime", ["aotinductor", "onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", [Quantization(), Quantization("static", 8)])
def test_what_runs_on_the_processor_only_says_so(runtime, precision):
    reason = load_runtime(runtime).refuse(precision, tiny_task("mlp"), Device("cuda"))
    assert reason is not None
    assert "run on the processor only" in reason


def test_torch_runs_on_a_device_in_floats_and_in_int8(monkeypatch):
    monkeypatch.setattr("autoopt.runtimes.compiled.missing_compiler", lambda device: None)
    for runtime in ("eager", "compiled", "cudagraphs"):
        found = load_runtime(runtime)
        for name, bits in (("float32", 32), ("bfloat16", 16), ("float16", 16), ("dynamic", 8)):
            assert found.refuse(Quantization(name, bits), words(), Device("cuda:1")) is None
        static = found.refuse(Quantization("static", 8), words(), Device("cuda"))
        assert "static quantization is not offered in torch" in str(static)


def test_cuda_graphs_need_a_cuda_device():
    found = load_runtime("cudagraphs")
    reason = found.refuse(Quantization(), tiny_task("mlp"), Device("cpu"))
    assert reason == "CUDA graphs record the kernels of a CUDA device, but candidates run on 'cpu'."
    assert {reason} == set(found.abilities(Device("cpu")).values())


def test_compiling_for_a_device_needs_triton_and_a_c_compiler(monkeypatch):
    module = "autoopt.runtimes.compiled"
    monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    assert "Triton, which is not installed" in str(missing_compiler("cuda:0"))
    monkeypatch.setattr(f"{module}.find_spec", lambda name: object())
    monkeypatch.setattr(f"{module}.shutil.which", lambda name: None)
    assert "looked for $CC, gcc, clang and cc" in str(missing_compiler("cuda:0"))
    assert "looked for $CXX, g++ and clang++" in str(missing_compiler("cpu"))
    monkeypatch.setattr(f"{module}.shutil.which", lambda name: f"/usr/bin/{name}")
    assert missing_compiler("cuda:0") is missing_compiler("cpu") is None


@pytest.mark.parametrize(
    ("capability", "precision", "word"),
    [
        ((9, 0), "fp8", "computes in linear layers"),
        ((8, 0), "fp8", "refused: needs capability 8.9"),
        ((8, 0), "bfloat16", "computes"),
        ((7, 5), "bfloat16", "computes, but this device has no tensor cores for it"),
        ((7, 0), "dynamic int8", "refused: needs capability 7.5"),
    ],
)
def test_a_device_says_what_it_computes_in(monkeypatch, capability, precision, word):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert torch_abilities(Device("cuda"))[precision] == word


def test_the_preset_for_devices_asks_for_nothing_that_they_refuse(monkeypatch, tmp_path: Path):
    pytest.importorskip("torchao")
    monkeypatch.setattr("autoopt.runtimes.compiled.missing_compiler", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=None: (9, 0))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16)).eval()
    x = np.random.default_rng(0).standard_normal((60, 128)).astype(np.float32)
    task = make_task(network, (x, np.arange(60) % 16), request_size=4, threads=1)
    bench = Bench(task, Device("cuda"), Cache(tmp_path))
    refused = {
        json.dumps(when): reason
        for when, ask in survey(bench, preset("cuda"))
        if {"runtime"} <= set(when) and (reason := ask())
    }
    assert refused == {}


# ------------------------------------------------------------------ int8


def test_integers_multiply_as_torchao_multiplies_them():
    quantization = pytest.importorskip("torchao.quantization")
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 32), torch.randn(40, 64)
    config = quantization.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    theirs = nn.Sequential(nn.Linear(64, 32))
    theirs[0].load_state_dict(layer.state_dict())
    quantization.quantize_(theirs, config)
    with torch.no_grad():
        found, other, exact = (f(x).numpy() for f in (Int8Linear(layer), theirs, layer))
    assert distance(found, exact) < 0.012
    assert distance(found, exact) < 1.1 * distance(other, exact)


@pytest.mark.parametrize("shape", [(1, 64), (3, 64), (2, 5, 64), (2, 20, 64), (1, 2, 3, 64)])
def test_rows_of_any_number_are_multiplied(shape):
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 16, bias=False), torch.randn(shape)
    taken: list[int] = []
    with torch.no_grad():
        multiply = torch._int_mm

        def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            taken.append(len(a))
            return multiply(a, b)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "_int_mm", watched)
            found = Int8Linear(layer)(x)
        assert found.shape == layer(x).shape
        assert distance(found.numpy(), layer(x).numpy()) < 0.02
    # Tensor cores take no fewer.
    assert taken[0] >= 17


def test_a_row_of_zeros_stays_one():
    found = Int8Linear(nn.Linear(8, 8, bias=False))(torch.zeros(2, 8))
    assert torch.equal(found, torch.zeros(2, 8))


def test_a_network_in_int8_is_traced_saved_opened_and_names_its_layers(tmp_path: Path):
    task = words()
    module, bits = int8_module(task.model, INT8, task)
    assert set(bits.values()) == {8}
    exported = export_program(module, Faced(task))
    assert exported.fixed is None
    save_program(exported.program, tmp_path / "model.pt2")
    program = load_program(tmp_path / "model.pt2")
    with torch.no_grad():
        for count in (1, 4, 9):
            inputs = task.validation.inputs(count)
            wanted = task.forward(task.model, inputs).numpy()
            assert distance(program(*inputs).numpy(), wanted) < 0.05


def test_the_record_of_int8_names_layers_bits_and_nothing_in_float32(monkeypatch, tmp_path: Path):
    # Its file is opened on the processor, which multiplies integers as well, only slowly.
    monkeypatch.setattr(torch_files, "device_of_artifact", lambda manifest: CPU_PLACE)
    task = words()
    load_runtime("eager").build(task.model, INT8, task, tmp_path, device="cuda:0")
    realised = read_manifest(tmp_path).realised
    assert realised["precision"] == "dynamic int8"
    assert realised["layers_quantized"] == 5
    assert realised["stayed_in_float32"] == []
    kernels = {layer.name: layer.kernel for layer in read_layers(tmp_path)}
    assert kernels["1.layers.0.linear1"] == "aten._int_mm int8"
    assert kernels["1.layers.0.self_attn"] == "aten.linear bfloat16"
    assert stayed_in_float32(read_layers(tmp_path), "bfloat16")[0] == "1.layers.0.linear1"


class Faced:
    """A task whose network has its positional face."""

    def __init__(self, task: Task) -> None:
        self.example, self.input_names = task.example, task.input_names

    def wrapped(self, network: nn.Module) -> nn.Module:
        return network


def test_shared_layers_are_replaced_wherever_they_stand():
    torch.manual_seed(0)
    shared = nn.Linear(16, 16)
    network = nn.Sequential(shared, nn.ReLU(), shared).eval()
    x = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    task = make_task(network, (x, np.arange(60) % 16), request_size=4, threads=1)
    module, bits = int8_module(task.model, INT8, task)
    kinds = [type(m).__name__ for m in module.modules() if "Linear" in type(m).__name__]
    assert bits == {"0": 8}
    assert kinds == ["Int8Linear"]


@pytest.mark.parametrize(
    ("changes", "words_"),
    [
        ({"granularity": "per_tensor"}, "one scale an output channel, but got (granularity="),
        ({"scheme": "affine"}, "scheme='affine'"),
    ],
)
def test_scales_that_tensor_cores_do_not_take_are_refused(changes, words_):
    request = dataclasses.replace(INT8, **changes)
    assert words_ in str(refuse_int8(request, words(), Device("cuda")))


def test_layers_of_odd_sizes_stay_in_float_and_a_network_of_them_is_refused():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    x = np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)
    task = make_task(network, (x, np.arange(60) % 4), request_size=4, threads=1)
    assert fitting(network) == {}
    assert "sizes that are multiples of 8" in str(refuse_int8(INT8, task, Device("cuda")))
    kept = dataclasses.replace(INT8, layers=tuple((name, 32) for name in fitting(words().model)))
    with pytest.raises(RefusedError, match="no linear layer of this network is left"):
        int8_module(words().model, kept, words())


# ------------------------------------------------------------------ exports


def test_predict_py_of_a_device_places_what_it_is_given():
    manifest = dataclasses.replace(
        read_manifest(built("mlp", "eager")),
        options={"batch": None, "request": 8, "threads": 1, "device": "cuda:1"},
    )
    for runtime, program in (("eager", "program"), ("compiled", "torch.compile(program)")):
        script = predict_script(dataclasses.replace(manifest, runtime=runtime), Parallel(1))
        compile(script, "predict.py", "exec")
        assert "load_program(Path(__file__).with_name('model.pt2'), device=\"cuda\")" in script
        assert f"program = {program}\n" in script
        assert 'tensor.to("cuda")' in script


def test_an_export_of_a_device_says_that_it_is_missing_here():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    found = {"measurement": {"target": "cuda", "environment": {"processor": "Some GPU"}}}
    assert "the target 'cuda' cannot be used" in machine_differs(found)[0]


# ------------------------------------------------------------------ on a CUDA device


CASES = [
    ("float32", Quantization()),
    ("bfloat16", Quantization("bfloat16", 16)),
    ("float16", Quantization("float16", 16)),
    ("int8", INT8),
    ("weights8", Quantization("weight_only", 8)),
]


@pytest.mark.parametrize("runtime", ["eager", "compiled", "cudagraphs"])
@pytest.mark.parametrize(("name", "request_"), CASES, ids=[name for name, _ in CASES])
@pytest.mark.cuda
@needs_cuda
def test_a_cuda_device_answers_requests_of_every_size(runtime, name, request_, tmp_path: Path):
    task = words()
    if reason := load_runtime(runtime).refuse(request_, task, Device("cuda")):
        pytest.skip(reason)
    load_runtime(runtime).build(task.model, request_, task, tmp_path, device="cuda:0")
    with closing(open_own(tmp_path, Parallel(1))) as deployment:
        assert isinstance(deployment, PlacedDeployment)
        for count in (1, 4, 9):
            inputs = task.validation.inputs(count)
            with torch.no_grad():
                wanted = task.forward(task.model, inputs).numpy()
            found = deployment(*(x.numpy() for x in inputs))
            assert distance(found, wanted) < (1e-3 if name == "float32" else 0.1)


@pytest.mark.cuda
@needs_cuda
def test_recorded_kernels_answer_each_request_anew():
    place = torch.device("cuda", 0)
    layer = nn.Linear(8, 8).to(place)
    launch = cuda_graphs._recorded(layer, [torch.zeros(2, 8, device=place)])
    with torch.inference_mode():
        first, second = (launch(torch.full((2, 8), x, device=place)) for x in (1.0, 2.0))
        torch.testing.assert_close(first, layer(torch.ones(2, 8, device=place)))
        torch.testing.assert_close(second, layer(torch.full((2, 8), 2.0, device=place)))


def test_objectives_that_a_device_has_not_are_refused(monkeypatch):
    probe: Any = SimpleNamespace(
        deployment=on_cpu(Parallel(1))[0],
        request=[np.ones((1, 1), np.float32)],
        seconds=0.1,
        decoder=lambda: None,
        device_memory=lambda: None,
    )
    monkeypatch.setattr(Energy, "refuse", lambda self: None)
    with pytest.raises(RefusedError, match="counters are those of the processor"):
        Energy().measure(probe)
    with pytest.raises(RefusedError, match="runs on the processor, which has no memory of its own"):
        DeviceMemory().measure(probe)
    with pytest.raises(RefusedError, match="one token after the other is timed on the processor"):
        FirstToken().measure(probe)
