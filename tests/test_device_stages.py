"""A candidate through all stages on a device, which here is the processor in disguise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.build import Bench
from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.evaluate import Evaluator
from autoopt.measure import MeasurePlan, environment
from autoopt.measure import measure as measuring
from autoopt.measurement import Measurement
from autoopt.objectives import clock as clocks
from autoopt.objectives.clock import EventClock
from autoopt.objectives.timing import wall_seconds
from autoopt.outcome import Done
from autoopt.record import Failure
from autoopt.runtimes import torch_files
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.device import DeviceDeployment
from autoopt.targets import load_target
from search_spaces import preset
from tests.runtime_builds import tiny_task

HERE = torch.device("cpu")


@dataclass
class Gpu:
    """A target that calls itself a CUDA device."""

    name: str = "cuda:1"

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "processor": "Some GPU", "cores": 132, "instruction_sets": []}


class Event:
    """What a device notes, by the clock on the wall: the disguised one is done when it returns."""

    def __init__(self) -> None:
        self.at = 0.0

    def record(self) -> None:
        from time import perf_counter

        self.at = perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: Event) -> float:
        return (later.at - self.at) * 1e3


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let all that is for a device run here; return the lanes that are taken for it."""
    lanes: list[str] = []
    lock = measuring.device_lock  # type: ignore[attr-defined]  # imported there, not exported

    def watched(device: str) -> Any:
        lanes.append(device)
        return lock(device)

    def deployed(call: Any, manifest: Any, parallel: Any) -> DeviceDeployment:
        return DeviceDeployment(call, HERE, parallel, manifest.options["batch"])

    load: Any = load_target
    found: Any = lambda name: load(name) if name == "cpu" else Gpu(name)  # noqa: E731 - a stand-in
    monkeypatch.setattr(measuring, "device_lock", watched)
    monkeypatch.setattr(torch_files, "device_of_artifact", lambda manifest: HERE)
    monkeypatch.setattr(torch_files, "deployed", deployed)
    monkeypatch.setattr(environment, "load_target", found)
    monkeypatch.setattr(clocks, "clock_of", lambda device: EventClock(Event, lambda: None))
    return lanes


def evaluator(folder: Path, *objectives: str) -> Evaluator:
    bench = Bench(tiny_task("mlp"), Gpu(), Cache(folder))
    plan = MeasurePlan(("quality", *objectives), seconds=0.1, device="cuda:1")
    return Evaluator(bench, plan, preset("cuda", 2), original())


def test_a_candidate_is_built_for_a_device_and_measured_by_its_events(
    locked: list[str], tmp_path: Path
):
    made = evaluator(tmp_path, "latency", "throughput", "size")
    done = {stage: made.run(stage, original()) for stage in ("network", "artifact", "deployment")}
    deployment = done["deployment"]
    assert isinstance(deployment, Done), deployment
    measured = deployment.measurement
    assert measured is not None
    assert measured.target == "cuda:1"
    assert measured.environment["processor"] == "Some GPU"
    assert measured.environment["system"]["processor"] == load_target("cpu").describe()["processor"]
    assert measured.protocol["latency"]["clock"] == "device events"
    assert measured.protocol["throughput"]["clock"] == "device events"
    assert measured.protocol["latency"]["conditions"]["device"] == {}
    assert set(locked) == {"cuda:1"}
    assert measured.stats["latency"].value > 0
    assert Measurement.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured
    built = done["artifact"]
    assert isinstance(built, Done)
    assert built.built is not None
    manifest = read_manifest(made.bench.artifact_folder(built.built.key))
    assert manifest.options["device"] == "cuda:1"


def test_artefacts_of_a_device_are_other_ones_than_those_of_the_processor(tmp_path: Path):
    task, cache = tiny_task("mlp"), Cache(tmp_path)
    keys = {
        Bench(task, target, cache).artifact_key(original())
        for target in (Gpu("cuda:0"), Gpu("cuda:1"), load_target("cpu"))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"runtime": ("onnxruntime", {})}, "run on the processor only"),
        ({"runtime": ("openvino", {})}, "run on the processor only"),
        ({"quantization": ("static_int8", {})}, "static quantization is not offered in torch"),
    ],
)
def test_what_a_device_cannot_do_is_refused_before_it_is_built(locked, chosen, reason, tmp_path):
    made = evaluator(tmp_path, "latency")
    recipe = original().replaced(**chosen)
    made.run("network", recipe)
    found = made.run("artifact", recipe)
    assert isinstance(found, Failure)
    assert found.kind == "refused"
    assert reason in found.message


def test_the_wall_times_what_is_no_device():
    assert clocks.clock_of("cpu") is wall_seconds
