"""One network in several processes answers like the whole, and its processes leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from functools import cache
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
from autoopt.runtimes.divided import DividedDeployment
from autoopt.runtimes.opening import open_artifact, refuse_parallel
from autoopt.runtimes.pt2 import load_program
from autoopt.runtimes.shards import split_layers
from autoopt.runtimes.stages import cut_stage
from autoopt.task import Task, make_task
from tests.runtime_builds import assert_same, built, expected, samples

CORES = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores for two processes")
WAYS = {"stages": Parallel(2, stages=2), "shards": Parallel(2, shards=2)}


class Words(nn.Module):
    """Attention, feed-forward layers, a recurrent one, and two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 16)
        self.attention = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True, activation="gelu")
        self.recurrent = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 32)

    def forward(self, words: torch.Tensor, scale: torch.Tensor) -> Any:
        hidden = self.attention(self.embedding(words))
        hidden, _ = self.recurrent(hidden)
        return self.head(hidden.mean(1)) * scale


class Convolutions(nn.Module):
    """Convolutions in a pair with a norm between them, grouped and odd ones, a skip, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.pair = nn.Sequential(
            nn.Conv2d(16, 24, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 16, 1),
        )  # fmt: skip
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.odd = nn.Conv2d(16, 15, 3)
        self.head = nn.Sequential(nn.Linear(15, 40), nn.GELU(), nn.Linear(40, 3))

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        x = self.pair(x * torch.sigmoid(x))
        x = torch.relu(x + self.grouped(x))
        return self.head(self.odd(x).mean((2, 3)))


@cache
def task_of(name: str) -> Task:
    torch.manual_seed(5)
    generator = np.random.default_rng(2)
    if name == "words":
        inputs: Any = (
            torch.from_numpy(generator.integers(0, 40, (60, 7))),
            torch.rand(60, 1) + 0.5,
        )
        network: nn.Module = Words().eval()
    else:
        inputs = (torch.from_numpy(generator.standard_normal((60, 1, 12, 12))).float(),)
        network = Convolutions().eval()
        torch.nn.init.normal_(network.get_buffer("pair.1.running_mean"))
    targets = torch.arange(60) % 3
    data = [(*(x[i] for x in inputs), targets[i]) for i in range(60)]
    loader: Any = torch.utils.data.DataLoader(data, batch_size=6)  # type: ignore[arg-type]
    return make_task(network, loader, request_size=6, threads=2)


@cache
def folder_of(name: str, precision: str = "float32") -> Path:
    task = task_of(name)
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    request = Quantization() if precision == "float32" else Quantization(precision, 16)
    load_runtime("eager").build(task.model, request, task, folder)
    return folder


def request_of(name: str, count: int) -> list[Any]:
    return [x.numpy() for x in task_of(name).train.inputs(count)]


def whole(name: str, count: int, precision: str = "float32") -> Any:
    with closing(open_artifact(folder_of(name, precision), Parallel(2))) as deployment:
        return deployment(*request_of(name, count))


# ------------------------------------------------------------------ the answers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["words", "convolutions"])
def test_a_divided_network_answers_like_the_whole(name: str, way: str):
    with closing(open_artifact(folder_of(name), WAYS[way])) as deployment:
        for count in (1, 2, 6, 13, 6):
            found: Any = deployment(*request_of(name, count))
            np.testing.assert_allclose(found, whole(name, count), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_bits_are_exchanged_too(way: str):
    with closing(open_artifact(folder_of("convolutions", "bfloat16"), WAYS[way])) as deployment:
        found = deployment(*request_of("convolutions", 6))
    wanted = whole("convolutions", 6, "bfloat16")
    assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)


def test_a_network_of_one_fixed_size_is_filled_up_and_cut_off_again():
    with closing(open_artifact(built("fixed", "eager"), WAYS["stages"])) as deployment:
        for count in (1, 8, 11):
            assert_same(deployment(samples("fixed", count)), expected("fixed", count))


def test_small_batches_stream_through_the_stages():
    parallel = Parallel(2, stages=2, batch=1, pinned=True)
    with closing(open_artifact(built("cnn", "eager"), parallel)) as deployment:
        assert isinstance(deployment, DividedDeployment)
        assert_same(deployment(samples("cnn", 9)), expected("cnn", 9))
        allowed = [psutil.Process(pid).cpu_affinity() for pid in deployment.pids]
        assert allowed == [[core] for core in CORES[:2]]


# ------------------------------------------------------------------ the parts


def parts_of(name: str, cut: Any) -> list[set[str]]:
    """Return the stored tensors, by name and shape, that each of two processes holds."""
    found = []
    for rank in range(2):
        module = cut(load_program(folder_of(name) / "model.pt2"), rank, 2)
        held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        found.append({f"{key} {tuple(value.shape)}" for key, value in held.items()})
    return found


def test_each_stage_holds_weights_of_its_own_and_all_are_held():
    first, second = parts_of("convolutions", cut_stage)
    assert first
    assert second
    assert not first & second
    program: Any = load_program(folder_of("convolutions") / "model.pt2")
    used = [node for node in program.graph.nodes if node.op == "get_attr" and node.users]
    assert len(first | second) == len(used)


def weights(rank: int, name: str) -> int:
    module: Any = split_layers(load_program(folder_of(name) / "model.pt2"), rank, 2)
    held = [*module.parameters(), *module.buffers()]
    return sum(value.numel() for value in held)


@pytest.mark.parametrize(("name", "share"), [("convolutions", 0.75), ("words", 0.8)])
def test_each_shard_holds_less_than_the_whole(name: str, share: float):
    everything = sum(value.numel() for value in task_of(name).model.state_dict().values())
    assert all(weights(rank, name) < share * everything for rank in range(2))


def test_a_pair_of_layers_exchanges_one_sum_and_others_are_gathered():
    program: Any = split_layers(load_program(folder_of("convolutions") / "model.pt2"), 0, 2)
    called = [getattr(node.target, "__name__", "") for node in program.graph.nodes]
    # The pair of convolutions and the two layers of the head.
    assert called.count("summed") == 2
    # Neither the grouped nor the odd one can be divided, and the stem is too small to be worth it.
    assert called.count("gathered") == 0
    words: Any = split_layers(load_program(folder_of("words") / "model.pt2"), 0, 2)
    assert "gathered" in [getattr(node.target, "__name__", "") for node in words.graph.nodes]


# ------------------------------------------------------------------ what cannot be


def test_more_stages_than_there_are_operators_are_refused(monkeypatch: pytest.MonkeyPatch):
    program = load_program(built("mlp", "eager") / "model.pt2")
    with pytest.raises(RefusedError, match="cannot be cut into 9 stages"):
        cut_stage(program, 0, 9)


@pytest.mark.parametrize("precision", ["weights4"])
def test_a_network_without_a_layer_to_split_is_refused_with_the_reason(precision: str):
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(RefusedError, match="no layer of this network can be split into 2 shards"):
        open_artifact(built("mlp", "eager", precision), WAYS["shards"])
    assert set(psutil.Process().children(recursive=True)) <= before


def test_too_few_cores_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    with pytest.raises(RefusedError, match="2 processes need as many cores"):
        open_artifact(built("mlp", "eager"), WAYS["stages"])


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime", "compiled"])
def test_other_runtimes_refuse_and_say_why(runtime: str):
    for parallel in WAYS.values():
        assert "takes a network as a whole" in (refuse_parallel(runtime, parallel) or "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": 0}, "`stages >= 1` and `shards >= 1` must hold"),
        ({"stages": 2, "shards": 2}, "one of them be 1"),
        ({"stages": 2, "replicas": 2}, "divided into stages or shards runs once"),
        ({"shards": 2, "processes": True}, "divided into stages or shards runs once"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(settings: Any, message: str):
    with pytest.raises(ValueError, match=message):
        Parallel(2, **settings)


# ------------------------------------------------------------------ the processes


@pytest.mark.parametrize("way", WAYS)
def test_closing_leaves_no_process_and_no_shared_memory(way: str):
    before, memory = set(psutil.Process().children(recursive=True)), shared_memory()
    deployment = open_artifact(built("mlp", "eager"), WAYS[way])
    assert_same(deployment(samples("mlp", 5)), expected("mlp", 5))
    assert len(shared_memory()) > len(memory)
    deployment.close()
    deployment.close()
    assert set(psutil.Process().children(recursive=True)) <= before
    assert shared_memory() == memory
    with pytest.raises(ValueError, match="this deployment is closed"):
        deployment(samples("mlp", 5))


def shared_memory() -> list[str]:
    """Return the anonymous memory that this process holds by a descriptor."""
    links = (str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sorted(link for link in links if "memfd:autoopt" in link)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_dies_all_end_and_the_caller_is_told(way: str, victim: int):
    deployment = open_artifact(built("mlp", "eager"), WAYS[way])
    assert isinstance(deployment, DividedDeployment)
    processes = [psutil.Process(pid) for pid in deployment.pids]
    processes[victim].send_signal(signal.SIGKILL)
    with pytest.raises(RuntimeError, match=f"in a process of 2 {way}"):
        deployment(samples("mlp", 5))
    assert not any(alive(process) for process in processes)
    with pytest.raises(ValueError, match="closed"):
        deployment(samples("mlp", 5))
    deployment.close()


def test_what_an_operator_raises_reaches_the_caller():
    deployment = open_artifact(built("mlp", "eager"), WAYS["stages"])
    with pytest.raises(RuntimeError, match="in a process of 2 stages: RuntimeError"):
        deployment(np.zeros((2, 9), dtype=np.float32))
    deployment.close()


PARENT = """
import sys, time
from pathlib import Path
from autoopt.interfaces import Parallel
from autoopt.runtimes.opening import open_artifact
deployment = open_artifact(Path(sys.argv[1]), Parallel(2, **{sys.argv[2]: 2}))
print(*deployment.pids, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("way", WAYS)
def test_the_processes_end_with_their_parent(way: str):
    folder = built("mlp", "eager")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), way], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    end = time.monotonic() + 10
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, children))


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_damaged_artefact_is_told_and_no_process_is_left(tmp_path: Path):
    folder = export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")
    (folder / "model.pt2").write_bytes(b"no program")
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ArtifactError, match="2 stages cannot open the artefact: ArtifactError"):
        open_artifact(folder, WAYS["stages"])
    assert set(psutil.Process().children(recursive=True)) <= before


def test_an_export_is_served_as_it_was_measured_and_its_script_runs_whole(tmp_path: Path):
    folder = export_strategy(
        built("mlp", "eager"), "", {}, tmp_path / "export", parallel=WAYS["shards"]
    )
    with load(folder) as predict:
        assert "2 shards" in repr(predict)
        assert_same(predict(samples("mlp", 9)), expected("mlp", 9))
    np.save(tmp_path / "x.npy", samples("mlp", 9))
    subprocess.run(
        [sys.executable, folder / "predict.py", tmp_path / "x.npy", tmp_path / "y.npy"], check=True
    )
    assert_same(np.load(tmp_path / "y.npy"), expected("mlp", 9))
