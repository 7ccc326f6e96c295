"""What the demo's network loses, in points of accuracy on test parts that it has never seen.

Pooled over five folds: five splits of the digits, each with a network trained on its train part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from autoopt.demo.data import digits
from autoopt.demo.model import EPOCHS, train_model
from autoopt.interfaces import Parallel, Quantization
from autoopt.runtimes import load_runtime
from autoopt.task import Task, make_task
from autoopt.techniques.distill import Distill
from autoopt.techniques.structured import ChannelPruning
from tests.benchmarks.paired import accuracy

if TYPE_CHECKING:
    from autoopt.interfaces import Array

FOLDS = range(5)


def int8_worst_drop(folds: Sequence[int] = FOLDS, *, epochs: int = EPOCHS) -> dict[str, float]:
    """Return what static int8 loses in the runtime where it loses most."""
    lost: dict[str, list[float]] = {"onnxruntime": [], "openvino": []}
    for fold in folds:
        task = demo_task(fold, epochs)
        for runtime, drops in lost.items():
            whole, eight = (
                _served(task, runtime, request)
                for request in (Quantization(), Quantization("static", 8))
            )
            drops.append(whole - eight)
    # All folds have test parts of one size, so the mean is the pooled figure.
    return {"int8_worst_drop": max(map(fmean, lost.values()))}


def half_distilled_drop(folds: Sequence[int] = FOLDS, *, epochs: int = EPOCHS) -> dict[str, float]:
    """Return what half the channels and twelve epochs of distillation lose."""
    drops = []
    for fold in folds:
        task = demo_task(fold, epochs)
        half = ChannelPruning(0.5, allocation="uniform").apply(task.model, task)
        student = Distill(12, temperature=4.0, learning_rate=3e-3).apply(half, task)
        drops.append(accuracy(task.model, task) - accuracy(student, task))
    return {"half_distilled_drop": fmean(drops)}


@cache
def demo_task(fold: int, epochs: int) -> Task:
    """Return the demo's network, trained on the train part of a split."""
    model, _ = train_model(fold, split=fold, epochs=epochs)
    return make_task(model, digits(fold), request_size=16, threads=2)


def _served(task: Task, runtime: str, request: Quantization) -> float:
    """Return points of accuracy of the artefact on the test part."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        load_runtime(runtime).build(task.model, request, task, folder)
        deployment = load_runtime(runtime).load(folder, Parallel(task.threads))
        inputs: list[Array] = [x.numpy() for x in task.test.inputs()]
        outputs = deployment(*inputs)
        deployment.close()
    return 100 * task.metric(task.test.targets().numpy(), outputs)
