"""The scaling benchmark: its bound, its figures, and one real search of two workers that sleep."""

from __future__ import annotations

import pytest

from autoopt.history import History
from tests.benchmarks.scaling import SETTINGS, Setting, bound, figures, searched


def history(**seconds: list[float]) -> History:
    """A history of stages that took some seconds."""
    found = History()
    for stage, values in seconds.items():
        found.stages += [{"stage": stage, "seconds": value} for value in values]
    return found


def test_on_one_machine_what_is_measured_adds_to_what_goes_wide() -> None:
    work = history(network=[10.0, 10.0], artifact=[4.0], deployment=[1.0, 1.0], again=[2.0])
    assert bound(work, 1, apart=False) == 28.0
    assert bound(work, 4, apart=False) == 10.0


def test_a_machine_that_measures_alone_is_a_bound_of_its_own() -> None:
    work = history(network=[10.0, 10.0], artifact=[4.0], deployment=[1.0, 1.0], again=[2.0])
    assert bound(work, 2, apart=True) == 10.0
    assert bound(work, 4, apart=True) == 8.0


def test_the_figure_owed_is_the_lower_one_of_processes_and_cluster() -> None:
    row = {"seconds": 20.0, "bound": 18.0, "trained_twice": 0, "measured_beside": 0}
    rows = [
        {**row, "name": setting.name, "efficiency": 0.9 + number / 100, "controller_share": 0.01}
        for number, setting in enumerate(SETTINGS)
    ]
    rows[2]["seconds"] = 10.0
    found = figures(rows)
    assert found["efficiency_4"] == found["efficiency_4_processes"] == pytest.approx(0.92)
    assert found["speedup_4"] == 2.0
    assert found["controller_share"] == 0.01


@pytest.mark.slow
def test_two_workers_that_sleep_train_nothing_twice_and_measure_alone() -> None:
    row = searched(Setting("two", 2), 0.02, 14)
    assert (row["trials"], row["failed"]) == (14, 0)
    assert row["networks"] >= 2
    assert (row["trained_twice"], row["measured_beside"]) == (0, 0)
    assert 0 < row["efficiency"] <= 1
