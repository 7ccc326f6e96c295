"""Several processes that train together take the steps of one, and leave nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from autoopt.errors import DivergedError
from autoopt.targets import load_target
from autoopt.task import Task, make_task
from autoopt.techniques import _batches
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.finetune_parallel import DataParallelFineTune
from search_spaces import cores

two_cores = pytest.mark.skipif(cores.usable_cores() < 2, reason="needs two cores")


def task_of(count: int = 300) -> Task:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((count, 6)).astype(np.float32)
    y = (x[:, 0] > x[:, 1]).astype(np.int64)
    network = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 2))
    return make_task(network.eval(), (x, y), request_size=4, threads=2)


def left_behind() -> set[str]:
    scratch = {path.name for path in Path(tempfile.gettempdir()).glob("autoopt-team-*")}
    return scratch | {str(child.pid) for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def _own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Others may train in the machine's folder at the same time."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@two_cores
def test_two_processes_take_the_steps_of_one():
    task, before = task_of(), left_behind()
    one = FineTune(2, 1e-2).apply(task.model, task)
    two = DataParallelFineTune(2, 1e-2, 2).apply(task.model, task)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    moved = task.model.state_dict()["0.weight"] - two.state_dict()["0.weight"]
    assert float(moved.abs().max()) > 1e-3
    assert not two.training
    assert left_behind() <= before


@two_cores
def test_a_training_that_diverges_is_told_apart_and_leaves_nothing():
    task, before = task_of(), left_behind()
    with pytest.raises(DivergedError, match=r"loss is|not finite"):
        DataParallelFineTune(3, 1e30, 2).apply(task.model, task)
    assert left_behind() <= before


def test_what_cannot_run_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    task, target = task_of(), load_target("cpu")
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    assert DataParallelFineTune(processes=2).refuse(task, target) is None
    reason = DataParallelFineTune(processes=4).refuse(task, target)
    assert reason == "4 training processes need as many cores, but there are 2"
    monkeypatch.setattr(_batches, "batch_size", lambda task: 3)
    assert "too few samples" in (DataParallelFineTune(processes=2).refuse(task, target) or "")
    with pytest.raises(ValueError, match="`processes` must be at least 2, but got 1"):
        DataParallelFineTune(processes=1)
