"""Tiny tasks and the artefacts built from them, each built once a test run."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoopt.interfaces import Quantization
from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.runtimes.program import Exported, export_program
from autoopt.targets import load_target
from autoopt.task import Task, make_task

REQUESTS = {
    "float32": Quantization(),
    "bfloat16": Quantization("bfloat16", 16),
    "static": Quantization("static", 8),
    "static_kept": Quantization("static", 8, "per_tensor", "first_last"),
    "weights8": Quantization("weight_only", 8),
    "weights4": Quantization("weight_only", 4),
    "float16": Quantization("float16", 16),
    "dynamic": Quantization("dynamic", 8),
    "percentile": Quantization("static", 8, calibration="percentile", percentile=99.9),
    "mse": Quantization("static", 8, calibration="mse"),
    "entropy": Quantization("static", 8, calibration="entropy"),
    "symmetric": Quantization("static", 8, activations="symmetric", calibration="mse"),
    "weights8_tensor": Quantization("weight_only", 8, "per_tensor"),
    "affine4": Quantization("weight_only", 4, scheme="affine"),
    "affine8_groups": Quantization("weight_only", 8, "per_group", scheme="affine", group=6),
    "groups4": Quantization("weight_only", 4, "per_group", group=8),
    "weights2": Quantization("weight_only", 2, "per_group", "first_last_int8", group=8),
    "codebook": Quantization("codebook", 4, "per_tensor", clusters=16),
    "codebook_odd": Quantization("codebook", 6, "per_tensor", clusters=40),
    "binary": Quantization("binary", 1, keep="first_last_int8"),
}
# Those that this machine can build for and run, whatever devices it has.
ON_CPU = tuple(name for name in RUNTIMES if name != "cudagraphs")
# How far from the network an artefact of that precision may be, as a share of the output's norm.
TOLERANCE = {
    "float32": 1e-4,
    "bfloat16": 0.05,
    "static": 0.15,
    "static_kept": 0.15,
    "weights8": 0.03,
    "weights4": 0.3,
    "float16": 0.005,
    "dynamic": 0.15,
    "percentile": 0.15,
    "mse": 0.15,
    "entropy": 0.3,
    "symmetric": 0.15,
    "weights8_tensor": 0.03,
    "affine4": 0.3,
    "affine8_groups": 0.03,
    "groups4": 0.3,
    "weights2": 0.6,
    "codebook": 0.2,
    "codebook_odd": 0.1,
    "binary": 1.0,
}


class Residual(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.body(x))
        return self.head(x.mean(dim=(2, 3)))


class FixedBatch(nn.Module):
    """Loops over the samples, so a trace of it holds for one number of them only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.stack([self.layer(row.flatten()) for row in x])


def make_network(name: str) -> nn.Module:
    torch.manual_seed(3)
    if name == "cnn":
        return Residual()
    if name == "fixed":
        return FixedBatch()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))


@cache
def tiny_task(name: str) -> Task:
    network = make_network(name).eval()
    x = np.random.default_rng(0).standard_normal((80, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        outputs = network(torch.from_numpy(x))
    return make_task(network, (x, outputs.argmax(1).numpy()), request_size=8, threads=2)


@cache
def exported(name: str) -> Exported:
    task = tiny_task(name)
    return export_program(task.model, task)


@cache
def refusal(name: str, runtime: str, precision: str) -> str | None:
    return load_runtime(runtime).refuse(REQUESTS[precision], tiny_task(name), load_target("cpu"))


def built(name: str, runtime: str, precision: str = "float32") -> Path:
    return _built(name, runtime, precision)


@cache
def _built(name: str, runtime: str, precision: str) -> Path:
    task = tiny_task(name)
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    load_runtime(runtime).build(
        task.model, REQUESTS[precision], task, folder, exported=exported(name)
    )
    return folder


def samples(name: str, count: int = 8) -> np.ndarray:
    return tiny_task(name).validation.inputs(count)[0].numpy()


def expected(name: str, count: int = 8) -> np.ndarray:
    task = tiny_task(name)
    with torch.no_grad():
        return task.forward(task.model, task.validation.inputs(count)).numpy()


def assert_same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def distance(found: Any, wanted: Any) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
