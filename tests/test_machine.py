from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import autoopt
from autoopt.cli import main
from autoopt.interfaces import Quantization
from autoopt.machine import abilities
from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.runtimes.abilities import COMPUTES, PRECISIONS
from autoopt.targets import load_target
from tests.runtime_builds import tiny_task

REQUESTS = {
    "float32": Quantization(),
    "bfloat16": Quantization("bfloat16", 16),
    "float16": Quantization("float16", 16),
    "static int8": Quantization("static", 8),
    "dynamic int8": Quantization("dynamic", 8),
    "stored weights": Quantization("weight_only", 8),
}


class Other:
    """A target that no runtime computes on."""

    name = "tpu"

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_says_something_about_every_precision_and_agrees_with_what_it_refuses(name):
    runtime, cpu = load_runtime(name), load_target("cpu")
    found = runtime.abilities(cpu)
    assert tuple(found) == PRECISIONS
    for precision, word in found.items():
        reason = runtime.refuse(REQUESTS[precision], tiny_task("mlp"), cpu)
        offered = word.startswith(("computes", "storage only"))
        assert offered == (reason is None), (precision, word, reason)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_claims_nothing_on_another_target(name):
    found = load_runtime(name).abilities(Other())  # type: ignore[arg-type]  # a mapping is enough
    assert COMPUTES not in found.values()


def test_describing_a_target_prints_machine_runtimes_and_precisions(capsys):
    autoopt.describe_target()
    printed = capsys.readouterr().out
    assert printed.startswith("cpu: ")
    assert all(name in printed for name in (*RUNTIMES, *PRECISIONS, "instruction sets", "cores"))


def test_the_command_gives_the_same_as_json(capsys):
    assert main(["target", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == abilities("cpu")


def test_a_runtime_that_is_not_installed_says_so(monkeypatch):
    def missing(name: str) -> Any:
        raise ImportError("No module named 'openvino'")

    monkeypatch.setattr("autoopt.machine.load_runtime", missing)
    assert abilities("cpu")["runtimes"]["openvino"]["all"].startswith("not installed (No module")


def test_an_unknown_target_is_an_error_of_the_command(capsys):
    assert main(["target", "tpu"]) == 1
    assert "unknown target 'tpu'; known: cpu, cuda" in capsys.readouterr().err
