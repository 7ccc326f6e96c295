"""Profiles of sensitivity: what they measure, and that they are made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autoopt.build import Bench
from autoopt.build import bench as bench_module
from autoopt.build.sensitivity import sensitivity
from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.interfaces import Quantization
from autoopt.precision import Grid, as_rows, shaped, store
from autoopt.runtimes.artifact import read_manifest
from autoopt.targets import load_target
from autoopt.task import make_task
from tests.runtime_builds import tiny_task

FOUR = Quantization("weight_only", 4)
MIXED = {"bits": 4, "raised": 32, "share": 0.34, "order": "sensitivity", "scheme": "symmetric"}


def test_the_divergence_is_that_of_the_definition() -> None:
    task = tiny_task("cnn")
    found = sensitivity(task.model, task, FOUR)
    assert list(found) == ["stem", "body", "head"]
    network = tiny_task("cnn").model
    weight: Any = network.get_parameter("body.weight")
    kept = weight.data
    inputs = task.calibration.inputs()
    with torch.no_grad():
        wanted = F.softmax(network(*inputs), dim=1)
        weight.data = shaped(store(as_rows(kept), Grid(4)).restored(), kept)
        got = F.softmax(network(*inputs), dim=1)
    weight.data = kept
    by_hand = (wanted * (wanted / got).log()).sum(dim=1).mean()
    assert found["body"] == pytest.approx(float(by_hand), rel=1e-3, abs=1e-7)


def test_a_profile_leaves_the_network_as_it_was() -> None:
    task = tiny_task("cnn")
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    sensitivity(task.model, task, Quantization("static", 8))
    assert all(torch.equal(before[n], value) for n, value in task.model.state_dict().items())


def test_values_instead_of_classes_are_compared_by_their_squares() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 1)).eval()
    x = np.random.default_rng(0).standard_normal((60, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        y = network(torch.from_numpy(x)).numpy()
    task = make_task(network, (x, y), threads=1, metric="r2")
    found = sensitivity(task.model, task, Quantization("weight_only", 2))
    with torch.no_grad():
        wanted = network(*task.calibration.inputs())
        weight = network.get_parameter("2.weight")
        weight.data = shaped(store(as_rows(weight), Grid(2)).restored(), weight)
        got = network(*task.calibration.inputs())
    by_hand = float((got - wanted).square().mean() / wanted.square().mean())
    assert found["2"] == pytest.approx(by_hand, rel=1e-3)


def test_fewer_bits_diverge_more_and_outputs_count_where_they_are_quantized() -> None:
    task = tiny_task("cnn")
    two, eight, static = (
        sum(sensitivity(task.model, task, Quantization(name, bits)).values())
        for name, bits in (("weight_only", 2), ("weight_only", 8), ("static", 8))
    )
    assert two > eight
    assert static > eight


def test_a_profile_is_made_once_and_decides_which_layers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task("cnn")
    made = Bench(task, load_target("cpu"), Cache(tmp_path))
    recipe = original().replaced(quantization=("mixed", MIXED), runtime=("onnxruntime", {}))
    key = made.build_artifact(recipe).key
    realised = read_manifest(made.artifact_folder(key)).realised["layers"]
    profiled = Quantization("weight_only", 4, "per_group", group=32)
    losses = sensitivity(task.model, task, profiled)
    kept = {name for name, bits in realised.items() if bits == 32}
    assert kept == set(sorted(losses, key=losses.__getitem__)[-2:])
    monkeypatch.delattr(bench_module, "sensitivity")
    elsewhere = original().replaced(quantization=("mixed", MIXED), runtime=("eager", {}))
    again = made.build_artifact(elsewhere).key
    assert read_manifest(made.artifact_folder(again)).realised["layers"] == realised


def test_what_needs_no_profile_makes_none(tmp_path: Path) -> None:
    made = Bench(tiny_task("cnn"), load_target("cpu"), Cache(tmp_path))
    front = ("mixed", {**MIXED, "order": "front"})
    made.build_artifact(original().replaced(quantization=front, runtime=("onnxruntime", {})))
    assert not (tmp_path / "profiles").exists()
