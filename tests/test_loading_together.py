"""Several exports answer at the same time, each on cores of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pytest

import autoopt
from autoopt.errors import ArtifactError
from autoopt.exporting import export_strategy
from tests.runtime_builds import assert_same, built, expected, samples

CORES = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs a core for each of two models")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {
        name: export_strategy(built(network, runtime), "", {}, tmp_path / name)
        for name, network, runtime in (("a", "cnn", "openvino"), ("b", "mlp", "onnxruntime"))
    }


def test_each_answers_its_own_request_on_cores_of_its_own(folders: dict[str, Path]):
    before = set(psutil.Process().children())
    with autoopt.load_together(folders, threads=1) as together:
        found = together(a=samples("cnn", 5), b=samples("mlp", 3))
        assert_same(found["a"], expected("cnn", 5))
        assert_same(found["b"], expected("mlp", 3))
        assert_same(together(b=(samples("mlp", 2),))["b"], expected("mlp", 2))
        mine = [process.cpu_affinity() for process in set(psutil.Process().children()) - before]
        assert sorted(mine) == [[core] for core in CORES[:2]]
        gain = together.gain(seconds=0.3, a=samples("cnn", 5), b=samples("mlp", 3))
        assert 0 < gain.low <= gain.value <= gain.high
        one = together.one_by_one(a=samples("cnn", 5))
        np.testing.assert_array_equal(one["a"], found["a"])
        with pytest.raises(ValueError, match="requests name one or more of a, b, but got c"):
            together(c=samples("cnn", 5))
        with pytest.raises(ValueError, match="but got none"):
            together()
        with pytest.raises(ValueError, match="must be of shape"):
            together(a=np.zeros((2, 9)))
    assert set(psutil.Process().children()) <= before


def test_more_models_than_cores_are_refused(folders: dict[str, Path]):
    with pytest.raises(ArtifactError, match=f"needs {len(CORES)} cores of its own"):
        autoopt.load_together(folders, threads=len(CORES))
    with pytest.raises(ArtifactError, match="each of 0 models"):
        autoopt.load_together({})


def test_when_one_cannot_be_loaded_none_is_left(folders: dict[str, Path], tmp_path: Path):
    before = set(psutil.Process().children())
    with pytest.raises(ArtifactError, match=r"holds no artifact\.json"):
        autoopt.load_together({**folders, "b": tmp_path}, threads=1)
    assert set(psutil.Process().children()) <= before
