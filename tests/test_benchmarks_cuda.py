"""The benchmark of CUDA devices: its cells, its cold cache, and a sentence where it cannot run."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from autoopt.interfaces import Parallel
from autoopt.objectives.timing import wall_seconds
from autoopt.runtimes.device import DeviceDeployment
from autoopt.task import make_task
from tests.benchmarks import cuda
from tests.benchmarks.__main__ import main
from tests.benchmarks.cuda import (
    FEWEST_CALLS,
    NETWORKS,
    NONE_HERE,
    PRECISIONS,
    REQUESTS,
    WARM_CALLS,
    WAYS,
    Timed,
    chosen,
    report,
    requests_of,
    rotated,
)
from tests.benchmarks.registry import CannotRunError

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@without_cuda
def test_without_a_device_it_says_so_in_a_sentence_and_was_not_run():
    with pytest.raises(CannotRunError, match="needs a CUDA device, and torch finds none here"):
        cuda.run()
    out = io.StringIO()
    assert main(["cuda"], console=Console(file=out, width=300)) == 2
    assert out.getvalue().strip() == NONE_HERE


@without_cuda
def test_the_command_prints_no_traceback():
    command = [sys.executable, "-m", "tests.benchmarks", "cuda", "resnet50", "--seconds", "1"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs a CUDA device" in done.stdout
    assert "Traceback" not in done.stderr


def test_words_choose_among_networks_precisions_and_ways():
    assert len(chosen([])) == len(NETWORKS) * len(PRECISIONS) * len(WAYS) == 36
    assert chosen(["bert_base", "fp8", "int4", "cudagraphs"]) == [
        ("bert_base", "fp8", "cudagraphs"),
        ("bert_base", "int4", "cudagraphs"),
    ]
    with pytest.raises(SystemExit, match="'fp4' is none of resnet50, bert_base, fp32, fp16"):
        chosen(["fp4"])


def test_each_call_answers_another_request_with_a_cold_cache_that_is_not_timed():
    said: list[str] = []

    def clock(call):
        said.append("begin")
        call()
        said.append("end")
        return 0.002

    calls = [partial(said.append, f"call {number}") for number in range(3)]
    stat = rotated(calls, clock, flush=lambda: said.append("flush"), seconds=0.1)
    assert stat.value == stat.low == stat.high == 2.0
    # 0.1 seconds of calls of 2 ms each.
    assert stat.n == 50
    assert said[:8] == ["flush", "begin", "call 0", "end", "flush", "begin", "call 1", "end"]
    made = [word for word in said if word.startswith("call")]
    assert made == [f"call {number % 3}" for number in range(WARM_CALLS + 50)]
    assert said.count("flush") == len(made)


def test_slow_calls_are_enough_for_an_interval():
    stat = rotated([lambda: None], lambda call: 5.0, flush=lambda: None, seconds=0.1)
    assert stat.n == FEWEST_CALLS


def test_requests_differ_and_hold_the_same_samples():
    network = nn.Linear(4, 2).eval()
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    task = make_task(network, (x, x[:, :2]), request_size=6, threads=1, metric="r2")
    found = requests_of(task)
    assert len(found) == REQUESTS
    for (request,) in found:
        np.testing.assert_array_equal(np.sort(request, axis=0), np.sort(task.example[0], axis=0))
    assert any(not np.array_equal(found[0][0], other[0]) for other in found[1:])
    deployment = DeviceDeployment(network, torch.device("cpu"), Parallel(1))
    calls = [deployment.placed(*request) for request in found]
    assert rotated(calls, wall_seconds, flush=lambda: None, seconds=0.0).value > 0


def row(precision: str, way: str, outcome: str = "ok", ms: float = 1.0, reason: str = "") -> Timed:
    return Timed("resnet50", precision, way, outcome, reason, ms=ms)


def test_gains_are_over_eager_float32_and_failures_are_missed():
    rows = [
        row("fp32", "eager", ms=8.0),
        row("bf16", "cudagraphs", ms=2.0),
        row("int4", "eager", "refused", reason="no layer fits"),
        row("fp8", "compiled", "failed", reason="RuntimeError: it broke"),
    ]
    found = report(rows, "cpu")
    assert found.figures["resnet50_bf16_cudagraphs_ms"] == 2.0
    assert found.figures["resnet50_bf16_cudagraphs_speedup"] == 4.0
    assert "resnet50_fp32_eager_speedup" not in found.figures
    assert [found.figures[f"{name}_cells"] for name in ("ok", "refused", "failed")] == [2, 1, 1]
    assert list(found.missed) == ["resnet50 fp8 compiled: RuntimeError: it broke"]
    assert [cell["outcome"] for cell in found.lists["cells"]] == ["ok", "ok", "refused", "failed"]


def test_without_float32_there_are_no_gains():
    found = report([row("bf16", "eager", ms=2.0)], "cpu")
    assert set(found.figures) == {
        "resnet50_bf16_eager_ms", "ok_cells", "refused_cells", "failed_cells",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "most"), [("resnet50", 25e6, 26e6), ("bert_base", 108e6, 112e6)]
)
def test_networks_have_the_sizes_of_their_names(monkeypatch, name, least, most):
    taken = []
    monkeypatch.setattr(cuda, "SAMPLES", 1)
    monkeypatch.setattr(cuda, "BATCH", 2)
    monkeypatch.setattr(cuda, "_task", lambda network, inputs: taken.append((network, inputs)))
    NETWORKS[name]()
    network, inputs = taken[0]
    assert least < sum(p.numel() for p in network.parameters()) < most
    with torch.no_grad():
        answer = cuda.Logits(network.eval())(torch.from_numpy(inputs))
    assert answer.shape == (2, cuda.CLASSES)
    assert torch.isfinite(answer).all()
    # What 16 bits can hold with room to spare.
    assert answer.abs().max() < 1e3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cell_is_timed_on_a_device():
    found = cuda.run(["bert_base", "bf16", "eager", "--seconds", "0.2"])
    assert found.figures["ok_cells"] == 1.0
    assert found.figures["bert_base_bf16_eager_ms"] > 0
    assert not found.missed
