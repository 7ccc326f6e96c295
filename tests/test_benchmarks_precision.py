"""The benchmark of precisions compares what it says."""

from __future__ import annotations

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
