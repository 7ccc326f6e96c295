"""The benchmark of precisions compares what it says."""

from __future__ import annotations

from tests.benchmarks import precision


def test_mixed_precision_is_no_larger_than_the_uniform_one_and_not_the_same():
    task = precision._small_task(0)
    uniform = precision.grids(precision.UNIFORM.request(), task.model)
    budget = precision.size_of(task.model, uniform)
    guided = precision.guided(task, budget)
    assert 0.9 * budget <= precision.size_of(task.model, guided) <= budget
    assert {grid.bits for grid in guided.values()} == {2, 8}
    assert precision._accuracy(task, {}) > 90
