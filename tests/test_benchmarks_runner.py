from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import environment, registry
from tests.benchmarks.__main__ import main

HERE = __name__
TABLE = {
    "sample": f"{HERE}:sample",
    "empty": f"{HERE}:empty",
    "listing": f"{HERE}:listing",
    "short": f"{HERE}:short",
    "word": f"{HERE}:word",
    "absent": "tests.benchmarks.no_such_module:run",
}


def sample() -> dict[str, float]:
    return {"share": 0.0312345678, "trials": 61}


def listing() -> registry.Report:
    return registry.Report({"ok": 1.0}, {"cells": [{"technique": "a", "outcome": "ok"}]})


def short() -> registry.Report:
    return registry.Report({"ok": 0.5}, missed=["ok is 0.5, at least 0.8 is promised"])


def empty() -> dict[str, float]:
    return {}


def word() -> dict[str, object]:
    return {"share": "little"}


def run(*argv: str) -> tuple[int, str]:
    out = io.StringIO()
    status = main(argv, benchmarks=TABLE, console=Console(file=out, width=120))
    return status, out.getvalue()


def test_a_run_prints_its_figures_and_the_environment():
    status, text = run("sample")
    assert status == 0
    assert "0.0312346" in text
    assert "61" in text
    assert metadata.version("torch") in text


def test_json_holds_name_figures_and_environment(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "sample.json"
    status, _ = run("sample", "--json", str(path))
    report = json.loads(path.read_text())
    assert status == 0
    assert set(report) == {"name", "figures", "environment"}
    assert report["name"] == "sample"
    assert report["figures"] == sample()
    assert report["environment"]["openvino"] == metadata.version("openvino")
    assert report["environment"]["cores"] >= 1


def test_what_is_promised_and_missed_ends_with_status_1(tmp_path: Path):
    path = tmp_path / "short.json"
    status, text = run("short", "--json", str(path))
    assert status == 1
    assert "missed: ok is 0.5, at least 0.8 is promised" in text
    assert json.loads(path.read_text())["figures"] == {"ok": 0.5}


def test_list_names_every_benchmark_and_imports_none():
    status, text = run("--list")
    assert status == 0
    assert text.split() == sorted(TABLE)


def test_an_unknown_name_lists_the_known_ones():
    status, text = run("sampel")
    assert status == 2
    assert "unknown benchmark 'sampel'" in text
    assert "absent, empty, listing, sample, short, word" in text


def test_no_name_lists_the_known_ones():
    status, text = run()
    assert status == 2
    assert "absent, empty, listing, sample, short, word" in text


def test_a_benchmark_without_figures_is_an_error():
    with pytest.raises(ValueError, match="at least one figure"):
        run("empty")


@pytest.mark.parametrize("value", ["little", True, float("nan"), float("inf"), None])
def test_a_figure_that_is_no_finite_number_is_an_error(value: object):
    with pytest.raises(ValueError, match=r"must be a finite number, but 'bad' returned share="):
        registry.measure("bad", lambda: {"share": value})  # type: ignore[dict-item]


def test_a_benchmark_whose_module_is_missing_is_an_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        run("absent")


@pytest.mark.parametrize("name", sorted(registry.BENCHMARKS))
def test_every_registered_benchmark_resolves(name: str):
    assert callable(registry.resolve(name))


def test_the_cpu_model_is_read_from_cpuinfo(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t: a b\n")
    assert environment.cpu_model(cpuinfo) == "Some CPU @ 2.00GHz"


def test_the_cpu_model_is_never_empty_without_cpuinfo(tmp_path: Path):
    assert environment.cpu_model(tmp_path / "absent")


def test_the_module_runs_as_a_command():
    command = [sys.executable, "-m", "tests.benchmarks", "--list"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(registry.BENCHMARKS)


def test_lists_stand_in_the_json_beside_the_figures(tmp_path: Path):
    path = tmp_path / "cells.json"
    assert run("listing", "--json", str(path))[0] == 0
    found = json.loads(path.read_text())
    assert found["cells"] == [{"technique": "a", "outcome": "ok"}]
    assert found["figures"] == {"ok": 1.0}
