"""The benchmark of precisions compares what it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autoopt.precision import quantizable
from tests.benchmarks import precision


def test_mixed_precision_is_no_larger_than_the_uniform_one_and_not_the_same():
    task = precision._small_task(0)
    uniform = dict.fromkeys(quantizable(task.model), precision.UNIFORM)
    budget = precision._size(task.model, uniform)
    guided = precision._guided(task, budget)
    assert precision._size(task.model, guided) <= budget
    assert set(guided.values()) == {precision.LOW, precision.HIGH}
    assert precision._accuracy(task, {}) > 90


def test_the_lower_end_is_that_of_a_one_sample_t_interval():
    values = [0.5, 1.5, -0.25, 2.0]
    interval = stats.ttest_1samp(np.array(values), 0).confidence_interval(0.9)
    assert precision._lower_end(values) == pytest.approx(interval.low)
    with pytest.raises(ValueError, match="at least 2 differences, but got 1"):
        precision._lower_end([1.0])
