"""The arithmetic of the benchmarks about measuring."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.benchmarks import parallel
from tests.benchmarks.measurement import (
    METHODS,
    Taken,
    coverage,
    figures,
    mean_tau,
    without_drift,
)


def taken(shift: float = 0.0, half: float = 0.5) -> list[Taken]:
    """Four candidates in three rounds; the third round of ours is off by `shift`."""
    found = []
    asked = [(condition, method) for condition in METHODS for method in METHODS[condition]]
    for (condition, method), number, name in itertools.product(asked, range(3), range(4)):
        value = 1.0 + name + (shift if (method, number) == ("ours", 2) else 0.0)
        found.append(
            Taken(f"c{name}", condition, number, method, value, value - half, value + half, 0.5)
        )
    return found


def test_rounds_that_agree_have_a_tau_of_one_for_every_method():
    found = figures(taken())
    names = ("tau_quiet", "tau_loaded", "loop_tau_loaded", "torch_tau_loaded")
    assert all(found[name] == pytest.approx(1.0) for name in names)
    assert (found["coverage"], found["span"], found["candidates"]) == (1.0, 4.0, 4.0)
    assert found["half_width"] == pytest.approx(0.5 / 2.5, rel=0.2)


def test_what_was_relative_to_a_slow_original_is_scaled_and_what_stood_alone_is_not():
    first, second, third = (
        Taken(name, "quiet", 0, "ours", 2.0, 1.0, 4.0, 0.5, reference_ms)
        for name, reference_ms in (("a", 10.0), ("b", 30.0), ("c", None))
    )
    found = without_drift([first, second, third])
    assert [item.value for item in found] == pytest.approx([4.0, 4 / 3, 2.0])
    assert [item.high for item in found] == pytest.approx([8.0, 8 / 3, 4.0])


def test_a_round_in_reverse_order_lowers_the_mean_over_pairs_of_rounds():
    table = {"a": {0: 1.0, 1: 1.0, 2: 2.0}, "b": {0: 2.0, 1: 2.0, 2: 1.0}}
    assert mean_tau(table) == pytest.approx((1 - 1 - 1) / 3)


def test_coverage_counts_intervals_that_hold_the_median_of_all_rounds():
    assert coverage(taken(shift=0.7), "quiet") == pytest.approx(2 / 3)


def test_the_gain_is_that_of_the_runtime_that_is_faster_by_default():
    def row(network: str, batch: int, runtime: str, default: float, gain: float) -> dict[str, Any]:
        return {
            "network": network, "batch": batch, "runtime": runtime,
            "default_per_s": default, "gain": gain,
        }  # fmt: skip

    rows = [
        row(network, batch, *rest)
        for network, batch in itertools.product(("cnn", "encoder"), parallel.BATCHES)
        for rest in (("slow", 10.0, 9.0), ("quick", 100.0, 1.5), ("quick", 101.0, 1.1))
    ]
    assert parallel.best_of(rows, "cnn", 1)["gain"] == 1.5
    assert parallel.gains(rows)["encoder_gain_batch_16"] == 1.5
