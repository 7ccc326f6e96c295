"""A runtime's fault is no refusal: few bits are to blame only where the artefact says its bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.interfaces import Array, Quantization
from autoopt.precision import quantizable
from autoopt.runtimes import agreement
from autoopt.runtimes.deployment import ReplicatedDeployment
from tests.architectures import trained_task
from tests.contract import RUNTIMES, Contract
from tests.few_bits import lost_by_bits, on_grid
from tests.subjects import Subject

BINARY = Quantization("binary", 1)
SUBJECT = Subject("quantization", "binary", {}, "binary")


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network lose by few bits: no share of equal classes is enough."""
    monkeypatch.setattr(agreement, "SAME_CLASS", 1.01)


@pytest.mark.usefixtures("strict")
def test_what_few_bits_lose_by_themselves_is_refused(tmp_path: Path):
    outcome, reason = Contract(trained_task("mlp"), tmp_path).check(SUBJECT)
    assert (outcome, "too few bits for this network" in reason) == ("refused", True)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_decodes_wrongly_fails(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    serve = ReplicatedDeployment.__call__

    def wrongly(self: Any, *inputs: Array) -> Array:
        return np.negative(serve(self, *inputs))

    monkeypatch.setattr("tests.contract.RUNTIMES", (runtime,))
    monkeypatch.setattr(ReplicatedDeployment, "__call__", wrongly)
    outcome, reason = Contract(trained_task("mlp"), tmp_path).check(SUBJECT)
    assert (outcome, "does not agree with its network" in reason) == ("failed", True)


@pytest.mark.usefixtures("strict")
def test_the_bits_are_held_against_the_network_that_was_built():
    # The noise allows for another order of sums.
    task = dataclasses.replace(trained_task("mlp"), noise=1e-3)
    assert lost_by_bits(task.model, BINARY, "eager", task)
    # A network that has been trained into its grid loses nothing by it.
    trained = on_grid(task.model, BINARY, list(quantizable(task.model)))
    assert lost_by_bits(trained, BINARY, "eager", task) is None


def test_where_integers_are_multiplied_bits_are_no_excuse():
    task = trained_task("mlp")
    assert lost_by_bits(task.model, Quantization("static", 8), "onnxruntime", task) is None
