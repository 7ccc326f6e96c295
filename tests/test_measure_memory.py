"""Peak memory is that of a process of its own which really serves the artefact."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from autoopt.interfaces import Parallel
from autoopt.measure import serving_memory
from tests.runtime_builds import built, samples

REQUEST = [samples("cnn")]


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_serving_takes_the_memory_of_one_process_that_does_nothing_else(runtime: str):
    stat = serving_memory(built("cnn", runtime), Parallel(1), REQUEST)
    assert stat.unit == "MB"
    # Numpy alone takes more than that; this process holds torch, the task and the tests.
    assert 20 < stat.value < psutil.Process().memory_info().rss / 1e6 + 200


def test_memory_grows_with_the_request_and_with_replica_processes():
    folder = built("cnn", "onnxruntime")
    one = serving_memory(folder, Parallel(1), REQUEST).value
    large = [REQUEST[0][:1].repeat(20_000, axis=0)]
    assert serving_memory(folder, Parallel(1), large).value > one + large[0].nbytes / 1e6
    processes = Parallel(2, 2, processes=True)
    assert serving_memory(folder, processes, REQUEST).value > one + 10


def test_what_keeps_a_process_from_serving_is_told(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"(?s)serving in a new process failed: .*ArtifactError"):
        serving_memory(tmp_path, Parallel(1), REQUEST)
