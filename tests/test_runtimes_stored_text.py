"""Stored precisions on language models and recurrent networks: turned, tied and gated weights."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.interfaces import Parallel, Quantization
from autoopt.precision import Grid, quantizable
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.runtimes.layer_table import read_layers
from autoopt.runtimes.layers import grid_of
from autoopt.runtimes.packed_layers import pack_layers
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from tests.architectures import untrained_task
from tests.runtime_builds import distance

RUNTIMES = ("eager", "onnxruntime", "openvino")
REQUESTS = {
    "int4": Quantization("weight_only", 4, "per_group", group=16),
    "affine2": Quantization("weight_only", 2, "per_group", scheme="affine", group=32),
    "binary": Quantization("binary", 1),
    "codebook": Quantization("codebook", 4, "per_tensor", clusters=16),
}


class Both(nn.Module):
    """A recurrent layer that reads both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.rnn(x)[0].mean(1))


def both_ways() -> Task:
    torch.manual_seed(0)
    network = Both().eval()
    x = torch.randn(60, 6, 8)
    with torch.no_grad():
        labels = network(x).argmax(1)
    return make_task(network, (x.numpy(), labels.numpy()), request_size=4, threads=1)


def task_of(kind: str) -> Task:
    return both_ways() if kind == "both_ways" else untrained_task(kind)


def build(runtime: str, task: Task, request: Quantization, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    assert load_runtime(runtime).refuse(request, task, load_target("cpu")) is None
    load_runtime(runtime).build(task.model, request, task, folder)
    return folder


def answers(runtime: str, folder: Path, task: Task) -> np.ndarray:
    deployment = load_runtime(runtime).load(folder, Parallel(1))
    try:
        return np.asarray(deployment(*(x.numpy() for x in task.example)))
    finally:
        deployment.close()


def by_hand(task: Task, request: Quantization, layers: dict[str, int]) -> np.ndarray:
    """The outputs where every weight is rounded as its bits say; tied ones are one tensor."""
    network = copy.deepcopy(task.model)
    done = set()
    for name, weight in quantizable(network).items():
        bits = layers.get(name, 32)
        if bits != 32 and id(weight.tensor) not in done:
            done.add(id(weight.tensor))
            weight.tensor.data = weight.on_grid(grid_of(request, bits))
    with torch.no_grad():
        return task.forward(network, task.example).numpy()


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        *product(["lstm", "both_ways"], REQUESTS),
        # A GRU differs in its gates, and turned weights in their axes: affine and tables have both.
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in product(["gpt2", "gru"], ["affine2", "codebook"])
        ),
    ],
)
def test_every_runtime_serves_the_same_stored_numbers(kind, precision, tmp_path):
    task, request = task_of(kind), REQUESTS[precision]
    known = set(quantizable(task.model))
    for runtime in RUNTIMES:
        folder = build(runtime, task, request, tmp_path / runtime)
        layers = read_manifest(folder).realised["layers"]
        assert set(layers) == known, runtime
        assert set(layers.values()) == {request.bits}
        assert distance(answers(runtime, folder, task), by_hand(task, request, layers)) < 2e-3


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "kind", [pytest.param("gpt2", marks=pytest.mark.slow), "lstm", "both_ways"]
)
def test_the_bits_of_each_layer_are_in_the_file(kind, runtime, tmp_path):
    task = task_of(kind)
    known = quantizable(task.model)
    first = next(iter(known))
    # Of both directions, which lie side by side in one tensor, both must have the same bits.
    raised = () if kind == "both_ways" else ((first, 8),)
    request = Quantization("weight_only", 4, layers=raised)
    folder = build(runtime, task, request, tmp_path / "few")
    wanted = dict.fromkeys(known, 4) | dict(raised)
    tables = ("gather", "embedding")
    found = [layer for layer in read_layers(folder) if layer.kind.lower() not in tables]
    assert len(found) >= 3
    for layer in found:
        assert layer.bits == wanted.get(layer.name, 4), layer
        assert "int" in layer.stored


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", [pytest.param("gpt2", marks=pytest.mark.slow), "lstm"])
def test_files_shrink_by_what_the_bits_promise(kind, runtime, tmp_path):
    task = task_of(kind)
    weights = {id(weight.tensor): weight for weight in quantizable(task.model).values()}
    count = sum(weight.tensor.numel() for weight in weights.values())
    sizes = {
        bits: artifact_size(
            build(runtime, task, Quantization("weight_only", bits), tmp_path / str(bits))
        )
        for bits in (8, 2)
    }
    # The nodes that unpack codes smaller than a byte take some hundred bytes a weight.
    assert sizes[8] - sizes[2] == pytest.approx(count * 6 / 8, abs=900 * len(weights))


def test_a_head_that_is_tied_to_its_embedding_is_packed_once_for_both():
    task = untrained_task("gpt2")
    packed: Any = pack_layers(task.model, {"lm_head": Grid(4)})
    tables = (packed.transformer.wte.parametrizations, packed.lm_head.parametrizations)
    assert tables[0].weight.original0 is tables[1].weight.original0
    assert torch.equal(packed.transformer.wte.weight, packed.lm_head.weight)
    assert len(packed.lm_head.weight.unique(dim=1)) > 1


def test_the_matrices_of_recurrent_layers_go_by_their_own_names():
    names = list(quantizable(untrained_task("lstm").model))
    assert names == [*(f"recurrent.weight_{part}_l{n}" for n in (0, 1) for part in ("ih", "hh")),
                     "hidden", "head"]  # fmt: skip
    assert list(quantizable(nn.GRU(2, 3, bias=False))) == ["weight_ih_l0", "weight_hh_l0"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_recurrent_layer_named_as_a_whole_means_its_matrices(runtime, tmp_path):
    request = Quantization("weight_only", 4, layers=(("recurrent", 8),))
    build(runtime, untrained_task("lstm"), request, tmp_path)
    found = {layer.name: layer.bits for layer in read_layers(tmp_path)}
    matrices = [f"recurrent.weight_{part}_l{n}" for n in (0, 1) for part in ("ih", "hh")]
    assert found == dict.fromkeys(matrices, 8) | {"hidden": 4, "head": 4}


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["minmax", "mse"])
@pytest.mark.parametrize("kind", ["vit", "bert"])
def test_openvino_calibrates_attention_on_what_flows_in_float(kind, calibration, tmp_path):
    """Residual sums are read twice, and masked scores reach 1e38: neither may move a range."""
    task = untrained_task(kind)
    request = Quantization("static", 8, calibration=calibration)
    realised = load_runtime("openvino").build(task.model, request, task, tmp_path)
    assert realised["agreement"]["relative_error"] < 0.1
    assert realised["layers_quantized"] > 6


def test_openvino_leaves_recurrent_layers_in_float_where_it_computes_in_integers(tmp_path):
    task = untrained_task("lstm")
    load_runtime("openvino").build(task.model, Quantization("static", 8), task, tmp_path)
    found = {layer.kind: layer.bits for layer in read_layers(tmp_path)}
    assert found == {"LSTMSequence": 32, "MatMul": 8}
