"""What threads, replicas and batches are worth: samples a second beside the runtime's default."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tests.benchmarks.registry import Report

if TYPE_CHECKING:
    from autoopt.task import Task

SAMPLES = 32
"""Samples that wait at once; every configuration answers the same."""

SPREADS: tuple[Mapping[str, Any], ...] = (
    {"threads": 1},
    {"threads": 2},
    {"threads": 2, "replicas": 2},
    {"threads": 2, "replicas": 2, "processes": True, "pinned": True},
)
"""Threads in total, and replicas that share them: in one process, or in processes of their own."""

BATCHES = (1, 4, 16)
RUNTIMES = ("openvino", "onnxruntime")
SECONDS = 0.8
WORDS, LENGTH = 200, 32


class _Mean(nn.Module):
    """The mean over the words."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def run() -> Report:
    """Measure a CNN and an encoder under every configuration, in turn with the default."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as scratch:
        for (name, task), runtime in itertools.product(tasks().items(), RUNTIMES):
            folder = Path(tempfile.mkdtemp(dir=scratch))
            _build(task, runtime, folder)
            rows += [
                {"network": name, "runtime": runtime, **row} for row in _measured(task, folder)
            ]
    return Report(gains(rows), {"configurations": rows})


def gains(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the best configuration's throughput over the default's, by network and batch.

    ``parallel_gain`` is that of the CNN at batch 1 in the runtime that is faster by default.
    """
    found = {}
    for name, batch in itertools.product(("cnn", "encoder"), BATCHES):
        own = [row for row in rows if (row["network"], row["batch"]) == (name, batch)]
        fastest = max(own, key=lambda row: float(row["default_per_s"]))["runtime"]
        best = max((row for row in own if row["runtime"] == fastest), key=lambda row: row["gain"])
        found[f"{name}_gain_batch_{batch}"] = best["gain"]
    return {"parallel_gain": found["cnn_gain_batch_1"], **found}


def _measured(task: Task, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row a configuration: samples a second and times as many as by default."""
    import numpy as np

    from autoopt.interfaces import Parallel
    from autoopt.objectives.timing import time_pairs
    from autoopt.runtimes.opening import open_artifact

    samples = [tensor.numpy() for tensor in task.train.inputs(SAMPLES)]
    for batch, spread in itertools.product(BATCHES, SPREADS):
        parallel = Parallel(**spread, batch=batch)
        usual = _by_default(folder, samples, batch)
        with closing(open_artifact(folder, parallel)) as deployment:
            paired = time_pairs(lambda: deployment(*samples), usual, seconds=SECONDS)
        gain = paired.ratio()
        default = 1e3 * SAMPLES / float(np.median(np.concatenate(paired.reference)))
        yield {
            "threads": parallel.threads,
            "replicas": parallel.replicas,
            "processes": parallel.processes,
            "batch": batch,
            "default_per_s": default,
            "per_s": default * gain.value,
            "gain": gain.value,
            "gain_low": gain.low,
            "gain_high": gain.high,
        }


def _by_default(folder: Path, samples: list[Any], batch: int) -> Callable[[], object]:
    """Return what a plain script does: batches one after another, the library left as it is.

    Only the precision is told, since OpenVINO's default would be another than the artefact's.
    """
    chunks = [
        [array[start : start + batch] for array in samples] for start in range(0, SAMPLES, batch)
    ]
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        names = [item.name for item in session.get_inputs()]
        return lambda: [session.run(None, dict(zip(names, chunk, strict=True))) for chunk in chunks]
    import openvino

    config = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", config)
    call = request.create_infer_request()
    return lambda: [call.infer(chunk) for chunk in chunks]


def _build(task: Task, runtime: str, folder: Path) -> None:
    from autoopt.interfaces import Quantization
    from autoopt.runtimes import load_runtime

    load_runtime(runtime).build(task.model, Quantization(), task, folder)


def tasks() -> Mapping[str, Task]:
    """Return the digits' CNN and an encoder of two layers, both with random weights."""
    from autoopt.demo.data import digits
    from autoopt.demo.model import DigitsNet
    from autoopt.task import make_task

    torch.manual_seed(0)
    words = torch.randint(0, WORDS, (200, LENGTH))
    classes = torch.arange(200) % 4
    layer = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True)
    encoder = nn.Sequential(
        nn.Embedding(WORDS, 128),
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        _Mean(),
        nn.Linear(128, 4),
    )
    return {
        "cnn": make_task(DigitsNet().eval(), digits(), request_size=16, threads=2),
        "encoder": make_task(encoder.eval(), (words, classes), request_size=16, threads=2),
    }
