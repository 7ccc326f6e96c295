from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.interfaces import Parallel
from autoopt.runtimes.deployment import ReplicatedDeployment, chunk_sizes


def recording(calls: list[tuple[int, int]]) -> Any:
    """Return a replica that notes its thread and how many samples it got."""

    def replica(first: np.ndarray, second: np.ndarray) -> Any:
        calls.append((threading.get_ident(), len(first)))
        return first * 2 + second

    return replica


@given(
    count=st.integers(1, 40),
    replicas=st.integers(1, 4),
    batch=st.integers(0, 12),
    fixed=st.none() | st.integers(1, 9),
)
def test_every_sample_is_answered_once_and_in_order(count, replicas, batch, fixed):
    calls: list[tuple[int, int]] = []
    parallel = Parallel(4, replicas, batch)
    deployment = ReplicatedDeployment([recording(calls)] * replicas, parallel, fixed)
    first, second = np.arange(count), np.arange(count) * 100
    found: Any = deployment(first, second)
    deployment.close()
    assert found.tolist() == (first * 2 + second).tolist()
    sizes = {size for _, size in calls}
    if fixed is not None:
        assert sizes == {fixed}
    elif batch:
        assert max(sizes) <= batch
    assert sum(chunk_sizes(count, parallel)) == count


def test_replicas_work_at_the_same_time():
    barrier = threading.Barrier(3, timeout=10)

    def replica(x: np.ndarray) -> Any:
        barrier.wait()
        return x

    deployment = ReplicatedDeployment([replica] * 3, Parallel(3, replicas=3))
    found: Any = deployment(np.arange(7))
    assert found.tolist() == list(range(7))
    deployment.close()


def test_a_request_without_samples_is_refused():
    deployment = ReplicatedDeployment([lambda x: x], Parallel(1))
    with pytest.raises(ValueError, match="at least one sample, but got 0"):
        deployment(np.zeros((0, 3)))


def test_an_error_of_a_replica_reaches_the_caller():
    def broken(x: np.ndarray) -> Any:
        raise RuntimeError("kernel failed")

    deployment = ReplicatedDeployment([broken] * 2, Parallel(2, replicas=2))
    with pytest.raises(RuntimeError, match="kernel failed"):
        deployment(np.zeros((4, 1)))
    deployment.close()
