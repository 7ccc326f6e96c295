"""A search over every way to spread a request, and its pick served from an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import autoopt
from autoopt.errors import ArtifactError
from search_spaces import thorough
from search_spaces.cores import usable_cores
from tests.small_searches import digits, start

pytestmark = pytest.mark.slow


@pytest.mark.skipif(usable_cores() < 2, reason="one core leaves nothing to spread")
def test_every_way_is_measured_or_refused_with_the_reason_and_an_export_takes_it(tmp_path: Path):
    space = thorough(2).narrow(
        student=["none"],
        pruning=["none"],
        factorization=["none"],
        recovery=["none"],
        quantization=["float32"],
        runtime=["openvino", "onnxruntime"],
        parallel={
            "default": {},
            "inter_op": {"threads": [1], "inter_op": [2]},
            "processes": {"threads": [2], "replicas": [2], "batch": [0], "pinned": [True]},
            "batching": {"threads": [1], "replicas": [1], "gather": [8], "delay_ms": [0.5]},
        },
    )
    found = start(
        tmp_path / "search", space=space, objectives=["throughput", "server"], budget="14 trials"
    )
    records = found._known().records
    failed = [(r.recipe.summary, r.failure) for r in records if r.failure]
    assert not failed
    measured = {(r.recipe["runtime"].option, r.recipe["parallel"].option): r for r in records}
    for runtime in ("openvino", "onnxruntime"):
        for option in ("processes", "batching"):
            assert (runtime, option) in measured
    assert ("onnxruntime", "inter_op") in measured
    assert ("openvino", "inter_op") not in measured
    reasons = [str(item["reason"]) for item in found._known().refusals]
    assert any("OpenVINO runs the operators of a network one after another" in r for r in reasons)
    strategy = found.pick(measured["openvino", "processes"].number)
    assert strategy["server"].value > 0
    folder = strategy.export(tmp_path / "deploy")
    x = digits()[0][:5]
    with autoopt.load(folder) as predict:
        assert "2 processes, pinned" in repr(predict)
        assert np.allclose(predict(x), strategy.predict(x), atol=1e-4)


@pytest.mark.skipif(usable_cores() < 2, reason="one core leaves nothing to divide")
def test_stages_and_shards_are_measured_where_torch_runs_and_native_code_is_served(tmp_path: Path):
    space = thorough(2).narrow(
        student=["none"],
        pruning=["none"],
        factorization=["none"],
        recovery=["none"],
        quantization=["float32"],
        runtime=["eager", "aotinductor"],
        parallel={
            "default": {},
            "pipeline": {"threads": [2], "stages": [2], "batch": [0], "pinned": [False]},
            "tensor": {"threads": [2], "shards": [2], "pinned": [False]},
        },
    )
    found = start(tmp_path / "search", space=space, objectives=["latency"], budget="8 trials")
    records = found._known().records
    assert not [(r.recipe.summary, r.failure) for r in records if r.failure]
    measured = {(r.recipe["runtime"].option, r.recipe["parallel"].option): r for r in records}
    assert {("eager", "pipeline"), ("eager", "tensor"), ("aotinductor", "default")} <= set(measured)
    reasons = [str(item["reason"]) for item in found._known().refusals]
    assert any("aotinductor takes a network as a whole" in reason for reason in reasons)
    whole, divided = (measured["eager", name] for name in ("default", "tensor"))
    assert divided.measurement is not None
    assert whole.measurement is not None
    assert divided.measurement.stats["accuracy"] == whole.measurement.stats["accuracy"]
    native = found.pick(measured["aotinductor", "default"].number)
    with pytest.raises(ArtifactError, match="trust_code=True"):
        native.predict(digits()[0][:4])
    assert native.predict(digits()[0][:4], trust_code=True).shape == (4, 10)
    explained = native.explain()
    assert "its artefact is native code" in " ".join(explained.missing)
    assert explained.layer_rows
    assert all(row["kernel"].startswith("inductor ") for row in explained.layer_rows)
