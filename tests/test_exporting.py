from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from torch import nn

from autoopt.errors import ArtifactError, FolderError
from autoopt.exporting import Meaning, check_destination, export_strategy, recipe_text
from autoopt.exporting import folder as folder_module
from autoopt.exporting.report import report_html
from autoopt.exporting.sections import FRONT, STEPS, report_sections
from autoopt.handle.recipes import recipe_source
from autoopt.interfaces import Parallel, Quantization
from autoopt.loading import load
from autoopt.recipe import Recipe
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import changed_texts, read_manifest
from autoopt.task import make_task
from tests.record_builds import SMALL
from tests.runtime_builds import (
    ON_CPU,
    TOLERANCE,
    assert_same,
    built,
    distance,
    expected,
    samples,
)
from tests.runtime_builds import exported as exported_program

SPREADS = [Parallel(2), Parallel(2, replicas=2), Parallel(2, replicas=2, batch=3)]


def run_script(python: str, folder: Path, *files: Path) -> None:
    """Run `predict.py` away from the repository, with nothing of ours on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, str(folder / "predict.py"), *map(str, files)],
        capture_output=True, text=True, check=False, cwd=files[0].parent, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class Difference(nn.Module):
    """Tells its inputs apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.layer(a - 2 * b)


@pytest.fixture
def two_inputs(tmp_path: Path) -> Callable[[str], tuple[Path, tuple[Any, Any], Any]]:
    """Return what builds a network of two inputs: the artefact, seven samples, its answer."""
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal((40, 3)).astype(np.float32) for _ in range(2))
    network = Difference().eval()
    task = make_task(network, ((a, b), np.arange(40) % 2), request_size=8, threads=2)
    with torch.no_grad():
        wanted = network(torch.from_numpy(a[:7]), torch.from_numpy(b[:7])).numpy()

    def build(runtime: str) -> tuple[Path, tuple[Any, Any], Any]:
        (tmp_path / "artifact").mkdir()
        load_runtime(runtime).build(network, Quantization(), task, tmp_path / "artifact")
        return tmp_path / "artifact", (a[:7], b[:7]), wanted

    return build


def test_an_export_holds_all_that_is_needed_and_nothing_else(tmp_path):
    folder = export_strategy(
        built("cnn", "openvino"), "slots: {}\n", {"pick": {"speedup": 12.5}}, tmp_path / "export"
    )
    names = {"artifact.json", "recipe.yaml", "report.html", "predict.py", "model.xml", "model.bin"}
    names |= {"schema.json", "measured.json", "requirements.txt", "model_card.md"}
    assert {item.name for item in folder.iterdir()} == names
    assert [item.name for item in tmp_path.iterdir()] == ["export"]
    assert (folder / "recipe.yaml").read_text() == "slots: {}\n"
    assert "12.5" in (folder / "report.html").read_text()


def test_how_requests_are_spread_travels_with_the_export(tmp_path):
    folder = export_strategy(
        built("cnn", "openvino"), "", {}, tmp_path / "export", parallel=Parallel(3, 2, 4)
    )
    options = json.loads((folder / "artifact.json").read_text())["options"]
    assert options["parallel"] == {"threads": 3, "replicas": 2, "batch": 4}
    told = {"parallel": {"threads": 1, "replicas": 1, "batch": 2}}
    folder = export_strategy(built("cnn", "openvino"), "", told, tmp_path / "told")
    options = json.loads((folder / "artifact.json").read_text())["options"]
    assert options["parallel"] == told["parallel"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("parallel", SPREADS)
def test_predict_py_answers_like_the_network(runtime, parallel, tmp_path):
    folder = export_strategy(built("cnn", runtime), "", {}, tmp_path / "export", parallel=parallel)
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    run_script(sys.executable, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    assert_same(np.load(tmp_path / "y.npy"), expected("cnn", 7))


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        ("onnxruntime", "weights2"), ("onnxruntime", "dynamic"), ("openvino", "codebook_odd"),
        ("eager", "binary"),
    ],
)  # fmt: skip
def test_predict_py_unpacks_stored_weights_like_loading_does(runtime, precision, tmp_path):
    folder = export_strategy(built("cnn", runtime, precision), "", {}, tmp_path / "export")
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    run_script(sys.executable, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    with load(folder) as predict:
        answers = np.asarray(predict(samples("cnn", 7)), dtype=np.float32)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), answers, atol=1e-5)
    assert distance(answers, expected("cnn", 7)) < TOLERANCE[precision]
    lines = (folder / "predict.py").read_text().splitlines()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("runtime", ON_CPU)
