"""Artefacts of networks with many zeros are stored compressed, and load as any other."""

from __future__ import annotations

import copy
import gzip
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.errors import ArtifactError
from autoopt.exporting import export_strategy
from autoopt.interfaces import Parallel
from autoopt.loading import load
from autoopt.recipe import Recipe
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.zeros import zero_share
from tests.runtime_builds import REQUESTS, assert_same, samples, tiny_task

RUNTIMES = ["eager", "onnxruntime", "openvino"]
REPORT: dict[str, Any] = {"parallel": {"threads": 1}}


class Wide(nn.Module):
    """Large enough for its weights to be most of its file."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.Linear(256, 4)
        )

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


@cache
def network(zeros: float) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = Wide().eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data *= torch.rand_like(parameter) >= zeros
    return model


@cache
def stored(runtime: str, zeros: float, precision: str = "float32") -> Path:
    folder = Path(mkdtemp())
    load_runtime(runtime).build(network(zeros), REQUESTS[precision], tiny_task("mlp"), folder)
    return folder


def answers(folder: Path, runtime: str) -> Any:
    deployment = load_runtime(runtime).load(folder, Parallel(1))
    try:
        return deployment(samples("mlp"))
    finally:
        deployment.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_files_with_many_zeros_are_smaller_and_answer_the_same(runtime):
    sparse, dense = stored(runtime, 0.8), stored(runtime, 0.0)
    assert artifact_size(sparse) < 0.4 * artifact_size(dense)
    assert all(name.endswith(".gz") for name in read_manifest(sparse).files)
    assert not any(path.suffix in {".onnx", ".bin", ".pt2"} for path in sparse.iterdir())
    with torch.no_grad():
        expected = network(0.8)(torch.from_numpy(samples("mlp"))).numpy()
    assert_same(answers(sparse, runtime), expected)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_record_says_that_zeros_are_worth_storage_only(runtime):
    realised = read_manifest(stored(runtime, 0.8)).realised
    assert realised["storage_only"] is True
    assert realised["zeros_realised"] == "storage only"
    assert realised["zeros"] == pytest.approx(zero_share(network(0.8)), abs=1e-3)
    assert "zeros" not in read_manifest(stored(runtime, 0.0)).realised


def test_zeros_in_integers_are_no_storage_only_network():
    realised = read_manifest(stored("onnxruntime", 0.8, "static")).realised
    assert realised["storage_only"] is False
    assert realised["zeros_realised"] == "storage only"


def test_a_network_with_few_zeros_is_stored_as_ever():
    manifest = read_manifest(stored("onnxruntime", 0.1))
    assert manifest.model == "model.onnx"
    assert "unpacked" not in manifest.options


def test_building_again_gives_the_same_bytes(tmp_path):
    load_runtime("onnxruntime").build(network(0.8), REQUESTS["float32"], tiny_task("mlp"), tmp_path)
    first = (stored("onnxruntime", 0.8) / "model.onnx.gz").read_bytes()
    assert (tmp_path / "model.onnx.gz").read_bytes() == first


@pytest.mark.parametrize(
    "runtime",
    [
        "onnxruntime",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("eager", "openvino")),
    ],
)
@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_export_runs_by_its_own_script_and_by_load(runtime, replicas, tmp_path):
    source = stored(runtime, 0.8)
    folder = export_strategy(
        source,
        Recipe.of({}).to_yaml(),
        REPORT,
        tmp_path / "export",
        parallel=Parallel(2, replicas),
    )
    x = samples("mlp")
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, str(folder / "predict.py"), "x.npy", "y.npy"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, env={**os.environ})
    expected = answers(source, runtime)
    assert_same(np.load(tmp_path / "y.npy"), expected)
    with load(folder) as predict:
        assert_same(predict(x), expected)


def broken(tmp_path: Path, change: Any) -> Path:
    """Copy an artefact with its packed file changed, checksums and all."""
    from autoopt.runtimes.artifact import write_manifest

    source = stored("onnxruntime", 0.8)
    manifest = copy.deepcopy(read_manifest(source))
    (tmp_path / "model.onnx.gz").write_bytes(change((source / "model.onnx.gz").read_bytes()))
    write_manifest(tmp_path, manifest, manifest.files)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], "cannot be unpacked"),
        (lambda packed: b"not gzip at all", "cannot be unpacked"),
        (lambda packed: gzip.compress(b"\0" * 50_000_000), "but holds more"),
        (lambda packed: gzip.compress(b"short"), "but holds 5"),
    ],
)
def test_a_packed_file_that_is_not_what_was_written_is_refused(change, message, tmp_path):
    with pytest.raises(ArtifactError, match=message):
        load_runtime("onnxruntime").load(broken(tmp_path, change), Parallel(1))


@pytest.mark.parametrize("sizes", [[1], {"model.onnx": -1}, {"model.onnx": "many"}])
def test_sizes_that_are_none_are_refused(sizes, tmp_path):
    folder = broken(tmp_path, lambda packed: packed)
    data = json.loads((folder / "artifact.json").read_text())
    data["options"]["unpacked"] = sizes
    (folder / "artifact.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="'unpacked' must map files to their sizes"):
        read_manifest(folder)
