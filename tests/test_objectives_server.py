from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autoopt.interfaces import Parallel, Probe
from autoopt.measurement import Stat
from autoopt.objectives import load_objective
from autoopt.objectives.server import LEAST_MS, STEPS, Server, _Trial


class Lane:
    """Answers one request at a time, each in a fixed time."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds
        self.lock = threading.Lock()
        self.sizes: list[int] = []

    def __call__(self, *inputs: np.ndarray) -> Any:
        with self.lock:
            self.sizes.append(len(inputs[0]))
            time.sleep(self.milliseconds / 1e3)
        return inputs[0]

    def close(self) -> None:
        pass


def probe_of(candidate: Lane, reference: Lane, opened: list[Parallel], **parallel: Any) -> Probe:
    def open_again(other: Parallel) -> Lane:
        opened.append(other)
        return candidate

    return Probe(
        deployment=candidate,
        reference=reference,
        request=(np.zeros((16, 3), np.float32),),
        parallel=Parallel(1, **parallel),
        size_bytes=1,
        open=open_again,
        memory=lambda: Stat.exact(1.0, "MB"),
        score=lambda part: Stat.exact(0.9),
        seconds=0.2,
    )


def test_the_rate_lies_between_what_is_easy_and_what_cannot_be():
    lane, opened = Lane(5.0), list[Parallel]()
    reading = Server(bound_ms=40.0).measure(probe_of(lane, Lane(10.0), opened))
    # One lane of five milliseconds answers at most 200 a second, and 40 ms leave room to wait.
    assert 40 < reading.stat.value < 200
    assert reading.stat.low == reading.stat.value < reading.stat.high <= 200
    assert set(lane.sizes) == {1}, "MLPerf's server sends one sample a request"
    assert opened == [Parallel(1, batch=1)]
    rates = reading.protocol["rates"]
    assert len(rates) == STEPS
    kept = [trial for trial in rates if trial["kept"]]
    assert all(trial["p99_ms"] <= 40.0 for trial in kept)
    assert max(trial["rate"] for trial in kept) == reading.stat.value


def test_a_tighter_bound_allows_a_lower_rate_and_an_impossible_one_none():
    rates = [
        Server(bound_ms=bound).measure(probe_of(Lane(10.0), Lane(10.0), [])).stat.value
        for bound in (400.0, 28.0, 5.0)
    ]
    assert rates[0] > rates[1] > rates[2] == 0.0


def test_the_bound_is_twice_the_time_of_the_original_unless_given():
    reading = load_objective("server").measure(probe_of(Lane(2.0), Lane(8.0), []))
    assert reading.protocol["bound_ms"] == pytest.approx(16.0, rel=0.3)


def test_the_bound_of_a_quick_network_is_not_below_the_turns_of_the_operating_system():
    reading = load_objective("server").measure(probe_of(Lane(0.2), Lane(0.5), []))
    assert reading.protocol["bound_ms"] == LEAST_MS
    assert reading.stat.value > 0


def test_a_configuration_that_gathers_requests_is_opened_as_it_is():
    opened: list[Parallel] = []
    Server(bound_ms=50.0).measure(probe_of(Lane(1.0), Lane(1.0), opened, gather=4, delay_ms=1.0))
    assert opened == [Parallel(1, gather=4, delay_ms=1.0)]


def test_arrivals_are_those_of_a_poisson_process_and_the_same_each_time():
    trial = _Trial(lambda: None, 20.0)
    gaps = np.diff(trial._arrivals(100.0, seed=1), prepend=0.0)
    assert np.array_equal(gaps, np.diff(trial._arrivals(100.0, seed=1), prepend=0.0))
    assert gaps.mean() == pytest.approx(0.01, rel=0.1)
    # Exponential gaps spread as far as their mean.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15)


def test_what_waits_in_the_queue_counts_as_late():
    lane = Lane(5.0)
    found = _Trial(lambda: lane(np.zeros((1, 1))), 0.4).at(400.0, 30.0, seed=0)
    assert not found["kept"]
    assert found["p99_ms"] > 30.0


@pytest.mark.parametrize("bound", [0, -1.0, float("inf"), float("nan")])
def test_a_bound_must_be_a_positive_time(bound: float):
    with pytest.raises(ValueError, match="`bound_ms` must be a positive number"):
        Server(bound_ms=bound)


def test_an_error_of_the_candidate_ends_the_measurement():
    def broken() -> object:
        raise RuntimeError("kernel failed")

    call: Callable[[], object] = broken
    with pytest.raises(RuntimeError, match="kernel failed"):
        _Trial(call, 0.2).at(50.0, 10.0, seed=0)