def test_predict_py_has_ten_lines_where_a_request_is_answered_whole(runtime, tmp_path):
    folder = export_strategy(
        built("cnn", runtime), "", {}, tmp_path / "export", parallel=Parallel(2)
    )
    script = (folder / "predict.py").read_text()
    code = [line for line in script.splitlines()[1:] if line.strip()]
    assert len(code) <= 10
    assert max(map(len, code)) <= 100


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_predict_py_takes_what_numpy_makes_unasked(runtime, tmp_path):
    folder = export_strategy(built("mlp", runtime), "", {}, tmp_path / "export")
    np.save(tmp_path / "x.npy", samples("mlp", 7).astype(np.float64))
    run_script(sys.executable, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    assert_same(np.load(tmp_path / "y.npy"), expected("mlp", 7))


def test_predict_py_prints_where_no_file_is_given(tmp_path):
    folder = export_strategy(built("cnn", "onnxruntime"), "", {}, tmp_path / "export")
    np.save(tmp_path / "x.npy", samples("cnn", 1))
    done = subprocess.run(
        [sys.executable, str(folder / "predict.py"), str(tmp_path / "x.npy")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [float(number) for number in done.stdout.strip("[] \n").split()]
    np.testing.assert_allclose(found, expected("cnn", 1)[0], atol=1e-4)


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("parallel", [Parallel(1), Parallel(2, 2, 3)])
def test_predict_py_of_two_inputs_takes_two_files(two_inputs, runtime, parallel, tmp_path):
    artifact, arrays, wanted = two_inputs(runtime)
    folder = export_strategy(artifact, "", {}, tmp_path / "export", parallel=parallel)
    for name, array in zip("ab", arrays, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    files = (tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "y.npy")
    run_script(sys.executable, folder, *files)
    assert_same(np.load(tmp_path / "y.npy"), wanted)


ALONE = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.modules["autoopt"] = None
sys.argv = [sys.argv[1] + "/predict.py", *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
assert sys.modules["autoopt"] is None
"""


FINDS = """
import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))
"""


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "weights8"])
def test_predict_py_of_torch_runs_from_a_copied_folder_where_autoopt_is_missing(
    precision, tmp_path
):
    source = export_strategy(built("mlp", "eager", precision), "", {}, tmp_path / "export")
    folder = tmp_path / "elsewhere" / "copy"
    shutil.copytree(source, folder)
    shutil.rmtree(source)
    (tmp_path / "cwd").mkdir()
    np.save(tmp_path / "x.npy", samples("mlp", 7))
    # Isolated: neither PYTHONPATH nor the current folder nor a user's packages are looked at.
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, folder, tmp_path / "x.npy", tmp_path / "y.npy"],
        capture_output=True, text=True, check=False, cwd=tmp_path / "cwd",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with load(folder) as predict:
        answers = np.asarray(predict(samples("mlp", 7)), dtype=np.float32)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), answers, 1e-3)
    assert distance(np.load(tmp_path / "y.npy"), expected("mlp", 7)) < TOLERANCE[precision]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [Parallel(2), Parallel(2, 2, 3)])
def test_predict_py_of_a_compiled_program_answers_like_the_network(parallel, tmp_path):
    folder = export_strategy(
        built("cnn", "compiled"), "", {}, tmp_path / "export", parallel=parallel
    )
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    run_script(sys.executable, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    assert_same(np.load(tmp_path / "y.npy"), expected("cnn", 7))


@pytest.mark.parametrize("network", ["cnn", "fixed"])
def test_predict_py_of_a_program_of_torch_opens_it_safely(network, tmp_path):
    folder = export_strategy(built(network, "eager"), "", {}, tmp_path / "export")
    np.save(tmp_path / "x.npy", samples(network, 7))
    run_script(sys.executable, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    assert_same(np.load(tmp_path / "y.npy"), expected(network, 7))
    assert "torch.export.load(" not in (folder / "predict.py").read_text()
    assert "autoopt import" not in (folder / "safe_pt2.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_predict_py_runs_where_only_numpy_and_the_runtime_are_installed(runtime, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "numpy", runtime], check=True)
    folder = export_strategy(
        built("cnn", runtime, "static"), "", {}, tmp_path / "export", parallel=Parallel(2, 2)
    )
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    run_script(python, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    with load(folder) as predict:
        wanted: Any = predict(samples("cnn", 7))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, atol=1e-4)


def requirements(name: str) -> dict[str, Distribution]:
    """Return an installed distribution and all that it needs, by name."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        requirement = Requirement(waiting.pop())
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            waiting += found[requirement.name].requires or []
    return found


def bare_environment(home: Path, *names: str) -> str:
    """Return a Python that finds these distributions, what they need, and nothing else."""
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    for item in {key: d for name in names for key, d in requirements(name).items()}.values():
        for top in {file.parts[0] for file in item.files or () if file.parts[0] != ".."}:
            if not (site / top).exists() and top != "__pycache__":
                (site / top).symlink_to(Path(str(item.locate_file(top))))
    return str(home / "bin" / "python")


def test_predict_py_of_torch_runs_where_only_numpy_and_torch_are_installed(tmp_path):
    # Installing torch takes minutes; links to what is installed make the same environment.
    python = bare_environment(tmp_path / "venv", "torch", "numpy")
    absent = "autoopt cloudpickle onnx onnxruntime openvino optuna pandas safetensors scipy sklearn"
    found = subprocess.run(
        [python, "-c", FINDS, *absent.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.stdout.split() == [], found.stderr
    folder = export_strategy(built("cnn", "eager"), "", {}, tmp_path / "export")
    np.save(tmp_path / "x.npy", samples("cnn", 7))
    run_script(python, folder, tmp_path / "x.npy", tmp_path / "y.npy")
    assert_same(np.load(tmp_path / "y.npy"), expected("cnn", 7))


def test_an_earlier_export_is_replaced_only_when_told(tmp_path):
    target = tmp_path / "export"
    export_strategy(built("mlp", "eager"), "first", {}, target)
    with pytest.raises(FolderError, match="holds an export already"):
        export_strategy(built("mlp", "openvino"), "second", {}, target)
    assert (target / "recipe.yaml").read_text() == "first"
    export_strategy(built("mlp", "openvino"), "second", {}, target, overwrite=True)
    assert (target / "recipe.yaml").read_text() == "second"
    assert not (target / "model.pt2").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["export"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match="something else than an export"):
        export_strategy(built("mlp", "eager"), "", {}, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_export_with_a_persons_own_file_in_it_is_never_replaced(tmp_path):
    target = export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")
    (target / "notes.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"no export wrote \(notes\.txt\)"):
        export_strategy(built("mlp", "eager"), "", {}, target, overwrite=True)
    assert (target / "notes.txt").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "export").write_text("a file")
    with pytest.raises(FolderError, match="is not a folder"):
        export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")


def test_an_empty_folder_and_missing_parents_are_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "a" / "b"):
        assert (export_strategy(built("mlp", "eager"), "", {}, target) / "predict.py").is_file()


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(FolderError, match="the disk is full"):
        export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_said_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "MARGIN", 10**18)
    with pytest.raises(FolderError, match=r"MB are needed, .* MB are free"):
        export_strategy(built("mlp", "eager"), "", {}, tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_a_damaged_artefact_is_not_exported(tmp_path):
    source = tmp_path / "artifact"
    shutil.copytree(built("mlp", "onnxruntime"), source)
    (source / "model.onnx").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="is not what was exported"):
        export_strategy(source, "", {}, tmp_path / "export")


def test_a_report_compares_the_export_with_the_original():
    def record(latency: float) -> dict[str, Any]:
        low, high = latency * 0.9, latency * 1.1
        stat = {"value": latency, "low": low, "high": high, "n": 5, "unit": "ms"}
        return {"measurement": {"stats": {"latency": stat}, "realised": {"precision": "int8"}}}

    row = {
        "number": 7, "role": "search", "front": True, "values": {"latency": [1.5, 1.4, 1.6]},
        "speedup": 8.0, "summary": "half the channels",
    }  # fmt: skip
    sections = report_sections(
        {
            "summary": "half the channels, int8",
            "record": record(1.5),
            "original": record(12.0),
            "rows": [row, {**row, "front": False, "number": 8}],
            "objectives": [{"name": "latency", "label": "latency", "unit": "ms"}],
            "parallel": {"threads": 2},
        }
    )
    assert sections["title"] == "half the channels, int8"
    (figures,) = sections["figures"]
    assert figures["original"] == "12 ms (10.8 to 13.2)"
    assert figures["exported"] == "1.5 ms (1.35 to 1.65)"
    assert [item["number"] for item in sections[FRONT]] == [7]
    assert sections[FRONT][0]["latency (ms)"] == 1.5
    assert sections["cards"] == {"latency": "1.5 ms"}
    assert "notes" not in sections


def test_a_report_opens_with_what_counts_and_marks_what_is_exported():
    def stat(value: float, unit: str = "") -> dict[str, Any]:
        return {"value": value, "low": value, "high": value, "n": 1, "unit": unit}

    environment = {"processor": "A", "memory_mb": 2048, "time": 0.0, "instruction_sets": ["x", "y"],
                   "numpy": "2.0"}  # fmt: skip
    mine = {"stats": {"size": stat(1.0, "MB"), "latency": stat(2.5, "ms")}, "speedup": stat(8.04),
            "environment": environment}  # fmt: skip
    rows = [{"number": n, "front": False, "role": "search", "values": {"size": [1.0]},
             "recommended": n == 4, "summary": f"s{n}"} for n in (3, 4)]  # fmt: skip
    sections = report_sections(
        {
            "record": {"measurement": mine},
            "original": {"measurement": {"stats": {"size": stat(7.0, "MB")}}},
            "compared": "8.0× at −0.6 pt",
            "quality": "accuracy",
            "request_size": 16,
            "parallel": {"threads": 2, "replicas": 1, "batch": 0, "pinned": True},
            "rows": rows,
            "objectives": [{"name": "size", "label": "size", "unit": "MB"}],
            "explained": {"layer by layer": ["x"], STEPS: ["y"], "in words": ["z"]},
        }
    )  # fmt: skip
    assert sections["cards"] == {
        "as fast": "8.0×", "as small": "7.0×",
        "accuracy, validation part": "−0.6 pt", "latency, 16 samples": "2.5 ms",
    }  # fmt: skip
    assert [row["recipe"] for row in sections[FRONT]] == ["s4 ★"]
    spread = {"samples a request": 16, "threads": 2, "pinned": True}
    assert sections["how a request is spread"] == spread
    assert sections["measured on"]["when"] == "1970-01-01 00:00 UTC"
    assert sections["measured on"]["versions"] == {"numpy": "2.0"}
    assert list(sections)[:6] == ["title", "cards", "in words", "figures", STEPS, FRONT]
    page = report_html(sections, charts={FRONT: "<svg>1</svg>", STEPS: "<svg>2</svg>"})
    assert page.index("<svg>2</svg>") < page.index("<svg>1</svg>") < page.index("s4 ★")
    assert "<dt>as small</dt><dd>7.0×</dd>" in page
    assert "<td>x, y</td>" in page
    assert "<td>yes</td>" in page


def test_a_report_escapes_what_is_not_ours_and_shows_tables():
    page = report_html(
        {
            "title": "<script>",
            "front": [{"latency (ms)": 1.23456, "recipe": "<b>"}, {"accuracy": 0.99}],
            "notes": ["a & b"],
        },
        charts={"front": "<svg></svg>"},
    )
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<svg></svg>" in page
    assert '<td class="n">1.235</td><td>&lt;b&gt;</td>' in page
    assert page.index("Front</h2><figure><svg></svg></figure><table") > 0
    assert "<li>a &amp; b</li>" in page
    assert "http" not in page


def exported(folder: Path, **options: Any) -> Path:
    environment = {"processor": "A | B", "numpy": "2.0", "onnxruntime": "1.2", "python": "3.11.7"}
    stat = {"value": 2.0, "low": 1.9, "high": 2.1, "n": 9, "unit": "ms"}
    record = {"measurement": {"stats": {"latency": stat}, "environment": environment,
                              "samples": {"candidate": [[1.0]]}}}  # fmt: skip
    report = {"summary": "cnn", "compared": "2×", "record": record, "request_size": 8}
    return export_strategy(built("cnn", "onnxruntime"), "", report, folder, **options)


def test_an_export_describes_itself_to_programs_and_people(tmp_path):
    meaning = Meaning(labels=["a", "b", "c", "<d>"], preprocessing={"mean": 0.5})
    folder = exported(tmp_path / "export", meaning=meaning)
    schema = json.loads((folder / "schema.json").read_text())
    assert schema["inputs"] == [
        {"name": "x", "name_in_the_file": "graph.input_0", "dtype": "float32",
         "shape": ["samples", 1, 8, 8], "dynamic_axes": {"0": "samples"},
         "samples_in_the_file": None}
    ]  # fmt: skip
    assert schema["output"]["shape"] == ["samples", 4]
    assert schema["labels"] == ["a", "b", "c", "<d>"]
    assert schema["labels_axis"] == 1
    assert schema["preprocessing"] == {"mean": 0.5}
    assert (folder / "requirements.txt").read_text() == (
        "# measured under Python 3.11.7\nnumpy==2.0\nonnxruntime==1.2\n"
    )
    card = (folder / "model_card.md").read_text()
    assert "A \\| B" in card
    assert "&lt;d>" in card
    assert "| latency |  | 2 ms (1.9 to 2.1) |" in card
    assert "samples" not in json.loads((folder / "measured.json").read_text())["measurement"]


@pytest.mark.parametrize("precision", ["float32", "static", "weights8"])
def test_the_schema_names_inputs_and_output_as_the_file_does(tmp_path, precision):
    import onnx
    import openvino

    def schema(runtime: str) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
        folder = export_strategy(built("cnn", runtime, precision), "", {}, tmp_path / runtime)
        found = json.loads((folder / "schema.json").read_text())
        return folder, found["inputs"], found["output"]

    folder, inputs, output = schema("onnxruntime")
    graph = onnx.load(folder / "model.onnx").graph
    assert [item.name for item in graph.input] == [item["name_in_the_file"] for item in inputs]
    assert [item.name for item in graph.output] == [output["name_in_the_file"]]
    folder, inputs, output = schema("openvino")
    model = openvino.Core().read_model(folder / "model.xml")
    assert [item.any_name for item in model.inputs] == [item["name_in_the_file"] for item in inputs]
    assert [item.any_name for item in model.outputs] == [output["name_in_the_file"]]
    # Programs of torch take them by their order.
    assert {item["name_in_the_file"] for item in schema("eager")[1]} == {None}


def test_a_file_that_openvino_read_from_torch_names_its_output_too(tmp_path, monkeypatch):
    import openvino

    from autoopt.runtimes import openvino_files
    from autoopt.runtimes.onnx_files import OUTPUT

    def no_onnx(_: Any) -> None:
        raise RuntimeError("an operator is missing")

    monkeypatch.setattr(openvino_files, "_through_onnx", no_onnx)
    model = openvino_files.to_openvino(exported_program("mlp"))
    openvino_files.save_compact(model, tmp_path / "model.xml", half=False)
    (output,) = openvino.Core().read_model(tmp_path / "model.xml").outputs
    assert output.any_name == OUTPUT


def test_requirements_can_be_installed_and_name_what_the_program_calls(tmp_path, monkeypatch):
    environment = {
        "numpy": "2.0",
        "torch": "2.9.1+cpu",
        "torchao": "0.18.0+cu126",
        "python": "3.11",
    }
    report = {"record": {"measurement": {"environment": environment}}}
    plain = export_strategy(built("mlp", "eager"), "", report, tmp_path / "plain")
    assert (plain / "requirements.txt").read_text() == (
        "# measured under Python 3.11, torch 2.9.1+cpu\nnumpy==2.0\ntorch==2.9.1\n"
    )
    monkeypatch.setattr("autoopt.runtimes.pt2.calls_torchao", lambda path: path.is_file())
    floats = export_strategy(built("mlp", "eager"), "", report, tmp_path / "floats")
    lines = (floats / "requirements.txt").read_text().splitlines()
    assert lines[1:] == ["numpy==2.0", "torch==2.9.1", "torchao==0.18.0"]
    assert all(Requirement(line) for line in lines[1:])


def test_labels_of_dense_classes_name_the_axis_that_holds_them(tmp_path):
    network = nn.Conv2d(1, 3, 3, padding=1).eval()
    images = np.random.default_rng(0).standard_normal((30, 1, 6, 5)).astype(np.float32)
    task = make_task(network, (images, np.zeros((30, 6, 5), np.int64)), request_size=4, threads=1)
    (tmp_path / "artifact").mkdir()
    load_runtime("onnxruntime").build(network, Quantization(), task, tmp_path / "artifact")
    meaning = Meaning(labels=["sky", "sea", "land"], axis=task.form.axis)
    folder = export_strategy(tmp_path / "artifact", "", {}, tmp_path / "e", meaning=meaning)
    schema = json.loads((folder / "schema.json").read_text())
    assert schema["output"]["shape"] == ["samples", 3, 6, 5]
    assert schema["labels_axis"] == 1
    with pytest.raises(ArtifactError, match=r"which has 3 \(axis 1 of"):
        export_strategy(tmp_path / "artifact", "", {}, tmp_path / "f",
                        meaning=replace(meaning, labels=list("abcde")))  # fmt: skip


def test_every_text_of_an_export_has_its_checksum(tmp_path):
    folder = exported(tmp_path / "export")
    manifest = read_manifest(folder)
    names = {item.name for item in folder.iterdir()}
    assert set(manifest.texts) | set(manifest.files) | {"artifact.json"} == names
    assert changed_texts(folder, manifest) == ()
    (folder / "recipe.yaml").write_text("cut sh")
    assert changed_texts(folder, manifest) == ("recipe.yaml",)


def test_a_destination_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=r"/file' is no folder that may be written"):
        check_destination(tmp_path / "file" / "a" / "b", overwrite=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(FolderError, match="is no folder that may be written"):
        check_destination(tmp_path / "a" / "b", overwrite=False)


@pytest.mark.parametrize(
    ("meaning", "message"),
    [
        (Meaning(labels=["a", "b"]), r"which has 4 \(axis 1 of samples × 4\), but got 2"),
        (Meaning(labels="abcd"), "must be a list of names, but got the text 'abcd'"),
        (Meaning(labels=["a"], axis=0), "samples × 4 has none"),
        (Meaning(preprocessing=object()), "plain values that JSON holds"),
        (Meaning(preprocessing=float("nan")), "plain values that JSON holds"),
    ],
)
def test_what_a_person_says_of_inputs_and_outputs_is_checked(tmp_path, meaning, message):
    with pytest.raises(ArtifactError, match=message):
        exported(tmp_path / "export", meaning=meaning)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_in_an_export_says_what_each_choice_is_and_can_be_read_back():
    text = recipe_text(SMALL, version="1.2.3", layers=[("conv", "convolution")])
    assert Recipe.from_yaml(text) == SMALL
    assert "autoopt 1.2.3" in text
    assert "# student: width 0.5" in text
    assert "layers:" not in text  # it names none
    named = Recipe.of({"quantization": ("per_layer", {"layers": "conv=8", "bits": 4})})
    text = recipe_text(named, version="1", layers=[("conv", "convolution")])
    assert Recipe.from_yaml(text) == named
    assert recipe_source(text).layers == (("conv", "convolution"),)


def test_words_in_a_recipe_cannot_end_their_comment():
    evil = Recipe.of({"student": ("x\nformat: 9", {})})
    assert Recipe.from_yaml(recipe_text(evil, version="1")) == evil
