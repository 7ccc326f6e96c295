"""Weights in few bits: what lies in the files, to the byte, and the same in every runtime."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from transformers.pytorch_utils import Conv1D

from autoopt.errors import RefusedError
from autoopt.interfaces import Parallel, Quantization
from autoopt.precision import Grid, as_rows, left_out, quantizable, store
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layers import grid_of, layer_bits, resolve, stored_precision
from autoopt.runtimes.packed_layers import pack_layers
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from tests.architectures import untrained_task
from tests.runtime_builds import REQUESTS, built, distance, expected, samples, tiny_task

STORED = [name for name, request in REQUESTS.items() if request.stores]
GRIDS = [
    Grid(8), Grid(4), Grid(2), Grid(4, "affine"), Grid(3, "affine", "per_group", 5),
    Grid(4, "symmetric", "per_group", 4), Grid(1, "binary"), Grid(2, "symmetric", "per_tensor"),
    Grid(5, "codebook", "per_tensor", clusters=20),
]  # fmt: skip
LAYERS = [
    nn.Linear(10, 6), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, groups=6),
    nn.Conv1d(4, 5, 3, bias=False), nn.Conv3d(2, 3, 2), Conv1D(6, 10), nn.LSTM(5, 4), nn.GRU(3, 4),
]  # fmt: skip


class Words(nn.Module):
    """A transformer-like network: fused projections, a depthwise convolution, turned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)
        )
        self.mix = nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.squeeze(1))
        for block in self.blocks:
            x = block(x)
        x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        logits: torch.Tensor = self.head(x.mean(dim=1))
        return logits


@pytest.fixture(scope="module")
def words() -> Task:
    torch.manual_seed(0)
    x = torch.randn(60, 1, 8, 8)
    network = Words().eval()
    with torch.no_grad():
        labels = network(x).argmax(dim=1)
    return make_task(network, (x.numpy(), labels.numpy()), request_size=4, threads=1)


def packed_bytes(grid: Grid, layer: nn.Module) -> int:
    """Bytes of a layer's stored weights, its biases not counted."""
    packed = pack_layers(layer, dict.fromkeys(quantizable(layer), grid))
    assert isinstance(packed.parametrizations, nn.ModuleDict)
    parts = packed.parametrizations.parameters()
    return sum(part.numel() * part.element_size() for part in parts)


# ------------------------------------------------------------------ torch


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_packed_layer_holds_the_numbers_of_its_grid_and_no_byte_more(layer, grid):
    weights = quantizable(layer)
    packed = pack_layers(layer, dict.fromkeys(weights, grid))
    size = 0
    for weight in weights.values():
        found = getattr(packed, weight.parameter)
        torch.testing.assert_close(found, weight.on_grid(grid), rtol=1e-6, atol=1e-7)
        size += store(weight.rows(), grid).size
    assert packed_bytes(grid, layer) == size


def test_a_two_bit_layer_takes_two_bits_a_weight_and_its_scales():
    layer = nn.Linear(128, 32)
    assert packed_bytes(Grid(2), layer) == 128 * 32 * 2 // 8 + 32 * 4
    assert packed_bytes(Grid(1, "binary"), layer) == 128 * 32 // 8 + 32 * 4
    assert packed_bytes(Grid(4, "codebook", "per_tensor", clusters=16), layer) == 2048 + 16 * 4


def test_a_shared_layer_stays_shared_and_a_lone_layer_is_packed_too():
    layer = nn.Linear(4, 4)
    packed = pack_layers(nn.Sequential(layer, nn.ReLU(), layer), {"0": Grid(8)})
    assert packed[0] is packed[2]  # type: ignore[index]  # a Sequential again
    assert is_parametrized(packed[0], "weight")  # type: ignore[index]  # as above
    assert is_parametrized(pack_layers(layer, {"": Grid(8)}), "weight")
    assert not is_parametrized(layer)


def test_integer_and_complex_weights_are_left_alone():
    network = nn.ModuleDict({
        "complex": nn.Linear(4, 4, dtype=torch.complex64), "wide": nn.Linear(4, 4).double(),
        "table": nn.Embedding(4, 4), "plain": nn.Linear(4, 4),
    })  # fmt: skip
    assert list(quantizable(network)) == ["plain"]


