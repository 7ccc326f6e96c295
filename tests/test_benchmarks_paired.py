"""The arithmetic of paired comparisons."""

from __future__ import annotations

from statistics import mean, stdev

import pytest
from scipy.stats import ttest_1samp

from tests.benchmarks.paired import Comparison, lower_bound
from tests.benchmarks.techniques import FIGURES


def test_the_lower_bound_is_that_of_students_interval():
    differences = [1.0, 2.5, 0.5, 3.0, 1.5]
    interval = ttest_1samp(differences, 0).confidence_interval(0.9)
    assert lower_bound(differences) == pytest.approx(interval.low)
    assert lower_bound(differences) < mean(differences)
    assert stdev(differences) > 0


def test_figures_pair_each_seed_with_itself():
    figures = Comparison([90, 95, 97], [88, 93, 95], [85, 90, 92]).figures("gain")
    assert figures == {"gain": 3, "gain_mean": 3, "gain_weaker_loses": 5}


def test_every_known_result_is_in_the_table():
    wanted = {
        "distil_gain",
        "taylor_over_random",
        "mixed_over_uniform",
        "iterative_over_oneshot",
        "activation_aware_over_plain",
        "int8_worst_drop",
        "half_distilled_drop",
    }
    assert {measure.__name__ for measure in FIGURES} == wanted
