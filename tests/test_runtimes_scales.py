"""What weights share a scale, where grids lie and which range they cover, down to the files."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.interfaces import Parallel, Quantization
from autoopt.precision import quantizable
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layers import grid_of
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from autoopt.techniques import load_technique
from tests.runtime_builds import distance

RUNTIMES = ("eager", "onnxruntime", "openvino")
MODES = ("static", "dynamic", "weight_only")
SCHEMES = ("symmetric", "affine")
GRANULARITIES = ("per_tensor", "per_channel", "per_group")
CALIBRATIONS = ("minmax", "percentile", "mse", "entropy")
COMBINATIONS = list(itertools.product(MODES, SCHEMES, GRANULARITIES, CALIBRATIONS))
WIDTH = 64
SCALES = {"per_tensor": 1, "per_channel": WIDTH, "per_group": WIDTH * WIDTH // 32}


@cache
def wide_task() -> Task:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)]
    network = nn.Sequential(*layers).eval()
    x = np.random.default_rng(0).standard_normal((60, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        targets = network(torch.from_numpy(x)).numpy()
    return make_task(network, (x, targets), request_size=4, threads=1, metric="r2")


def requested(mode: str, scheme: str, granularity: str, calibration: str) -> Quantization:
    """The request of a combination."""
    group = 32 if granularity == "per_group" else 0
    found = "weight_ranges" if mode == "weight_only" else "calibration"
    options: dict[str, Any] = {found: calibration}
    return Quantization(mode, 8, granularity, scheme=scheme, group=group, **options)


def refusals(combination: tuple[str, str, str, str]) -> dict[str, str | None]:
    """What each runtime says beforehand."""
    request, target = requested(*combination), load_target("cpu")
    return {name: load_runtime(name).refuse(request, wide_task(), target) for name in RUNTIMES}


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_a_combination_is_served_by_a_runtime_or_refused_by_all_with_the_reason(combination):
    mode, scheme, granularity, calibration = combination
    reasons = refusals(combination)
    nobody = {
        ("static", "per_group"): "add up products of integers along a whole output channel",
        ("static", "affine", "per_channel"): "one zero point for all channels",
        ("dynamic", "calibrated"): "ranges anew at every request",
        ("weight_only", "entropy"): "too few for one",
    }
    key: tuple[str, ...] | None = None
    if mode == "static" and granularity == "per_group":
        key = (mode, granularity)
    elif mode == "static" and scheme == "affine" and granularity == "per_channel":
        key = (mode, scheme, granularity)
    elif mode == "dynamic" and calibration != "minmax":
        key = (mode, "calibrated")
    elif mode == "weight_only" and calibration == "entropy" and granularity != "per_tensor":
        key = (mode, calibration)
    if key is None:
        assert None in reasons.values(), reasons
    else:
        assert None not in reasons.values()
        assert nobody[key] in str(reasons["onnxruntime"])


@pytest.mark.parametrize(
    ("runtime", "granularity", "scheme"),
    [
        *itertools.product(["openvino"], GRANULARITIES, SCHEMES),
        *itertools.product(["onnxruntime"], ["per_tensor", "per_channel"], SCHEMES),
    ],
)
def test_dynamic_int8_has_the_scales_that_were_asked_for(runtime, granularity, scheme, tmp_path):
    task = wide_task()
    request = requested("dynamic", scheme, granularity, "minmax")
    load_runtime(runtime).build(task.model, request, task, tmp_path)
    assert sizes_of_scales(runtime, tmp_path) == {SCALES[granularity]}
    found = answers(runtime, tmp_path)
    # Activations are rounded, not the weights alone.
    assert 1e-4 < distance(found, by_hand(request)) < 0.05


def sizes_of_scales(runtime: str, folder: Path) -> set[int]:
    """How many scales the products have, read from the files."""
    if runtime == "openvino":
        import openvino

        model = openvino.Core().read_model(folder / "model.xml")
        return {
            int(np.prod(node.input_value(1).get_shape()))
            for node in model.get_ordered_ops()
            if node.get_type_name() == "Multiply"
        }
    model = onnx.load(folder / "model.onnx")
    sizes = {item.name: int(np.prod(item.dims)) for item in model.graph.initializer}
    return {sizes[node.input[3]] for node in model.graph.node if node.op_type == "MatMulInteger"}


def answers(runtime: str, folder: Path) -> np.ndarray:
    """What the artefact says to some samples."""
    deployment = load_runtime(runtime).load(folder, Parallel(1))
    found: np.ndarray = np.asarray(deployment(*(x.numpy() for x in wide_task().example)))
    deployment.close()
    return found


def by_hand(request: Quantization) -> np.ndarray:
    """What the network says whose weights lie on the request's grid."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    network.load_state_dict(wide_task().model.state_dict())
    for weight in quantizable(network).values():
        weight.tensor.data = weight.on_grid(grid_of(request, request.bits))
    with torch.no_grad():
        outputs: np.ndarray = network.eval()(*wide_task().example).numpy()
    return outputs


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("scheme", "granularity", "ranges", "bits"),
    [
        ("symmetric", "per_tensor", "entropy", 8),
        ("affine", "per_tensor", "percentile", 4),
        ("affine", "per_group", "mse", 4),
        ("symmetric", "per_group", "minmax", 2),
    ],
)
def test_stored_weights_lie_on_the_grid_that_was_asked_for(
    runtime, scheme, granularity, ranges, bits, tmp_path
):
    group = 32 if granularity == "per_group" else 0
    request = Quantization(
        "weight_only", bits, granularity, scheme=scheme, group=group, weight_ranges=ranges,
        percentile=99.0,
    )  # fmt: skip
    load_runtime(runtime).build(wide_task().model, request, wide_task(), tmp_path)
    assert distance(answers(runtime, tmp_path), by_hand(request)) < 1e-3