class Upwards(nn.Module):
    """A small decoder with a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 2, stride=2)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.up(self.down(x).relu()).mean(dim=(2, 3)))
        return logits


def test_all_matrices_of_torchs_own_attention_are_reached():
    layer = nn.TransformerEncoderLayer(64, 4, 256)
    reached = sum(weight.tensor.numel() for weight in quantizable(layer).values())
    assert reached == sum(p.numel() for p in layer.parameters() if p.ndim == 2) == 49152
    assert left_out(layer) == []
    assert not any(weight.recurrent for weight in quantizable(layer).values())


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_what_no_storage_reaches_is_said(runtime, tmp_path):
    torch.manual_seed(0)
    x = torch.randn(40, 1, 8, 8)
    task = make_task(Upwards().eval(), (x, torch.arange(40) % 4), request_size=4, threads=1)
    request = Quantization("weight_only", 4)
    realised = load_runtime(runtime).build(task.model, request, task, tmp_path)
    assert realised["left_in_float32"] == ["up"]
    assert set(realised["layers"]) == {"down", "head"}


def test_attention_with_widths_of_its_own_is_left_out():
    layer = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    assert list(quantizable(layer)) == ["out_proj"]
    assert left_out(nn.Sequential(layer)) == ["0"]


# ------------------------------------------------------------------ all runtimes


@pytest.mark.parametrize("precision", STORED)
def test_every_runtime_computes_with_the_same_stored_numbers(precision):
    outputs: list[Any] = []
    for runtime in ("eager", "onnxruntime", "openvino"):
        folder = built("cnn", runtime, precision)
        assert read_manifest(folder).realised["storage_only"] is True
        deployment = load_runtime(runtime).load(folder, Parallel(1))
        outputs.append(deployment(samples("cnn")))
        deployment.close()
    np.testing.assert_allclose(outputs[0], outputs[1], atol=2e-4)
    np.testing.assert_allclose(outputs[0], outputs[2], atol=2e-4)


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_two_bits_are_two_bits_in_the_file(runtime, tmp_path):
    task = wide_task()
    sizes = {}
    for bits in (2, 4, 8):
        folder = tmp_path / str(bits)
        folder.mkdir()
        load_runtime(runtime).build(task.model, Quantization("weight_only", bits), task, folder)
        sizes[bits] = content_size(folder)
    weights = 64 * 256 + 256 * 256
    # What differs besides the weights is a few nodes.
    assert sizes[4] - sizes[2] == pytest.approx(weights * 2 / 8, abs=2500)
    assert sizes[8] - sizes[4] == pytest.approx(weights * 4 / 8, abs=2500)
    assert sizes[2] < weights * 2 / 8 + 20_000


def wide_task() -> Task:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256))
    x = np.random.default_rng(0).standard_normal((60, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        targets = network(torch.from_numpy(x)).numpy()
    return make_task(network.eval(), (x, targets), request_size=4, threads=1, metric="r2")


def content_size(folder: Path) -> int:
    manifest = read_manifest(folder)
    return sum((folder / name).stat().st_size for name in manifest.files)


def test_the_onnx_file_holds_packed_bytes_that_the_session_folds(tmp_path):
    folder = built("cnn", "onnxruntime", "weights2")
    model = onnx.load(folder / "model.onnx")
    stored = {item.name: item for item in model.graph.initializer}
    assert "body.weight" not in stored
    assert list(stored["body.weight_field2"].dims) == [8 * 8 * 9 * 2 // 8]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node}
    assert not kinds & {"BitShift", "BitwiseAnd", "Slice", "Cast", "DequantizeLinear", "Mul"}


def test_a_pt2_of_packed_layers_holds_no_float_copy_of_the_weights():
    with zipfile.ZipFile(built("cnn", "eager", "weights2") / "model.pt2") as archive:
        largest = max(i.file_size for i in archive.infolist() if "/weight_" in i.filename)
    assert largest < 8 * 8 * 9 * 4


# ------------------------------------------------------------------ layers and their names


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["embed", "blocks.0.self_attn", "blocks.1.linear1", "mix", "head"])
def test_bits_by_name_reach_the_very_layer(words, runtime, name, tmp_path):
    request = Quantization("weight_only", 8, layers=((name, 2),))
    load_runtime(runtime).build(words.model, request, words, tmp_path)
    realised = read_manifest(tmp_path).realised
    assert realised["layers"][name] == 2
    assert set(realised["layers"].values()) == {2, 8}
    deployment = load_runtime(runtime).load(tmp_path, Parallel(1))
    inputs = words.validation.inputs(4)
    found = deployment(*(x.numpy() for x in inputs))
    deployment.close()
    assert distance(found, by_hand(words, request, inputs, realised["layers"])) < 1e-3


def by_hand(task: Task, request: Quantization, inputs, layers) -> np.ndarray:
    """The outputs where each layer's weights are rounded as its bits say."""
    network = Words()
    network.load_state_dict(task.model.state_dict())
    weights: dict[str, Any] = {name: weight.tensor for name, weight in quantizable(network).items()}
    for name, bits in layers.items():
        rounded = store(as_rows(weights[name]), grid_of(request, bits)).restored()
        weights[name].data = torch.from_numpy(rounded).reshape(weights[name].shape)
    with torch.no_grad():
        outputs: np.ndarray = network.eval()(*inputs).numpy()
    return outputs


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_layers_left_in_float_stay_out_of_int8(words, runtime, tmp_path):
    request = Quantization("static", 8, layers=(("blocks.0.linear2", 32), ("head", 32)))
    load_runtime(runtime).build(words.model, request, words, tmp_path)
    realised = read_manifest(tmp_path).realised
    assert realised["layers"]["head"] == 32
    # What a processor has no kernel in integers for, such as a depthwise convolution, stays too.
    assert {"blocks.0.linear2", "head"} <= set(realised["stayed_in_float32"])
    assert "embed" not in realised["stayed_in_float32"]
    if runtime == "openvino":
        assert realised["weights"]["f32"] == 16 * 4 + 16 * 32
        return
    model = onnx.load(tmp_path / "model.onnx")
    floats = {item.name for item in model.graph.initializer if item.data_type == 1}
    assert {"head.weight", "blocks.0.linear2.weight"} <= floats
    assert "blocks.0.linear1.weight" not in floats


