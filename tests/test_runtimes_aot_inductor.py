"""Native code compiled ahead of time: it answers like its network, and runs only where trusted."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import ArtifactError
from autoopt.exporting import export_strategy
from autoopt.interfaces import Parallel, Quantization
from autoopt.loading import load
from autoopt.measure import serving_memory
from autoopt.runtimes import aot_inductor, load_runtime
from autoopt.runtimes.artifact import checksum, read_manifest
from autoopt.runtimes.compiled import compiler
from autoopt.runtimes.opening import open_artifact, open_own
from autoopt.targets import load_target
from tests.runtime_builds import (
    TOLERANCE,
    assert_same,
    built,
    distance,
    expected,
    samples,
    tiny_task,
)

NAME = "aotinductor"
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
# Compiling takes about ten seconds, so artefacts are built once a run.
compiles = pytest.mark.slow


def refuse(request: Quantization) -> str | None:
    return load_runtime(NAME).refuse(request, tiny_task("mlp"), load_target("cpu"))


def test_without_a_compiler_it_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aot_inductor, "compiler", lambda: None)
    assert "needs a C++ compiler, and none was found" in (refuse(Quantization()) or "")
    abilities = load_runtime(NAME).abilities(load_target("cpu"))
    assert set(abilities.values()) == {aot_inductor.NO_COMPILER}


@needs_compiler
def test_weights_that_would_be_unpacked_in_the_file_are_refused():
    assert "as large as in float32" in (refuse(Quantization("weight_only", 4)) or "")
    assert refuse(Quantization()) is None


@needs_compiler
@compiles
@pytest.mark.parametrize("network", ["cnn", "fixed"])
def test_requests_of_every_size_are_answered_like_the_network(network: str):
    folder = built(network, NAME)
    assert read_manifest(folder).options["batch"] == (8 if network == "fixed" else None)
    for parallel in (Parallel(1), Parallel(2, 2), Parallel(2, 2, 3)):
        with closing(open_own(folder, parallel)) as deployment:
            for count in (1, 3, 8, 17):
                assert_same(deployment(samples(network, count)), expected(network, count))


@needs_compiler
@compiles
def test_sixteen_bits_compute_within_their_tolerance():
    folder = built("cnn", NAME, "bfloat16")
    realised = read_manifest(folder).realised
    assert realised["precision"] == "bfloat16"
    assert realised["agreement"]["relative_error"] < realised["agreement"]["bound"]
    with closing(open_own(folder, Parallel(2))) as deployment:
        assert distance(deployment(samples("cnn")), expected("cnn")) < TOLERANCE["bfloat16"]


@needs_compiler
@compiles
def test_native_code_is_run_only_where_it_is_trusted(tmp_path: Path):
    folder = export_strategy(built("cnn", NAME), "", {}, tmp_path / "export")
    for parallel in (Parallel(1), Parallel(2, 2, processes=True)):
        with pytest.raises(ArtifactError, match=r"native code.*trust_code=True"):
            open_artifact(folder, parallel)
        with closing(open_artifact(folder, parallel, trust_code=True)) as deployment:
            assert_same(deployment(samples("cnn", 5)), expected("cnn", 5))
    with pytest.raises(ArtifactError, match="trust_code=True"):
        load(folder)
    with load(folder, trust_code=True) as predict:
        assert_same(predict(samples("cnn", 5)), expected("cnn", 5))
        assert "aotinductor, float32" in repr(predict)


@needs_compiler
@compiles
def test_a_package_holds_neither_sources_nor_paths_of_the_machine_that_made_it():
    with zipfile.ZipFile(built("cnn", NAME) / "model.pt2") as archive:
        names = archive.namelist()
    assert not [name for name in names if name.endswith((".cpp", ".h"))]
    assert {name.partition("/")[0] for name in names} == {"model"}
    assert [name for name in names if name.endswith(".so")]


@needs_compiler
@compiles
def test_code_for_another_processor_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch):
    from torch._inductor import codecache

    here = {"AOTI_CPU_ISA": "SSE2", "AOTI_PLATFORM": "linux"}
    monkeypatch.setattr(codecache, "get_device_information", lambda device: here)
    with pytest.raises(ArtifactError, match=r"needs .*, which this processor lacks"):
        open_own(built("cnn", NAME), Parallel(1))


@needs_compiler
@compiles
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_package_is_refused(content: bytes, tmp_path: Path):
    folder = export_strategy(built("cnn", NAME), "", {}, tmp_path / "export")
    (folder / "model.pt2").write_bytes(content)
    data = json.loads((folder / "artifact.json").read_text())
    data["files"] = {"model.pt2": checksum(folder / "model.pt2")}
    (folder / "artifact.json").write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="no package that AOTInductor can open"):
        load(folder, trust_code=True)


@needs_compiler
@compiles
@pytest.mark.parametrize("parallel", [Parallel(1), Parallel(2, 2)])
def test_predict_py_answers_like_the_network(parallel: Parallel, tmp_path: Path):
    folder = export_strategy(built("cnn", NAME), "", {}, tmp_path / "export", parallel=parallel)
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    subprocess.run(
        [sys.executable, folder / "predict.py", tmp_path / "x.npy", tmp_path / "y.npy"], check=True
    )
    assert_same(np.load(tmp_path / "y.npy"), expected("cnn", 7))


@needs_compiler
@compiles
def test_memory_is_measured_of_what_a_search_has_built():
    assert serving_memory(built("cnn", NAME), Parallel(1), [samples("cnn")]).value > 20