def test_onnxruntime_multiplies_affine_weights_about_their_own_zero(tmp_path: Path):
    request = requested("static", "affine", "per_tensor", "minmax")
    load_runtime("onnxruntime").build(wide_task().model, request, wide_task(), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    points = [
        onnx.numpy_helper.to_array(item)
        for item in model.graph.initializer
        if item.name.endswith("weight_zero_point")
    ]
    assert points
    assert all(point.dtype == np.uint8 for point in points)
    assert distance(answers("onnxruntime", tmp_path), by_hand(request)) < 0.05


def test_convolutions_of_onnxruntime_say_that_they_have_one_scale(tmp_path: Path):
    from tests.runtime_builds import tiny_task

    task = tiny_task("cnn")
    load_runtime("onnxruntime").build(task.model, Quantization("dynamic", 8), task, tmp_path)
    said = read_manifest(tmp_path).realised["granularity"]
    assert said == {"per_channel": 1, "per_tensor": 2}


def test_rows_that_groups_do_not_divide_have_a_scale_a_channel(tmp_path: Path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 64)).eval()
    x = np.random.default_rng(0).standard_normal((60, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        targets = network(torch.from_numpy(x)).numpy()
    task = make_task(network, (x, targets), request_size=4, threads=1, metric="r2")
    request = requested("dynamic", "symmetric", "per_group", "minmax")
    load_runtime("openvino").build(network, request, task, tmp_path)
    assert sizes_of_scales("openvino", tmp_path) == {40 * 64 // 32, 64}


def test_openvino_refuses_groups_in_which_no_kernel_rounds_activations(tmp_path: Path):
    request = Quantization("dynamic", 8, "per_group", group=2)
    with pytest.raises(RefusedError, match="quantizes the activations of this network in these"):
        load_runtime("openvino").build(wide_task().model, request, wide_task(), tmp_path)


@pytest.mark.parametrize(
    ("option", "settings", "expected"),
    [
        ("dynamic_int8", {"granularity": "per_group"}, ("dynamic", "per_group", 32)),
        ("dynamic_int8", {"granularity": "per_tensor"}, ("dynamic", "per_tensor", 0)),
        ("weight_only", {"granularity": "per_group"}, ("weight_only", "per_group", 32)),
        ("weight_only", {"group": 64}, ("weight_only", "per_group", 64)),
        ("weight_only", {"granularity": "per_tensor"}, ("weight_only", "per_tensor", 0)),
        ("static_int8", {"granularity": "per_group"}, ("static", "per_group", 32)),
    ],
)
def test_options_of_the_menu_ask_for_scales(option, settings, expected):
    request = load_technique("quantization", option)(**settings).request()
    assert (request.name, request.granularity, request.group) == expected


@pytest.mark.parametrize(
    ("option", "settings", "words"),
    [
        ("dynamic_int8", {"granularity": "per_row"}, "`granularity` must be one of"),
        ("dynamic_int8", {"scheme": "log"}, "`scheme` must be one of"),
        ("dynamic_int8", {"group": 1}, "a whole number from 2, but got 1"),
        ("dynamic_int8", {"group": 0}, "`group` must be from 2"),
        ("weight_only", {"calibration": "best"}, "`calibration` must be one of"),
        ("weight_only", {"percentile": 20}, "above 50 and at most 100, but got 20"),
        ("weight_only", {"granularity": "per_tensor", "group": 8}, "a scale a tensor has no"),
        ("static_int8", {"scheme": "log"}, "`scheme` must be one of"),
    ],
)
def test_scales_that_do_not_exist_are_named(option, settings, words):
    with pytest.raises(ValueError, match=words):
        load_technique("quantization", option)(**settings)
