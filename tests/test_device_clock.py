"""Timing on a device: by its own events, on requests that lie there before the clock starts."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.interfaces import Parallel, Probe
from autoopt.measure import device_conditions as conditions
from autoopt.measure.device_conditions import ASKED, device_conditions
from autoopt.measurement import Stat
from autoopt.objectives import clock as clocks
from autoopt.objectives import load_objective, timing
from autoopt.objectives.clock import EventClock, clock_name, clock_of, ready
from autoopt.objectives.timing import time_pairs, wall_seconds


@dataclass
class Gpu:
    """A device whose time passes by work alone, which is queued at once and done when asked for."""

    now: float = 0.0
    queue: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def launch(self, milliseconds: float) -> None:
        self.queue.append(milliseconds)
        self.said.append("launch")

    def wait(self) -> None:
        self.said.append("wait")
        self.now += sum(self.queue)
        self.queue.clear()

    def event(self) -> Event:
        return Event(self)


@dataclass
class Event:
    gpu: Gpu
    at: float = -1.0

    def record(self) -> None:
        self.gpu.said.append("record")
        # What is queued before it is done before it.
        self.at = self.gpu.now + sum(self.gpu.queue)

    def synchronize(self) -> None:
        self.gpu.wait()

    def elapsed_time(self, later: Event) -> float:
        return later.at - self.at


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def clock(gpu: Gpu) -> EventClock:
    return EventClock(gpu.event, gpu.wait)


def test_a_call_that_only_queues_work_is_timed_until_the_work_is_done(gpu: Gpu, clock: EventClock):
    gpu.launch(50.0)  # an earlier call's, which must not count
    assert clock(lambda: gpu.launch(4.0)) == pytest.approx(0.004)
    assert wall_seconds(lambda: gpu.launch(4.0)) < 0.004
    assert gpu.said[:6] == ["launch", "wait", "record", "launch", "record", "wait"]


def test_pairs_are_timed_by_the_clock_they_are_given(gpu: Gpu, clock: EventClock, monkeypatch):
    class Seconds:
        """Wall time that passes by itself, so that a block ends."""

        now = 0.0

        def perf_counter(self) -> float:
            Seconds.now += 0.005
            return Seconds.now

        def sleep(self, seconds: float) -> None:
            Seconds.now += seconds

    monkeypatch.setattr(timing, "time", Seconds())
    pair = time_pairs(lambda: gpu.launch(2.0), lambda: gpu.launch(6.0), seconds=1.0, clock=clock)
    assert pair.ratio().value == pytest.approx(3.0)
    assert {call for block in pair.candidate for call in block} == {2.0}
    assert pair.reference_ms() == pytest.approx(6.0)


class Placed:
    """A deployment on a pretended device."""

    def __init__(self, gpu: Gpu, milliseconds: float, device: str = "cuda:7") -> None:
        self.gpu, self.milliseconds, self.device = gpu, milliseconds, device
        self.brought = 0

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        raise AssertionError("copies there and back belong to no latency")

    def placed(self, *inputs: np.ndarray) -> Any:
        self.brought += 1
        return lambda: self.gpu.launch(self.milliseconds * len(inputs[0]))

    def close(self) -> None:
        pass


@pytest.fixture
def probe(gpu: Gpu, clock: EventClock, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setattr(clocks, "clock_of", lambda device: clock)
    return Probe(
        deployment=Placed(gpu, 0.25),
        reference=Placed(gpu, 1.0),
        request=(np.zeros((16, 3), np.float32),),
        parallel=Parallel(1),
        size_bytes=1,
        open=lambda parallel: Placed(gpu, 0.125),
        memory=lambda: Stat.exact(1.0, "MB"),
        score=lambda part: Stat.exact(1.0),
        seconds=0.2,
        device_memory=lambda: Stat.exact(75.0, "MB"),
    )


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [("latency", 4.0, "ms"), ("throughput", 8000.0, "1/s"), ("latency_p95", 4.0, "ms")],
)
def test_objectives_on_a_device_place_the_request_once_and_ask_its_events(
    probe: Probe, name: str, value: float, unit: str
):
    reading = load_objective(name).measure(probe)
    assert reading.stat.value == pytest.approx(value)
    assert reading.stat.unit == unit
    assert reading.protocol["clock"] == "device events"
    deployment: Any = probe.deployment
    assert deployment.brought == (0 if name == "throughput" else 1)


def test_the_memory_of_a_device_is_an_objective_of_its_own(probe: Probe):
    objective: Any = load_objective("device_memory")
    assert (objective.unit, objective.direction) == ("MB", "minimize")
    assert objective.measure(probe).stat.value == 75.0
    if not torch.cuda.is_available():
        assert "there is no CUDA device" in str(objective.refuse())


def test_on_the_processor_the_clock_is_on_the_wall():
    plain: Any = lambda x: x + 1  # noqa: E731 - a call is all that is asked of a deployment
    call, clock = ready(plain, [np.ones(2)])
    assert clock is wall_seconds is clock_of("cpu")
    assert clock_name(clock) == "wall"
    np.testing.assert_array_equal(call(), np.full(2, 2.0))


# ------------------------------------------------------------------ the driver's words


def pretend(monkeypatch: pytest.MonkeyPatch, uuid: str | None) -> None:
    properties = types.SimpleNamespace(uuid=uuid) if uuid else types.SimpleNamespace()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


def test_the_driver_is_asked_about_the_very_device(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, "1234-5")
    asked: list[list[str]] = []
    values = "1980, 3201, 1980, 41, 120.5, 700.00, 3, 512, 0x0000000000000001, P0, 570.1"

    def ask(command: Any) -> str:
        asked.append(list(command))
        return f"{values}\n"

    found = device_conditions("cuda:1", ask)
    assert asked[0][:3] == ["nvidia-smi", "-i", "GPU-1234-5"]
    assert set(found) == set(ASKED)
    assert (found["frequency_mhz"], found["power_w"], found["driver"]) == (1980.0, 120.5, 570.1)
    assert found["throttled"] == "0x0000000000000001"
    assert found["performance_state"] == "P0"


@pytest.mark.parametrize("printed", [None, "", "No devices were found", "1, 2, 3"])
def test_a_driver_that_says_nothing_useful_leaves_nothing(monkeypatch, printed):
    pretend(monkeypatch, "1")
    assert device_conditions("cuda:0", lambda command: printed) == {}


def test_what_a_device_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, "1")
    values = ", ".join(["[N/A]"] * (len(ASKED) - 1) + ["570.1"])
    assert device_conditions("cuda:0", lambda command: values) == {"driver": 570.1}


def test_a_device_without_an_identity_and_the_processor_are_not_asked_about(monkeypatch):
    pretend(monkeypatch, None)
    assert device_conditions("cuda:0", lambda command: pytest.fail("asked")) == {}
    assert device_conditions("cpu", lambda command: pytest.fail("asked")) == {}


def test_the_tool_may_be_missing_or_fail(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autoopt.measure.device_conditions.shutil.which", lambda name: None)
    assert conditions._run(["nvidia-smi"]) is None
    monkeypatch.undo()
    assert conditions._run(["false"]) is None
    assert conditions._run(["echo", "a, b"]) == "a, b\n"


# ------------------------------------------------------------------ on a CUDA device


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_events_of_a_device_tell_what_its_work_takes():
    place = torch.device("cuda", 0)
    small, large = (torch.randn(size, size, device=place) for size in (64, 8192))
    clock = clock_of("cuda:0")
    assert isinstance(clock, EventClock)
    for matrix in (small, large):
        for _ in range(3):
            clock(lambda matrix=matrix: matrix @ matrix)  # type: ignore[misc]  # a default binds it
    assert clock(lambda: large @ large) > 5 * clock(lambda: small @ small)
    assert device_conditions("cuda:0")["driver"]
