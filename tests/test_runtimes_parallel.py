"""Parallel configurations really act: processes, cores, threads and batches are read back."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from autoopt.errors import ArtifactError, RefusedError
from autoopt.exporting import export_strategy
from autoopt.interfaces import Parallel, Quantization
from autoopt.loading import load
from autoopt.runtimes import load_runtime
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.gathering import GatheringDeployment
from autoopt.runtimes.opening import cannot_serve, open_artifact, refuse_parallel
from autoopt.runtimes.shared_arrays import SharedArrays
from autoopt.task import make_task
from search_spaces import cores
from tests.runtime_builds import ON_CPU, assert_same, built, expected, samples

PROCESSES = Parallel(2, 2, processes=True)
CORES = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores to tell them apart")


@contextmanager
def no_process_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def served_by(deployment: Any) -> list[psutil.Process]:
    return [psutil.Process(replica.pid) for replica in deployment._replicas]


# ------------------------------------------------------------------ processes


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_replica_processes_answer_like_the_network_and_leave_nothing(runtime: str):
    with (
        no_process_left(),
        closing(open_artifact(built("cnn", runtime), replace(PROCESSES, batch=3))) as deployment,
    ):
        for count in (1, 7, 20):
            assert_same(deployment(samples("cnn", count)), expected("cnn", count))
        assert len(served_by(deployment)) == 2


@two_cores
def test_pinned_processes_and_all_their_threads_stay_on_cores_of_their_own():
    pinned = replace(PROCESSES, pinned=True)
    with closing(open_artifact(built("cnn", "openvino"), pinned)) as deployment:
        deployment(samples("cnn", 8))
        allowed: list[set[int]] = []
        for process in served_by(deployment):
            threads = Path(f"/proc/{process.pid}/task").iterdir()
            masks = {frozenset(os.sched_getaffinity(int(thread.name))) for thread in threads}
            assert len(masks) == 1
            allowed.append(set(*masks))
    assert [len(cores) for cores in allowed] == [1, 1]
    assert allowed[0] != allowed[1]
    assert sorted(os.sched_getaffinity(0)) == CORES, "the caller itself is not bound"


def test_processes_that_are_not_pinned_may_use_all_cores():
    with closing(open_artifact(built("cnn", "onnxruntime"), PROCESSES)) as deployment:
        assert all(process.cpu_affinity() == CORES for process in served_by(deployment))


def test_a_process_that_dies_is_an_error_that_says_so():
    with closing(open_artifact(built("cnn", "onnxruntime"), PROCESSES)) as deployment:
        for process in served_by(deployment):
            process.send_signal(signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"the replica process \d+ died \(exit status -9\)"):
            deployment(samples("cnn", 4))


def test_what_a_runtime_raises_in_a_process_reaches_the_caller():
    with closing(open_artifact(built("cnn", "onnxruntime"), PROCESSES)) as deployment:
        with pytest.raises(RuntimeError, match="in the replica process"):
            deployment(np.zeros((2, 9), dtype=np.float32))
        assert_same(deployment(samples("cnn", 5)), expected("cnn", 5))


def test_a_process_that_cannot_open_the_artefact_says_why_and_none_is_left(tmp_path: Path):
    folder = export_strategy(built("cnn", "onnxruntime"), "", {}, tmp_path / "export")
    (folder / "model.onnx").write_bytes(b"no model")
    with no_process_left(), pytest.raises(ArtifactError, match="ONNX Runtime cannot open"):
        open_artifact(folder, PROCESSES)


def test_more_processes_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    with pytest.raises(RefusedError, match=r"2 processes need as many cores.* may use 1"):
        open_artifact(built("cnn", "onnxruntime"), PROCESSES)


def test_shared_arrays_grow_and_keep_shapes_and_types():
    shared = SharedArrays.new("test")
    other = SharedArrays(os.dup(shared.fd))
    with closing(shared), closing(other):
        for count in (3, 5000, 2):
            arrays: list[Any] = [np.arange(count, dtype=np.int64), np.ones((count, 2), np.float32)]
            found: Any = other.read(shared.write([*arrays, np.zeros((0, 4))]))
            assert [array.tolist() for array in found[:2]] == [a.tolist() for a in arrays]
            assert [array.dtype for array in found] == [np.int64, np.float32, np.float64]
            assert found[2].shape == (0, 4)
            del found


# ------------------------------------------------------------------ gathering


class Recorder:
    """A deployment that notes the lots it gets, and waits until it is told to go on."""

    def __init__(self) -> None:
        self.lots: list[int] = []
        self.free = threading.Event()
        self.free.set()
        self.closed = False

    def __call__(self, *inputs: Any) -> Any:
        self.free.wait(10)
        self.lots.append(len(inputs[0]))
        if (inputs[0] < 0).any():
            raise ArithmeticError("negative")
        return inputs[0] * 2

    def close(self) -> None:
        self.closed = True


def ask(deployment: Any, values: list[int]) -> list[Any]:
    """Send one request a value, all at the same time; return answers or errors in order."""
    with ThreadPoolExecutor(len(values)) as pool:
        futures = [pool.submit(deployment, np.array([value])) for value in values]
    return [future.exception() or future.result().tolist() for future in futures]


def test_requests_of_several_callers_are_answered_together_and_each_gets_its_own():
    recorder = Recorder()
    with closing(GatheringDeployment(recorder, 8, 5.0)) as deployment:
        assert ask(deployment, list(range(8))) == [[2 * value] for value in range(8)]
    assert recorder.lots == [8], "the full lot did not wait for the five seconds"
    assert recorder.closed


def test_a_request_alone_waits_as_long_as_told_and_no_longer():
    recorder = Recorder()
    with closing(GatheringDeployment(recorder, 8, 0.2)) as deployment:
        start = time.perf_counter()
        deployment(np.array([1]))
        waited = time.perf_counter() - start
    assert 0.2 <= waited < 5.0
    assert recorder.lots == [1]


def test_while_one_lot_is_answered_the_next_one_fills():
    recorder = Recorder()
    recorder.free.clear()
    with closing(GatheringDeployment(recorder, 4, 0.0)) as deployment:
        threading.Timer(0.3, recorder.free.set).start()
        assert ask(deployment, list(range(9))) == [[2 * value] for value in range(9)]
    assert sum(recorder.lots) == 9
    assert max(recorder.lots) == 4
    assert len(recorder.lots) < 9


def test_a_request_that_has_no_room_in_a_lot_begins_the_next():
    recorder = Recorder()
    recorder.free.clear()
    with (
        closing(GatheringDeployment(recorder, 4, 0.1)) as deployment,
        ThreadPoolExecutor(3) as pool,
    ):
        futures = [pool.submit(deployment, np.full(3, value)) for value in range(3)]
        large = pool.submit(deployment, np.arange(9))
        recorder.free.set()
        assert [f.result(10).tolist() for f in futures] == [[2 * v] * 3 for v in range(3)]
        assert large.result(10).tolist() == (np.arange(9) * 2).tolist()
    assert sorted(recorder.lots) == [3, 3, 3, 9]


def test_an_error_reaches_every_caller_of_the_lot_and_the_next_lot_is_answered():
    recorder = Recorder()
    with closing(GatheringDeployment(recorder, 3, 5.0)) as deployment:
        found = ask(deployment, [1, -1, 2])
        assert all(isinstance(error, ArithmeticError) for error in found)
        assert ask(deployment, [1, 2, 3]) == [[2], [4], [6]]


def test_requests_of_other_shapes_are_not_mixed_and_a_closed_queue_says_so():
    recorder = Recorder()
    deployment = GatheringDeployment(recorder, 8, 0.05)
    with ThreadPoolExecutor(2) as pool:
        wide = pool.submit(deployment, np.ones((1, 3)))
        narrow = pool.submit(deployment, np.ones((1, 2)))
        assert (wide.result(10).shape, narrow.result(10).shape) == ((1, 3), (1, 2))
    deployment.close()
    deployment.close()
    with pytest.raises(ValueError, match="this deployment is closed"):
        deployment(np.ones(1))
    with pytest.raises(ValueError, match="at least one sample"):
        deployment(np.ones(0))


def test_an_artefact_gathers_what_its_callers_send():
    gathers = Parallel(1, gather=6, delay_ms=5000)
    with closing(open_artifact(built("cnn", "onnxruntime"), gathers)) as deployment:
        x, wanted = samples("cnn", 6), expected("cnn", 6)
        with ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(deployment, x[i : i + 1]) for i in range(6)]
            for i, future in enumerate(futures):
                assert_same(future.result(20), wanted[i : i + 1])


# ------------------------------------------------------------------ replicas, inter-op threads


def test_requests_at_the_same_time_take_different_replicas():
    barrier = threading.Barrier(2, timeout=10)

    def replica(x: Any) -> Any:
        barrier.wait()
        return x

    deployment = ReplicatedDeployment([replica, lambda x: replica(x)], Parallel(2, 2, 8))
    assert ask(deployment, [1, 2]) == [[1], [2]]
    deployment.close()


def test_operators_at_the_same_time_have_threads_of_their_own_in_onnx_runtime():
    def threads_of(inter_op: int) -> int:
        # In a process of its own, where nothing else starts or ends threads.
        parallel = Parallel(1, inter_op=inter_op, processes=True)
        with closing(open_artifact(built("cnn", "onnxruntime"), parallel)) as deployment:
            assert_same(deployment(samples("cnn", 5)), expected("cnn", 5))
            return int(served_by(deployment)[0].num_threads())

    # One of them is the caller's.
    assert threads_of(3) == threads_of(1) + 2


# ------------------------------------------------------------------ what cannot run


@pytest.mark.parametrize("runtime", ON_CPU)
def test_what_a_runtime_cannot_do_is_refused_with_the_reason(runtime: str):
    whole = (Parallel(1), PROCESSES, Parallel(1, gather=4), Parallel(1, inter_op=2))
    for parallel in (*whole, Parallel(2, stages=2), Parallel(2, shards=2)):
        reason = cannot_serve(runtime, parallel)
        able = parallel.inter_op == 1 or runtime == "onnxruntime"
        able = able and not (parallel.gather and runtime == "compiled")
        able = able and (parallel.divided == 1 or runtime == "eager")
        assert (reason is None) == able, (runtime, parallel, reason)
        if reason is not None:
            with pytest.raises(RefusedError):
                open_artifact(built("cnn", runtime), parallel)


@pytest.mark.parametrize(
    ("parallel", "reason"),
    [
        (Parallel(3), "3 threads in 1 replicas .* 2 cores"),
        (Parallel(1, 2), "1 threads in 2 replicas need at least a thread each"),
        (Parallel(2, stages=4), "2 threads in 4 stages need at least a thread each"),
        (Parallel(1, shards=2), "1 threads in 2 shards need at least a thread each"),
        (Parallel(1, inter_op=3), "3 operators at a time need as many cores, but there are 2"),
    ],
)
def test_more_than_there_are_cores_is_refused(parallel, reason, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    assert re.match(reason, refuse_parallel("onnxruntime", parallel) or "")


def test_replica_processes_are_refused_where_there_is_no_anonymous_memory(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "only Linux has" in (cannot_serve("openvino", PROCESSES) or "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inter_op": 0}, r"inter_op >= 1` must hold"),
        ({"pinned": True}, "only what runs in processes of its own can be `pinned`"),
        ({"gather": -1}, "`gather >= 0`"),
        ({"delay_ms": 1.0}, "a delay needs something to gather"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Parallel(1, **settings)


# ------------------------------------------------------------------ the export


@two_cores
def test_an_export_is_loaded_in_the_configuration_that_was_measured(tmp_path: Path):
    parallel = Parallel(2, 2, processes=True, pinned=True, gather=4, delay_ms=1.0)
    folder = export_strategy(
        built("cnn", "onnxruntime"), "", {}, tmp_path / "export", parallel=parallel
    )
    before = set(psutil.Process().children())
    with load(folder) as predict:
        assert_same(predict(samples("cnn", 9)), expected("cnn", 9))
        mine = set(psutil.Process().children()) - before
        assert sorted(process.cpu_affinity() for process in mine) == [[core] for core in CORES[:2]]
        assert "2 processes, pinned, gathers 4 samples in 1 ms" in repr(predict)
    assert set(psutil.Process().children()) <= before


# ------------------------------------------------------------------ what processes share


def shared_pages(process: psutil.Process, name: str) -> tuple[int, int]:
    """Return the kilobytes of a mapped file that a process holds, and its share of them."""
    resident = share = 0
    for item in process.memory_maps(grouped=False):
        if item.path.endswith(name):
            resident, share = resident + item.rss // 1024, share + item.pss // 1024
    return resident, share


@two_cores
def test_replica_processes_of_openvino_share_the_weights_of_one_file(tmp_path: Path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 512))
    task = make_task(network.eval(), (samples("mlp", 12), np.arange(12) % 4), request_size=4)
    load_runtime("openvino").build(network, Quantization(), task, tmp_path)
    weights = 4 * 4096 * 512 // 1024
    with closing(open_artifact(tmp_path, PROCESSES)) as deployment:
        for _ in range(3):
            deployment(samples("mlp", 4))
        for process in served_by(deployment):
            resident, share = shared_pages(process, "model.bin")
            assert resident > 0.9 * weights, "the file is mapped, not copied"
            assert share < 0.6 * resident, "each of two holds half of what both hold"
