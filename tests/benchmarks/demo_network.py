"""What the demo's network loses, in points of accuracy on test parts that it has never seen.

Pooled over five stratified folds: each digit is in one test part, and none of a fold's networks has
learned from it; what is left of a fold is split into train and validation part.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoopt.demo.data import Parts, digits_at
from autoopt.demo.model import EPOCHS, train_model
from autoopt.interfaces import Parallel, Quantization
from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from autoopt.techniques.distill import Distill
from autoopt.techniques.structured import ChannelPruning
from tests.benchmarks.paired import accuracy

if TYPE_CHECKING:
    from autoopt.interfaces import Array

FOLDS = range(5)
VALIDATION = 0.25
"""Share of the digits outside a fold that make its validation part."""
INT8 = Quantization("static", 8)


def int8_worst_drop(folds: Sequence[int] = FOLDS, *, epochs: int = EPOCHS) -> dict[str, float]:
    """Return what static int8 loses in each runtime that has it, and in the one that loses most."""
    lost: dict[str, list[float]] = defaultdict(list)
    for fold in folds:
        task = demo_task(fold, epochs)
        for runtime in having(INT8, task):
            whole, eight = (_served(task, runtime, request) for request in (Quantization(), INT8))
            lost[runtime].append(whole - eight)
    drops = {f"int8_drop_{runtime}": pooled(drops, folds) for runtime, drops in lost.items()}
    return {"int8_worst_drop": max(drops.values()), **drops}


def pooled(drops: Sequence[float], folds: Sequence[int]) -> float:
    """Return the drop over the digits of all folds, whose test parts differ by one digit."""
    return float(np.average(drops, weights=[len(fold_parts(fold)[2]) for fold in folds]))


def having(request: Quantization, task: Task) -> list[str]:
    """Return the runtimes that serve a precision of a task's network on this processor."""
    target = load_target("cpu")
    return [name for name in RUNTIMES if load_runtime(name).refuse(request, task, target) is None]


def half_distilled_drop(folds: Sequence[int] = FOLDS, *, epochs: int = EPOCHS) -> dict[str, float]:
    """Return what half the channels and twelve epochs of distillation lose."""
    drops = []
    for fold in folds:
        task = demo_task(fold, epochs)
        half = ChannelPruning(0.5, allocation="uniform").apply(task.model, task)
        student = Distill(12, temperature=4.0, learning_rate=3e-3).apply(half, task)
        drops.append(accuracy(task.model, task) - accuracy(student, task))
    return {"half_distilled_drop": pooled(drops, folds)}


@cache
def demo_task(fold: int, epochs: int) -> Task:
    """Return the demo's network, trained on the train part of a fold."""
    parts = fold_parts(fold)
    model, _ = train_model(fold, parts=parts, epochs=epochs)
    return make_task(model, parts, request_size=16, threads=2)


@cache
def fold_parts(fold: int) -> Parts:
    """Return train, validation and test part of a fold, which is its test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedKFold, train_test_split

    _, classes = load_digits(return_X_y=True)
    folds = StratifiedKFold(len(FOLDS), shuffle=True, random_state=0).split(classes, classes)
    rest, test = list(folds)[fold]
    train, validation = train_test_split(
        rest, test_size=VALIDATION, stratify=classes[rest], random_state=fold
    )
    return digits_at(train, validation, test)


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
