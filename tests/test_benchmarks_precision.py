"""The benchmark of precisions compares what it says."""

from __future__ import annotations

from tests.benchmarks import paired, precision


def test_mixed_precision_is_no_larger_than_the_uniform_one_and_not_the_same():
    task = precision.small_task(0)
    uniform = precision.grids(precision.BY_GROUPS.uniform.request(), task.model)
    budget = precision.size_of(task.model, uniform)
    guided = precision.BY_GROUPS.guided(task, budget)
    assert 0.9 * budget <= precision.size_of(task.model, guided) <= budget
    assert {grid.bits for grid in guided.values()} == {2, 8}
    assert paired.accuracy(task.model, task) > 90