def test_a_request_gives_every_layer_its_bits():
    names = ["a", "b", "c", "d"]
    plain = Quantization("weight_only", 2)
    assert layer_bits(plain, names) == dict.fromkeys(names, 2)
    kept = Quantization("weight_only", 2, keep="first_last_int8", layers=(("b", 32),))
    assert layer_bits(kept, names) == {"a": 8, "b": 32, "c": 2, "d": 8}
    floats = Quantization("static", 8, keep="first_last")
    assert layer_bits(floats, names) == {"a": 32, "b": 8, "c": 8, "d": 32}
    with pytest.raises(ValueError, match="must be resolved"):
        layer_bits(Quantization("weight_only", 4, share=0.5), names)


def test_a_block_by_its_name_means_its_layers_and_a_layer_counts_more():
    names = ["stem", "blocks.0.a", "blocks.0.b", "blocks.1.a", "blocks1"]
    layers = (("blocks", 4), ("blocks.0", 2), ("blocks.0.b", 32))
    found = layer_bits(Quantization("weight_only", 8, layers=layers), names)
    assert found == {
        "stem": 8, "blocks.0.a": 2, "blocks.0.b": 32, "blocks.1.a": 4, "blocks1": 8
    }  # fmt: skip


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_bits_of_a_block_reach_its_layers_in_every_runtime(words, runtime, tmp_path):
    request = Quantization("weight_only", 8, layers=(("blocks.1", 4),))
    assert load_runtime(runtime).refuse(request, words, load_target("cpu")) is None
    load_runtime(runtime).build(words.model, request, words, tmp_path)
    realised = read_manifest(tmp_path).realised["layers"]
    assert {n: b for n, b in realised.items() if b == 4}.keys() == {
        name for name in realised if name.startswith("blocks.1.")
    }
    assert realised["blocks.0.linear1"] == 8


def test_a_share_of_the_layers_is_resolved_by_the_order_asked_for():
    network = nn.Sequential(*[nn.Linear(2, 2) for _ in range(4)])
    by = {
        order: resolve(
            Quantization("weight_only", 4, share=0.5, raised=8, order=order), network,
            ["2", "1", "3", "0"],
        ).layers
        for order in ("sensitivity", "front", "back")
    }  # fmt: skip
    assert by["sensitivity"] == (("1", 8), ("2", 8))
    assert by["front"] == (("0", 8), ("1", 8))
    assert by["back"] == (("2", 8), ("3", 8))


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("request_", "words_"),
    [
        (Quantization("weight_only", 4, layers=(("bodi", 8),)), "nearest are 'body'"),
        (Quantization("weight_only", 4, layers=(("norm", 8),)), "'norm' is a BatchNorm2d"),
        (Quantization("weight_only", 4, layers=(("body", 3),)), "but got 3"),
        (Quantization("weight_only", 4, "per_group"), "`group` must be positive"),
        (Quantization("codebook", 4, "per_tensor", clusters=99), "`clusters` must be from 2 to"),
        (Quantization("weight_only", 1), "bits=1"),
        (Quantization("weight_only", 4, share=0.5, raised=5), "but got 5"),
    ],
)
def test_what_does_not_fit_the_network_is_refused_beforehand(runtime, request_, words_):
    reason = load_runtime(runtime).refuse(request_, tiny_task("cnn"), load_target("cpu"))
    assert reason is not None
    assert words_ in reason


def test_a_calibration_that_does_not_exist_is_refused():
    request = Quantization("static", 8, calibration="guess")
    reason = load_runtime("onnxruntime").refuse(request, tiny_task("cnn"), load_target("cpu"))
    assert reason == "calibration must be one of minmax, percentile, mse, entropy, but got 'guess'."


