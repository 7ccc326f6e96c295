from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from autoopt.snapshot import ALIGNMENT, LARGE_BYTES, dump, load


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(400, 64)
        self.head = nn.Linear(64, 400, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.embed(x))
        return found


def there_and_back(value, folder: Path):
    return load(dump(value, folder), folder)


def test_a_large_tensor_travels_in_the_file_and_not_in_the_payload(tmp_path):
    value = torch.randn(100_000)
    payload = dump(value, tmp_path)
    assert len(payload) < 10_000
    assert torch.equal(load(payload, tmp_path), value)


def test_small_values_need_no_file(tmp_path):
    value: dict[str, Any] = {"a": torch.arange(5), "b": [1, "x"], "c": np.arange(3)}
    found = there_and_back(value, tmp_path)
    assert torch.equal(found["a"], value["a"])
    assert found["b"] == [1, "x"]
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_a_valid_safetensors_file_that_holds_the_bytes(tmp_path):
    value = torch.randn(LARGE_BYTES // 4 + 3)
    dump([value, np.full(LARGE_BYTES, 7, np.uint8)], tmp_path)
    (file,) = tmp_path.iterdir()
    with safe_open(file, framework="pt") as opened:
        first, second = (opened.get_tensor(name) for name in sorted(opened.keys()))
    assert first[: value.nbytes].numpy().tobytes() == value.numpy().tobytes()
    assert set(second[:LARGE_BYTES].tolist()) == {7}


@pytest.mark.parametrize("rows", [8, 400])
def test_tied_parameters_stay_tied(tmp_path, rows):
    model = Tied()
    if rows == 8:
        model.embed = nn.Embedding(8, 4)
        model.head = nn.Linear(4, 8, bias=False)
        model.head.weight = model.embed.weight
    found = there_and_back(model, tmp_path)
    assert found.head.weight is found.embed.weight
    assert isinstance(found.head.weight, nn.Parameter)
    assert found.head.weight.requires_grad
    with torch.no_grad():
        found.embed.weight.fill_(3.0)
    assert found.head.weight[0, 0].item() == 3.0


@pytest.mark.parametrize("length", [100, 100_000])
def test_views_of_one_storage_still_share_memory(tmp_path, length):
    base = torch.arange(length, dtype=torch.float32)
    found_base, found_view = there_and_back((base, base[10:50:2]), tmp_path)
    assert torch.equal(found_view, base[10:50:2])
    found_base[10] = -1.0
    assert float(found_view[0]) == -1.0


def test_the_same_tensor_object_stays_one_object(tmp_path):
    value = torch.randn(50_000)
    first, second = there_and_back([value, value], tmp_path)
    assert first is second


def test_writing_into_a_loaded_tensor_changes_neither_the_file_nor_another_copy(tmp_path):
    payload = dump((torch.zeros(50_000), np.zeros(50_000)), tmp_path)
    first, second = load(payload, tmp_path), load(payload, tmp_path)
    first[0].fill_(1.0)
    first[1][:] = 1.0
    third = load(payload, tmp_path)
    for tensor, array in (second, third):
        assert float(tensor.abs().sum()) == 0.0
        assert float(np.abs(array).sum()) == 0.0


def test_loaded_tensors_are_aligned_and_outlive_the_file(tmp_path):
    values = [torch.randn(LARGE_BYTES + odd, dtype=torch.float64) for odd in (1, 3, 7)]
    payload = dump(values, tmp_path)
    found = load(payload, tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    for value, other in zip(values, found, strict=True):
        assert other.data_ptr() % ALIGNMENT == 0
        assert torch.equal(value, other)


def test_large_numpy_arrays_travel_in_the_file(tmp_path):
    value = {"c": np.random.default_rng(0).normal(size=(300, 100)), "f": np.ones((200, 99)).T}
    payload = dump(value, tmp_path)
    assert len(payload) < 10_000
    found = load(payload, tmp_path)
    assert np.array_equal(found["c"], value["c"])
    assert np.array_equal(found["f"], value["f"])


def test_closures_and_partials_travel(tmp_path):
    weight = torch.randn(30_000)

    def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
        return x * weight[0] * factor

    found = there_and_back(partial(scaled, factor=2.0), tmp_path)
    assert torch.equal(found(torch.ones(3)), scaled(torch.ones(3), 2.0))


def test_a_killed_or_failing_dump_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        dump(torch.zeros(50_000), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_travel_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises((TypeError, pickle.PicklingError), match="lock"):
        dump((torch.zeros(50_000), threading.Lock()), tmp_path)
    assert list(tmp_path.iterdir()) == []


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dtype=st.sampled_from(
        [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
    ),
    shape=st.lists(st.integers(0, 60), max_size=3),
    transposed=st.booleans(),
    gradient=st.booleans(),
)
def test_any_tensor_comes_back_as_it_was(tmp_path, dtype, shape, transposed, gradient):
    value = torch.randint(0, 2, shape).to(dtype)
    if transposed and value.ndim > 1:
        value = value.transpose(0, 1)
    if gradient and dtype.is_floating_point:
        value = nn.Parameter(value)
    found = there_and_back(value, tmp_path)
    assert found.dtype == value.dtype
    assert found.shape == value.shape
    assert found.stride() == value.stride()
    assert found.requires_grad == value.requires_grad
    assert type(found) is type(value)
    assert torch.equal(found, value)


SENDER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import torch
from torch import nn
import only_here
from autoopt.snapshot import dump

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(200, 200)
        self.second = only_here.Doubled()

    def forward(self, x):
        return self.second(self.first(x))

def score(outputs, targets):
    return float(outputs.sum())

torch.manual_seed(0)
folder = Path(sys.argv[1])
(folder / "payload").write_bytes(dump((Mine(), score), folder))
"""
RECEIVER = """
import sys
from pathlib import Path
from autoopt.snapshot import load
folder = Path(sys.argv[1])
model, score = load((folder / "payload").read_bytes(), folder)
import torch
print(type(model).__name__, score(model(torch.ones(1, 200)).detach(), None))
"""


def test_classes_of_main_and_modules_of_the_senders_path_reach_another_process(tmp_path):
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "only_here.py").write_text(
        textwrap.dedent("""
            from torch import nn

            class Doubled(nn.Module):
                def forward(self, x):
                    return 2 * x
        """)
    )
    for name, text in (("sender", SENDER), ("receiver", RECEIVER)):
        (tmp_path / f"{name}.py").write_text(text)
    root = str(Path(__file__).parents[1])
    environment = {"PYTHONPATH": root, "PATH": ""}
    for name, arguments in (("sender", [str(modules)]), ("receiver", [])):
        done = subprocess.run(
            [sys.executable, str(tmp_path / f"{name}.py"), str(tmp_path), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    torch.manual_seed(0)
    expected = 2 * nn.Linear(200, 200)(torch.ones(1, 200)).sum().item()
    kind, value = done.stdout.split()
    assert kind == "Mine"
    assert float(value) == pytest.approx(expected, rel=1e-4)
