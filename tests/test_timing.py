from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoopt.interfaces import Parallel, Probe
from autoopt.measurement import Stat
from autoopt.objectives import load_objective, tail, timing
from autoopt.objectives.tail import percentile_stat
from autoopt.objectives.timing import FEW_ROUNDS, MAX_ROUNDS, MIN_ROUNDS, ratio_stat, time_pairs

TRUE_RATIO = 3.0


class Clock:
    """Time that passes only when something is said to take time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def call(
        self, milliseconds: float, noise: Callable[[], float] = lambda: 1.0
    ) -> Callable[..., object]:
        def work(*inputs: object) -> object:
            self.now += milliseconds * noise() / 1e3
            return inputs

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def blocks(values: np.ndarray) -> list[list[float]]:
    return [[float(value)] for value in values]


def simulated(
    random: np.random.Generator, rounds: int, *, noise: tuple[float, float], heavy: bool = False
) -> Stat:
    """One measurement of a true ratio of 3 on a machine that drifts by a fifth meanwhile."""

    def factors(scale: float, count: int) -> np.ndarray:
        outliers = (random.random(count) < 0.1) * random.exponential(0.2, count) * heavy
        return np.exp(random.normal(0, scale, count) + outliers)

    drift = np.linspace(1, 1.2, 2 * rounds + 1)
    reference = 9 * drift[0::2] * factors(noise[0], rounds + 1)
    candidate = 9 / TRUE_RATIO * drift[1::2] * factors(noise[1], rounds)
    return ratio_stat(blocks(candidate), blocks(reference))


# ------------------------------------------------------------------ the ratio


@pytest.mark.parametrize("end", [0.5, 1.0, 3.0])
def test_a_linear_drift_of_the_machine_cancels(end: float):
    drift = np.linspace(1, end, 21)
    ratio = ratio_stat(blocks(2 * drift[1::2]), blocks(6 * drift[0::2]))
    assert ratio.value == pytest.approx(TRUE_RATIO)
    assert ratio.high - ratio.low < 1e-9
    assert ratio.n == 10


def test_one_spoilt_call_in_a_block_and_one_spoilt_block_move_nothing():
    candidate = [[2.0, 2.0, 50.0]] * 9 + [[40.0, 40.0, 40.0]]
    assert ratio_stat(candidate, [[6.0, 6.0, 90.0]] * 11).value == pytest.approx(TRUE_RATIO)


def test_a_single_round_has_a_value():
    assert ratio_stat([[2.0]], [[5.0], [7.0]]).value == pytest.approx(TRUE_RATIO)


@pytest.mark.parametrize("rounds", [MIN_ROUNDS, 30])
@pytest.mark.parametrize("noise", [(0.03, 0.03), (0.03, 0.005), (0.005, 0.03)])
def test_the_interval_covers_the_truth_about_95_times_in_100(
    rounds: int, noise: tuple[float, float]
):
    random = np.random.default_rng(0)
    stats = [simulated(random, rounds, noise=noise) for _ in range(400)]
    covered = np.mean([stat.low <= TRUE_RATIO <= stat.high for stat in stats])
    # Three standard errors of 400 draws are 3.3 points below; above, caution is no fault.
    assert 0.917 <= covered <= 0.995


def test_the_interval_covers_the_truth_with_outliers_too():
    random = np.random.default_rng(1)
    stats = [simulated(random, 12, noise=(0.03, 0.03), heavy=True) for _ in range(300)]
    assert np.mean([stat.low <= TRUE_RATIO <= stat.high for stat in stats]) >= 0.93


@pytest.mark.parametrize("rounds", [12, 40])
def test_the_interval_covers_the_truth_where_a_disturbance_outlasts_a_round(rounds: int):
    """An autoregressive disturbance of the candidate alone: no reference cancels it."""
    random = np.random.default_rng(3)

    def one() -> bool:
        steps = random.normal(0, 0.02, rounds + 20)
        state = np.zeros_like(steps)
        for number in range(1, len(steps)):
            state[number] = 0.4 * state[number - 1] + steps[number]
        stat = ratio_stat(blocks(3 * np.exp(state[20:])), blocks(np.full(rounds + 1, 9.0)))
        return bool(stat.low <= TRUE_RATIO <= stat.high)

    assert np.mean([one() for _ in range(400)]) >= 0.9


def test_the_interval_narrows_with_more_rounds_and_is_no_wider_than_the_noise_asks():
    random = np.random.default_rng(2)

    def half_width(rounds: int) -> float:
        draws = [simulated(random, rounds, noise=(0.03, 0.03)) for _ in range(50)]
        return float(np.mean([(stat.high - stat.low) / stat.value / 2 for stat in draws]))

    few, many = half_width(6), half_width(24)
    assert many < few / 2
    assert many < 0.03


# ------------------------------------------------------------------ the rounds


def test_a_quiet_machine_needs_the_fewest_rounds(clock: Clock):
    paired = time_pairs(clock.call(2.0), clock.call(6.0), seconds=100.0)
    assert len(paired.candidate) == MIN_ROUNDS
    assert len(paired.reference) == MIN_ROUNDS + 1
    assert paired.ratio().value == pytest.approx(TRUE_RATIO)


def test_a_noisy_machine_gets_more_rounds_up_to_the_most(clock: Clock):
    random = np.random.default_rng(0)
    noise = lambda: float(np.exp(random.normal(0, 1.0)))  # noqa: E731
    paired = time_pairs(clock.call(2.0, noise), clock.call(60.0, noise), seconds=1e9)
    assert len(paired.candidate) == MAX_ROUNDS


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, FEW_ROUNDS), (1.0, MIN_ROUNDS)])
def test_when_the_time_is_up_no_round_begins(clock: Clock, seconds: float, rounds: int):
    random = np.random.default_rng(0)
    noise = lambda: float(np.exp(random.normal(0, 0.3)))  # noqa: E731
    paired = time_pairs(clock.call(20.0, noise), clock.call(60.0, noise), seconds=seconds)
    assert len(paired.candidate) == rounds


def test_a_busy_machine_does_not_stretch_the_time_beyond_twice_what_was_given(clock: Clock):
    """The fewest rounds of a quiet machine would take longer than four seconds."""
    time_pairs(clock.call(300.0), clock.call(300.0), seconds=2.0)
    longest_round = 2 * 0.3 + 2 * timing.SETTLE_SECONDS
    assert clock.now <= 2 * 2.0 + longest_round


def test_a_slow_call_is_timed_once_a_block_in_few_rounds_and_a_quick_one_for_its_length(
    clock: Clock,
):
    paired = time_pairs(clock.call(1.0), clock.call(5000.0), seconds=0.0)
    assert {len(block) for block in paired.reference} == {1}
    assert len(paired.candidate) == FEW_ROUNDS
    quick = round(timing.BLOCK_SECONDS * 1000)
    assert {len(block) for block in paired.candidate} <= {quick, quick + 1}
    assert np.allclose(np.concatenate(paired.candidate), 1.0)


def test_a_call_of_middle_length_is_timed_as_often_as_a_block_asks_at_least(clock: Clock):
    paired = time_pairs(clock.call(1.0), clock.call(60.0), seconds=10.0)
    assert {len(block) for block in paired.reference} == {timing.BLOCK_CALLS}
    assert len(paired.candidate) == MIN_ROUNDS


def test_pools_settle_before_a_block_and_its_waking_call_is_left_out(clock: Clock):
    """A call is slow after every pause: were it counted, or no pause made, it would show."""
    seen = 0

    def drowsy() -> None:
        nonlocal seen
        clock.now += (2.0 if len(clock.pauses) == seen else 40.0) / 1e3
        seen = len(clock.pauses)

    paired = time_pairs(drowsy, clock.call(6.0), seconds=10.0)
    assert clock.pauses == [timing.SETTLE_SECONDS] * (2 * MIN_ROUNDS + 1)
    assert np.allclose(np.concatenate(paired.candidate), 2.0)


def test_a_real_loop_of_a_third_of_the_work_is_about_three_times_as_fast():
    def loop(turns: int) -> Callable[[], int]:
        return lambda: sum(range(turns))

    ratio = time_pairs(loop(20_000), loop(60_000), seconds=0.1).ratio()
    assert 1.5 < ratio.value < 6.0
    assert ratio.low <= ratio.value <= ratio.high


# ------------------------------------------------------------------ steady state and oddities


def warming(clock: Clock, calls: int) -> Callable[[], None]:
    """A call that becomes a little faster with each call until it is at 2 ms."""
    left = calls

    def work() -> None:
        nonlocal left
        clock.now += 2e-3 * (1 + 0.01 * left)
        left = max(0, left - 1)

    return work


def test_no_block_begins_before_a_call_has_stopped_becoming_faster(clock: Clock):
    paired = time_pairs(warming(clock, 150), clock.call(6.0), seconds=100.0)
    assert paired.steady
    assert max(map(max, paired.candidate)) < 2.0 * 1.1


def test_a_call_that_goes_on_becoming_faster_is_measured_and_said_not_to_be_steady(clock: Clock):
    paired = time_pairs(warming(clock, 200), clock.call(6.0), seconds=1.0)
    assert not paired.steady
    assert paired.protocol(1.0)["steady"] is False


def test_the_protocol_says_why_the_rounds_ended(clock: Clock):
    random = np.random.default_rng(0)
    noise = lambda: float(np.exp(random.normal(0, 1.0)))  # noqa: E731
    calls = {
        "narrow": (clock.call(2.0), clock.call(6.0), 100.0),
        "time": (clock.call(20.0, noise), clock.call(60.0, noise), 0.0),
        "rounds": (clock.call(2.0, noise), clock.call(60.0, noise), 1e9),
    }
    for ended, (candidate, reference, seconds) in calls.items():
        assert time_pairs(candidate, reference, seconds=seconds).ended == ended


def test_outliers_are_kept_counted_and_shown_and_move_no_median(clock: Clock):
    turn = 0

    def spiky() -> None:
        nonlocal turn
        turn += 1
        clock.now += 2e-3 if turn % 10 else 0.05

    paired = time_pairs(spiky, clock.call(6.0), seconds=0.0)
    protocol = paired.protocol(0.0)
    assert 0 < protocol["outliers"] < 0.2
    assert protocol["slowest_ms"] == pytest.approx(50.0)
    assert max(map(max, paired.samples()["candidate"])) == pytest.approx(50.0)
    assert paired.ratio().value == pytest.approx(TRUE_RATIO)


# ------------------------------------------------------------------ a reference at fault


def stumbling(clock: Clock, milliseconds: float) -> Callable[..., object]:
    """A call of several threads that wait for one which another process has displaced."""
    random = np.random.default_rng(3)
    return clock.call(milliseconds, lambda: float(np.exp(random.normal(0, 1.5))))


def test_a_reference_that_stumbles_does_not_spoil_a_steady_candidate(clock: Clock):
    paired = time_pairs(clock.call(2.0), stumbling(clock, 60.0), seconds=5.0)
    stat, reference_ms = paired.time()
    assert paired.alone
    assert stat.value == pytest.approx(2.0)
    assert (stat.unit, reference_ms) == ("ms", None)
    assert paired.protocol(5.0)["paired"] is False
    # What it says of the speed-up is as uncertain as it is.
    assert paired.ratio().high > 2 * paired.ratio().low


def test_the_time_that_is_left_is_spent_on_the_candidate(clock: Clock):
    random = np.random.default_rng(0)
    shaky = clock.call(2.0, lambda: float(np.exp(random.normal(0, 0.5))))
    paired = time_pairs(shaky, stumbling(clock, 200.0), seconds=20.0)
    assert paired.alone
    assert len(paired.reference) < len(paired.candidate)
    assert paired.time()[0].value == pytest.approx(2.0, rel=0.1)


def test_a_drift_that_hits_both_is_divided_out_however_large(clock: Clock):
    """The candidate alone would be as uncertain, so the reference stays."""
    slower = lambda: 1.0 + clock.now  # noqa: E731
    paired = time_pairs(clock.call(2.0, slower), clock.call(6.0, slower), seconds=5.0)
    assert not paired.alone
    stat, reference_ms = paired.time()
    assert reference_ms is not None
    assert reference_ms / stat.value == pytest.approx(TRUE_RATIO, rel=0.02)


def test_what_was_not_divided_is_not_scaled_by_how_the_original_was(probe: Probe, clock: Clock):
    reference: Any = stumbling(clock, 400.0)
    unsteady = replace(probe, reference=reference, seconds=1.0)
    for name, value in (("latency", 4.0), ("throughput", 8000.0)):
        reading = load_objective(name).measure(unsteady)
        assert reading.reference_ms is None
        assert reading.stat.value == pytest.approx(value)


# ------------------------------------------------------------------ the objectives on top


class Deployed:
    """A deployment that takes a fixed time a sample."""

    def __init__(self, clock: Clock, milliseconds: float) -> None:
        self.clock, self.milliseconds, self.closed = clock, milliseconds, False

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        self.clock.now += self.milliseconds * len(inputs[0]) / 1e3
        return inputs[0]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened() -> list[tuple[Parallel, Deployed]]:
    return []


@pytest.fixture
def probe(clock: Clock, opened: list[tuple[Parallel, Deployed]]) -> Probe:
    def open_again(parallel: Parallel) -> Deployed:
        opened.append((parallel, Deployed(clock, 0.125)))
        return opened[-1][1]

    return Probe(
        deployment=Deployed(clock, 0.25),
        reference=Deployed(clock, 1.0),
        request=(np.zeros((16, 3), np.float32),),
        parallel=Parallel(2, replicas=2),
        size_bytes=2_500_000,
        open=open_again,
        memory=lambda: Stat.exact(80.0, "MB"),
        score=lambda part: Stat.exact({"validation": 0.9, "test": 0.8}[part]),
        seconds=0.0,
    )


def test_latency_is_the_time_of_one_request_beside_that_of_the_reference(probe: Probe):
    reading = load_objective("latency").measure(probe)
    assert reading.stat.value == pytest.approx(4.0)
    assert reading.reference_ms == pytest.approx(16.0)
    assert reading.speedup is not None
    assert reading.speedup.value == pytest.approx(4.0)
    assert set(reading.samples) == {"candidate", "reference"}
    assert reading.protocol["rounds"] == len(reading.samples["candidate"])


def spiking(clock: Clock, every: int) -> Callable[..., None]:
    """A deployment of 2 ms whose every so manyth answer takes 50 ms."""
    turn = 0

    def answer(*inputs: object) -> None:
        nonlocal turn
        turn += 1
        clock.now += 2e-3 if turn % every else 50e-3

    return answer


@pytest.fixture
def tail_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(tail, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("every", "p95", "p99"), [(1000, 2.0, 2.0), (50, 2.0, 50.0), (10, 50.0, 50.0)]
)
def test_a_tail_is_the_percentile_of_all_requests_spikes_included(
    tail_clock: Clock, probe: Probe, every: int, p95: float, p99: float
):
    slow = replace(probe, deployment=spiking(tail_clock, every), seconds=10.0)  # type: ignore[arg-type]  # no close
    for name, wanted in (("latency_p95", p95), ("latency_p99", p99)):
        reading = load_objective(name).measure(slow)
        assert reading.stat.value == pytest.approx(wanted)
        assert reading.stat.n == len(reading.samples["candidate"][0]) >= 400
        assert reading.protocol["bounded_above"]


def test_too_few_requests_for_a_tail_are_bounded_by_their_slowest_and_said(
    tail_clock: Clock, probe: Probe
):
    slow = replace(probe, deployment=spiking(tail_clock, 7), seconds=0.05)  # type: ignore[arg-type]  # no close
    reading = load_objective("latency_p99").measure(slow)
    assert reading.stat.high == pytest.approx(50.0)
    assert not reading.protocol["bounded_above"]
    assert reading.protocol["requests"] < 400


def test_the_interval_of_a_percentile_covers_it_whatever_the_distribution():
    random = np.random.default_rng(4)
    truth = float(np.exp(1.6449))
    draws = [percentile_stat(list(np.exp(random.normal(0, 1, 500))), 0.95)[0] for _ in range(400)]
    assert 0.92 <= np.mean([stat.low <= truth <= stat.high for stat in draws]) <= 0.99


def test_throughput_counts_samples_a_second_of_many_requests_at_once(
    probe: Probe, opened: list[tuple[Parallel, Deployed]]
):
    reading = load_objective("throughput").measure(probe)
    assert reading.stat.value == pytest.approx(8000.0)
    ((parallel, deployment),) = opened
    # Not all requests in one call: that would be another batch size than the candidate's.
    assert parallel == Parallel(2, replicas=2, batch=16)
    assert deployment.closed


def test_size_memory_and_quality_are_what_the_probe_says(probe: Probe):
    assert load_objective("size").measure(probe).stat == Stat.exact(2.5, "MB")
    assert load_objective("memory").measure(probe).stat == Stat.exact(80.0, "MB")
    assert load_objective("quality").measure(probe).stat == Stat.exact(0.9)
