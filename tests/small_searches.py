"""Searches that take seconds: tiny trained models on scikit-learn's tables, in scripts or here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

import autoopt
from autoopt.controller.job import LOG
from autoopt.handle.handle import Search
from autoopt.history import History
from autoopt.log import Log
from search_spaces import SearchSpace, quick

REPOSITORY = Path(__file__).parents[1]
# On a machine whose processors are all busy a controller alone takes several seconds to start.
PATIENCE = 120.0


def mlp(inputs: int = 64, outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images of 8×8 as rows of 64 numbers between 0 and 1, and their classes."""
    from sklearn.datasets import load_digits

    table = load_digits()
    return (table.data / 16).astype(np.float32), table.target


def images() -> tuple[np.ndarray, np.ndarray]:
    x, y = digits()
    return x.reshape(-1, 1, 8, 8), y


def fit(model: nn.Module, x: Any, y: Any, *, epochs: int = 30, rate: float = 1e-2) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs, targets = torch.as_tensor(x), torch.as_tensor(y)
    loss: Callable[..., torch.Tensor] = (
        nn.functional.mse_loss if targets.is_floating_point() else nn.functional.cross_entropy
    )
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            loss(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return model.eval()


@cache
def trained_mlp() -> nn.Module:
    torch.manual_seed(0)
    return fit(mlp(), *digits(), epochs=10)


@cache
def trained_cnn() -> nn.Module:
    torch.manual_seed(0)
    return fit(cnn(), *images(), epochs=4)


def narrow(**slots: Any) -> SearchSpace:
    """The quick space without training, in two runtimes, unless slots say otherwise."""
    plain: dict[str, Any] = {
        "student": ["none"],
        "pruning": ["none"],
        "recovery": ["none"],
        "quantization": ["float32", "weight_only"],
        "runtime": ["eager", "onnxruntime"],
        "parallel": ["default"],
    }
    return quick().narrow(**{**plain, **slots})


def start(folder: Path, **options: Any) -> Search:
    """Search the MLP on the digits, in the folder and with a cache beside it."""
    wanted: dict[str, Any] = {
        "space": narrow(),
        "budget": "3 trials",
        "objectives": ["size"],
        "threads": 1,
        "cache": folder.parent / "cache",
        "block": True,
    }
    return autoopt.search(trained_mlp(), digits(), folder=folder, **{**wanted, **options})


@cache
def finished_search() -> Search:
    """One search of the CNN over the usual objectives, made once a test run."""
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    return autoopt.search(
        trained_cnn(),
        images(),
        space=narrow(
            runtime=["eager", "onnxruntime", "openvino"],
            quantization=["float32", "static_int8"],
            parallel=["default", "tuned"],
        ),
        budget="8 trials",
        max_drop=0.05,
        threads=1,
        folder=folder / "search",
        cache=folder / "cache",
        block=True,
    )


def history(folder: Path) -> History:
    """What a search's log says now; empty before there is one."""
    found = History()
    if (folder / LOG).exists():
        found.add(Log(folder / LOG).read())
    return found


def until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Wait until a condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)
    return found


def family(pid: int) -> list[psutil.Process]:
    """A process with all its descendants, as far as they are there."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def script(path: Path, code: str) -> subprocess.Popen[str]:
    """Start code as a script of its own, so that what it defines is in ``__main__``."""
    path.write_text(code)
    entries = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entries)},
    )


def outcome(process: subprocess.Popen[str], *, seconds: float = 300.0) -> str:
    """Wait for a script, which must succeed, and return what it printed."""
    try:
        printed, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    return printed
