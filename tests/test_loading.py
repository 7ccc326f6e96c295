from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from autoopt.errors import ArtifactError
from autoopt.exporting import export_strategy
from autoopt.interfaces import Parallel
from autoopt.loading import Predictor, load
from autoopt.runtimes.artifact import Manifest, Port, checksum
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.targets import load_target
from tests.runtime_builds import assert_same, built, expected, samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export that a test may spoil."""
    artifact = built("cnn", "onnxruntime")
    return export_strategy(
        artifact, "slots: {}\n", {}, tmp_path / "export", parallel=Parallel(2, 2, 3)
    )


def change(folder: Path, **fields: object) -> None:
    path = folder / "artifact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_a_predictor_takes_arrays_and_tensors_in_order_and_by_name(runtime, tmp_path):
    with load(export_strategy(built("cnn", runtime), "", {}, tmp_path / "export")) as predict:
        x, wanted = samples("cnn", 5), expected("cnn", 5)
        (port,) = predict.inputs
        for found in (predict(x), predict(torch.from_numpy(x)), predict(**{port.name: x})):
            assert isinstance(found, np.ndarray)
            assert_same(found, wanted)
        assert_same(predict(x.astype(np.float64)), wanted)
        assert_same(predict(x.tolist()), wanted)
        assert_same(predict(x[::-1]), wanted[::-1])


def test_a_predictor_shows_inputs_runtime_precision_and_how_it_spreads(folder):
    with load(folder) as predict:
        assert repr(predict) == (
            "Predictor(x: float32(N, 1, 8, 8) -> float32(N, 4); onnxruntime, float32; "
            "2 threads, 2 replicas, batch 3)"
        )


def test_a_closed_predictor_says_so(folder):
    with load(folder) as predict:
        pass
    with pytest.raises(ValueError, match="closed"):
        predict(samples("cnn"))


@pytest.mark.parametrize(
    ("arrays", "named", "message"),
    [
        ((), {}, "inputs are x, each given once"),
        ((1, 2), {}, "2 in order"),
        ((), {"image": 1}, r"\['image'\] by name"),
        ((np.zeros((2, 3)),), {}, r"shape \(N, 1, 8, 8\), but got \(2, 3\)"),
        ((np.zeros((2, 1, 8, 9)),), {}, r"but got \(2, 1, 8, 9\)"),
        ((np.zeros((0, 1, 8, 8)),), {}, "at least one"),
        ((np.full((1, 1, 8, 8), "a"),), {}, "must be numbers"),
    ],
)
def test_a_predictor_says_what_it_takes(folder, arrays, named, message):
    with load(folder) as predict, pytest.raises(ValueError, match=message):
        predict(*arrays, **named)


def test_a_changed_file_is_named(folder):
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=r"'model\.onnx' .* is not what was exported"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07" + b"\xff" * 40, b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(folder, content):
    (folder / "model.onnx").write_bytes(content)
    change(folder, files={"model.onnx": checksum(folder / "model.onnx")})
    with pytest.raises(ArtifactError, match=r"ONNX Runtime cannot open 'model\.onnx'"):
        load(folder)


@pytest.mark.parametrize("place", ["beside.bin", "../beside.bin", "/etc/hostname"])
def test_weights_in_files_that_no_checksum_covers_are_refused(folder, place):
    model = onnx.load(folder / "model.onnx")
    for number, tensor in enumerate(model.graph.initializer):
        content = tensor.raw_data or b"\0" * 4
        for where in (folder, folder.parent):
            (where / f"{number}beside.bin").write_bytes(content)
        onnx.external_data_helper.set_external_data(
            tensor, place.replace("beside", f"{number}beside")
        )
        tensor.ClearField("raw_data")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    change(folder, files={"model.onnx": checksum(folder / "model.onnx")})
    with pytest.raises(ArtifactError, match="must hold their weights themselves"):
        load(folder)


def test_a_missing_file_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"'model\.onnx' is missing"):
        load(folder)


def test_a_linked_file_is_refused(folder, tmp_path):
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a link"):
        load(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_names_that_lead_out_of_the_folder_are_refused(folder, name):
    change(folder, model=name, files={name: "0"})
    with pytest.raises(ArtifactError, match="may only name files that lie beside it"):
        load(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "newer than 1"),
        ({"format": "x"}, "must be a positive integer, got 'x'"),
        (
            {"runtime": "abacus"},
            "asks for the runtime 'abacus'; known: aotinductor, compiled, cudagraphs, eager",
        ),
        ({"files": {}}, "`model` must be one of `files`"),
        ({"inputs": [{}]}, "lacks or garbles"),
        ({"model": "model.xml"}, "`model` must be one of `files`"),
        ({"inputs": []}, "must have names of their own, at least one, but got"),
        ({"inputs": [{"name": "x", "dtype": "object", "shape": [None]}]}, "but got 'object'"),
        ({"inputs": [{"name": "x", "dtype": "int8", "shape": ["a"]}]}, r"but got \['a'\]"),
    ],
)
def test_a_manifest_that_is_off_is_refused_by_its_rule(folder, fields, message):
    change(folder, **fields)
    with pytest.raises(ArtifactError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request": 0}, "option 'request' must be a positive integer, but got 0"),
        ({"threads": "2"}, "option 'threads' must be a positive integer, but got '2'"),
        ({"batch": True}, "option 'batch' must be null or a positive integer, but got True"),
        ({"parallel": [2]}, r"option 'parallel' must map threads, .* but got \[2\]"),
        ({"parallel": {"threads": 1.5}}, "option 'parallel' must map"),
        ({"parallel": {"cores": 1}}, "option 'parallel' must map"),
        ({"parallel": {"threads": 0}}, "garbles how to spread"),
        ({"parallel": {}}, "garbles how to spread"),
    ],
)
def test_options_that_are_off_are_refused_by_their_rule(folder, changes, message):
    options = json.loads((folder / "artifact.json").read_text())["options"]
    change(folder, options={**options, **changes})
    with pytest.raises(ArtifactError, match=message):
        load(folder)


@pytest.mark.parametrize("runtime", ["eager", "compiled", "onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["request", "threads", "batch", "hint"])
def test_an_option_that_is_missing_is_named(runtime, name, tmp_path):
    if name == "hint" and runtime != "openvino":
        return
    folder = export_strategy(built("mlp", runtime), "", {}, tmp_path / "export")
    options = json.loads((folder / "artifact.json").read_text())["options"]
    del options[name]
    change(folder, options=options)
    with pytest.raises(ArtifactError, match=f"option '{name}' must be"):
        load(folder)


def test_a_hint_that_openvino_does_not_know_is_refused(tmp_path):
    folder = export_strategy(built("mlp", "openvino"), "", {}, tmp_path / "export")
    options = json.loads((folder / "artifact.json").read_text())["options"]
    change(folder, options={**options, "hint": "f16"})
    with pytest.raises(ArtifactError, match="must be one of f32, bf16, but got 'f16'"):
        load(folder)


def test_weights_of_openvino_without_a_checksum_are_refused(tmp_path):
    folder = export_strategy(built("mlp", "openvino"), "", {}, tmp_path / "export")
    files = json.loads((folder / "artifact.json").read_text())["files"]
    del files["model.bin"]
    change(folder, files=files)
    with pytest.raises(ArtifactError, match=r"every file of the model, but lacks model\.bin"):
        load(folder)


@pytest.mark.parametrize("name", ["model.bin", "model.xml"])
def test_changed_and_linked_files_of_openvino_are_refused(name, tmp_path):
    folder = export_strategy(built("mlp", "openvino"), "", {}, tmp_path / "export")
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="is not what was exported"):
        load(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="is a link"):
        load(folder)


def test_a_model_in_the_format_of_another_runtime_is_refused(folder):
    change(folder, runtime="eager")
    with pytest.raises(ArtifactError, match=r"must end in '\.pt2', but got 'model\.onnx'"):
        load(folder)


def test_a_manifest_that_is_nested_without_end_is_refused(folder):
    (folder / "artifact.json").write_text("[" * 100_000)
    with pytest.raises(ArtifactError, match="is not JSON"):
        load(folder)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool", "int64"])
def test_integers_that_an_input_cannot_hold_are_refused(dtype):
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    port = Port("tokens", dtype, (None,))
    manifest = Manifest("fake", "model", (port,), port)
    predict = Predictor(manifest, ReplicatedDeployment([lambda x: x], Parallel(1)), Parallel(1))
    found = predict(np.array([low, high], object).astype(np.int64))
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == [low, high]
    for value in (low - 1, high + 1):
        kind = np.uint64 if value > np.iinfo(np.int64).max else np.int64
        if value < np.iinfo(np.int64).min:
            continue
        with pytest.raises(ValueError, match=f"takes {dtype}, from {low} to {high}, but got"):
            predict(np.array([value], kind))


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("network", ["cnn", "fixed"])
def test_requests_of_every_size_are_answered_whatever_the_artefact_was_built_for(
    network, runtime, tmp_path
):
    folder = export_strategy(
        built(network, runtime), "", {}, tmp_path / "export", parallel=Parallel(2, 2)
    )
    with load(folder) as predict:
        for count in (1, 3, 8, 16):
            assert_same(predict(samples(network, count)), expected(network, count))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["cnn", "fixed"])
def test_compiled_answers_requests_of_every_size(network, tmp_path):
    folder = export_strategy(built(network, "compiled"), "", {}, tmp_path / "export")
    with load(folder) as predict:
        for count in (1, 3, 8, 16):
            assert_same(predict(samples(network, count)), expected(network, count))


def test_a_manifest_that_is_no_json_is_refused(folder):
    (folder / "artifact.json").write_text("{")
    with pytest.raises(ArtifactError, match="is not JSON"):
        load(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no artifact\.json"):
        load(tmp_path)


def test_a_program_with_a_pickle_is_refused_with_its_reason(tmp_path):
    from tests.test_runtimes_pt2 import with_payload_in_weight

    folder = export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")
    trace = tmp_path / "trace"
    planted = with_payload_in_weight(folder / "model.pt2", tmp_path / "planted", trace)
    planted.replace(folder / "model.pt2")
    from autoopt.runtimes.artifact import checksum

    change(folder, files={"model.pt2": checksum(folder / "model.pt2")})
    with pytest.raises(ArtifactError, match="is a pickle"):
        load(folder)
    assert not trace.exists()


def test_a_runtime_that_is_not_installed_is_named(folder):
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from autoopt.loading import load\n"
        f"load({str(folder)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install onnxruntime" in done.stderr


def test_loading_imports_numpy_and_the_runtime_only(folder):
    code = (
        "import sys; from autoopt.loading import load\n"
        f"load({str(folder)!r}).close(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & {"torch", "optuna", "pandas", "yaml", "openvino", "onnx", "sklearn"}


def measured_on(folder: Path, **environment: object) -> None:
    stat = {"value": 1000.0, "low": 900.0, "high": 1100.0, "n": 9, "unit": "ms"}
    here = {**load_target("cpu").describe(), **environment}
    found = {"format": 1, "request_size": 4,
             "measurement": {"stats": {"latency": stat}, "environment": here}}  # fmt: skip
    rewrite(folder, "measured.json", json.dumps(found))


def rewrite(folder: Path, name: str, text: str) -> None:
    """Put another text into an export, as if that had been exported."""
    (folder / name).write_text(text)
    texts = json.loads((folder / "artifact.json").read_text())["texts"]
    change(folder, texts={**texts, name: checksum(folder / name)})


def test_an_export_is_measured_again_beside_its_report(folder):
    measured_on(folder)
    with load(folder) as predict:
        found = predict.benchmark(seconds=0.2)
        assert found.samples == 4
        assert found.reported is not None
        assert found.reported.value == 1000
        assert found.latency.low <= found.latency.value <= found.latency.high
        assert found.ratio == found.latency.value / 1000
        assert "times the reported" in str(found)
        assert found.ratio is not None
        assert found.reported_samples == 4
        named = predict.benchmark(x=samples("cnn", 4), seconds=0.1)
        assert named.ratio is not None


def test_a_request_of_another_size_is_timed_and_not_compared(folder):
    measured_on(folder)
    with load(folder) as predict:
        found = predict.benchmark(samples("cnn", 7), seconds=0.1)
    assert found.samples == 7
    assert found.ratio is None
    assert "the report timed 4 samples a request" in str(found)
    assert "not compared" in str(found)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_benchmark_needs_a_time(folder, seconds):
    with load(folder) as predict, pytest.raises(ValueError, match="positive and finite"):
        predict.benchmark(seconds=seconds)


GARBLED = [
    ({"measurement": [1]}, "`measurement` must be an object"),
    ({"measurement": {"stats": 3}}, "`stats` must be an object, but got 3"),
    ({"measurement": {"stats": {"latency": 7}}}, "the latency is garbled"),
    ({"measurement": {"stats": {"latency": {"value": 1}}}}, "the latency is garbled"),
    ({"measurement": {"stats": {"latency": {"value": "a", "low": "a", "high": "b", "n": 1}}}},
     "the latency is garbled"),
    ({"measurement": {"stats": {"latency": {"value": 0, "low": 0, "high": 0, "n": 1}}}},
     "must be positive"),
    ({"measurement": {"environment": ["x86"]}}, "`environment` must be an object"),
    ({"request_size": "x"}, "`request_size` must be a positive whole number, but got 'x'"),
    ({"request_size": -3}, "but got -3"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), GARBLED)
def test_garbled_figures_are_named(folder, fields, message):
    rewrite(folder, "measured.json", json.dumps({"format": 1, **fields}))
    with pytest.raises(ArtifactError, match=message):
        load(folder)


def test_figures_that_were_altered_or_are_gone_are_refused(folder):
    found = json.loads((folder / "measured.json").read_text())
    (folder / "measured.json").write_text(json.dumps({**found, "request_size": 9}))
    with pytest.raises(ArtifactError, match=r"'measured\.json' .* is not what was exported"):
        load(folder)
    (folder / "measured.json").unlink()
    with pytest.raises(ArtifactError, match=r"'measured\.json' is missing"):
        load(folder)


def test_texts_that_were_altered_cut_short_or_are_gone_are_named(folder):
    (folder / "recipe.yaml").write_text("slots: {")
    (folder / "report.html").unlink()
    (folder / "predict.py").unlink()
    (folder / "predict.py").symlink_to("/etc/hostname")
    with pytest.warns(UserWarning, match=r"predict\.py, recipe\.yaml, report\.html; the model"):
        predict = load(folder)
    with predict:
        assert_same(predict(samples("cnn", 2)), expected("cnn", 2))


@pytest.mark.parametrize("texts", [{"../x": "0"}, {"/etc/hostname": "0"}, {"x": 3}, [1]])
def test_texts_outside_of_the_folder_are_refused(folder, texts):
    change(folder, texts=texts)
    with pytest.raises(ArtifactError, match=r"artifact\.json"):
        load(folder)


def test_another_processor_is_said_and_loads_nevertheless(folder):
    measured_on(folder, processor="Abacus 3000")
    with pytest.warns(UserWarning, match="instead of Abacus 3000"):
        predict = load(folder)
    with predict:
        assert "another machine" in str(predict.benchmark(seconds=0.1))
        assert len(predict(samples("cnn", 2))) == 2


@pytest.mark.parametrize("text", ['{"format": 2}', "[]", "{", '{"format": 1, "measurement": '])
def test_figures_that_cannot_be_read_are_refused(folder, text):
    (folder / "measured.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"measured\.json"):
        load(folder)


def test_linked_figures_are_refused(folder, tmp_path):
    (folder / "measured.json").replace(tmp_path / "elsewhere.json")
    (folder / "measured.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(ArtifactError, match="symbolic link"):
        load(folder)


def test_one_export_answers_many_threads(folder):
    x, wanted = samples("cnn", 5), expected("cnn", 5)
    with load(folder) as predict, ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: predict(x), range(24)):
            assert_same(found, wanted)
