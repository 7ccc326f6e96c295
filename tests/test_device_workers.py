"""Workers of a search on a device: their memory, and what a broken device means for them."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoopt.controller.setup import worker_setup
from autoopt.evaluate import as_failure
from autoopt.executors.processes import _Running
from autoopt.measure import environment
from autoopt.outcome import Outcome
from autoopt.record import Failure
from autoopt.settings import Limits
from autoopt.targets import load_target
from search_spaces import preset


def job(target: str, memory: int | None = None) -> Any:
    settings = SimpleNamespace(
        limits=Limits(memory=memory), workers=1, cache="cache", stable=True, target=target,
        measured=("quality", "latency"), space=preset("cuda", 2), measure_seconds=1.0,
        constraints={}, bounded_axes=(),
    )  # fmt: skip
    return SimpleNamespace(
        settings=settings, payload=b"", snapshot=Path(), study="s", folder=Path(), cluster=None
    )


def test_what_a_driver_maps_is_not_held_against_a_candidate():
    assert worker_setup(job("cuda:1")).memory_limit == 0
    assert worker_setup(job("cuda", memory=5)).memory_limit == 5
    limit = worker_setup(job("cpu")).memory_limit
    assert limit is not None
    assert limit > 0


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), False),
        (ValueError("no"), False),
    ],
)
def test_a_worker_whose_device_is_broken_is_replaced(error, broken, tmp_path: Path):
    failure = as_failure("deployment", error)
    assert failure.kind == ("out_of_memory" if "memory." in str(error) else "error")
    future: Future[Outcome] = Future()
    future.set_result(failure)
    running = _Running(future, "deployment", 10.0, tmp_path / "log")
    assert isinstance(running.poll(0.0), Failure)
    assert running.failed == broken


def test_the_environment_of_a_device_names_driver_and_the_processor_that_drives_it(monkeypatch):
    said = {"driver": 570.1, "power_limit_w": 700.0, "frequency_mhz": 1980.0}
    gpu = SimpleNamespace(describe=lambda: {"name": "cuda", "processor": "Some GPU", "cores": 132})
    load = load_target
    monkeypatch.setattr(environment, "device_conditions", lambda device: said)
    monkeypatch.setattr(environment, "load_target", lambda n: gpu if n == "cuda" else load(n))
    found = environment.environment_of("cuda")
    assert (found["processor"], found["cores"]) == ("Some GPU", 132)
    system = found["system"]
    assert system["processor"] == load("cpu").describe()["processor"]
    assert (system["driver"], system["power_limit_w"]) == (570.1, 700.0)
    assert system["tf32_convolutions"] is torch.backends.cudnn.allow_tf32
    assert "driver" not in environment.environment_of("cpu")["system"]