def test_a_weight_of_several_layers_stays_one_in_dynamic_int8(tmp_path: Path):
    task = untrained_task("tied")
    load_runtime("onnxruntime").build(task.model, Quantization("dynamic", 8), task, tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    weights = {item.name for item in model.graph.initializer if len(item.dims) == 2}
    users = [name for node in model.graph.node for name in node.input if name in weights]
    # Down and again share theirs; its transpose, the middle and the head have their own.
    assert sorted(Counter(users).values()) == [1, 1, 1, 2]


@pytest.mark.parametrize("words", [12, 16])
def test_an_embedding_keeps_its_weight_where_dynamic_int8_turns_the_head_that_shares_it(
    words: int, tmp_path: Path
):
    class Recommender(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(words, 16)

        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.items(seen).mean(1), self.items.weight)

    torch.manual_seed(0)
    model = Recommender().eval()
    x = torch.randint(0, words, (60, 5))
    task = make_task(model, (x, x[:, 0]), request_size=4, threads=1)
    load_runtime("onnxruntime").build(model, Quantization("dynamic", 8), task, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x[:4].numpy()})
    with torch.no_grad():
        right = model(x[:4]).numpy()
    assert np.abs(found - right).max() < 0.05 * np.abs(right).max()


def test_equal_constants_become_one_but_not_where_a_node_holds_a_graph():
    from onnx import TensorProto, helper

    from autoopt.runtimes.onnx_shared import share

    def constants() -> list[Any]:
        return [helper.make_tensor(name, TensorProto.FLOAT, [1], [2.0]) for name in "ab"]

    def model(nodes: list[Any]) -> Any:
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        return helper.make_model(helper.make_graph(nodes, "g", [], [y], constants()))

    plain = model([helper.make_node("Add", ["a", "b"], ["y"])])
    share(plain)
    assert [list(plain.graph.node[0].input), len(plain.graph.initializer)] == [["a", "a"], 1]
    branch = helper.make_graph([helper.make_node("Identity", ["b"], ["z"])], "t", [], [])
    deep = model([helper.make_node("If", ["a"], ["y"], then_branch=branch, else_branch=branch)])
    share(deep)
    assert len(deep.graph.initializer) == 2


def test_what_is_kept_must_leave_a_layer_at_the_bits_asked_for():
    binary = Quantization("binary", 1, keep="first_last_int8")
    assert layer_bits(binary, ["a", "b", "c"]) == {"a": 8, "b": 1, "c": 8}
    with pytest.raises(RefusedError, match="leaves none at 1 bits"):
        layer_bits(binary, ["a", "b"])


def test_openvino_refuses_dynamic_int8_where_most_weights_lie_in_convolutions():
    reason = load_runtime("openvino").refuse(
        Quantization("dynamic", 8), tiny_task("cnn"), load_target("cpu")
    )
    assert reason is not None
    assert "648 of 680 weights lie in convolutions" in reason


def test_openvino_quantizes_activations_where_that_was_asked_for_and_only_there():
    options = {
        name: read_manifest(built("mlp", "openvino", name)).options.get("activation_group")
        for name in ("dynamic", "weights8", "float32")
    }
    assert options == {"dynamic": 32, "weights8": 0, "float32": None}
    errors = {}
    for name in ("dynamic", "weights8"):
        deployment = load_runtime("openvino").load(built("mlp", "openvino", name), Parallel(1))
        errors[name] = distance(deployment(samples("mlp")), expected("mlp"))
        deployment.close()
    eager = load_runtime("eager").load(built("mlp", "eager", "weights8"), Parallel(1))
    exact = distance(eager(samples("mlp")), expected("mlp"))
    eager.close()
    assert errors["weights8"] == pytest.approx(exact, abs=1e-4)


def test_a_network_whose_every_layer_stays_in_float_is_refused(tmp_path):
    request = Quantization("weight_only", 4, layers=(("stem", 32), ("body", 32), ("head", 32)))
    task = tiny_task("cnn")
    for runtime in ("eager", "onnxruntime", "openvino"):
        with pytest.raises(RefusedError):
            load_runtime(runtime).build(task.model, request, task, tmp_path)


def test_words_for_a_precision_tell_the_bits_that_layers_have():
    mixed = Quantization("weight_only", 4, layers=(("gone", 2),))
    assert stored_precision(mixed, {"a": 4, "b": 4}) == "int4 weights, float32 compute"
    words = stored_precision(mixed, {"a": 8, "b": 4, "c": 32})
    assert words == "int4/int8/float32 weights, float32 compute"
    binary = Quantization("binary", 1, keep="first_last_int8")
    assert stored_precision(binary, {"a": 8, "b": 1}) == "binary/int8 weights, float32 compute"
