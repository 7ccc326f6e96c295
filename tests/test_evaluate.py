"""What errors become, and what a stage gives back."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.build import Bench
from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.errors import DivergedError, RefusedError
from autoopt.evaluate import Evaluator, as_failure
from autoopt.interfaces import Parallel
from autoopt.measure import MeasurePlan, measure_artifact
from autoopt.measure.measure import score
from autoopt.measurement import Measurement
from autoopt.outcome import Done
from autoopt.record import Failure
from autoopt.targets import load_target
from tests.fakes import FakeDeployment
from tests.runtime_builds import built, tiny_task
from tests.small_searches import narrow


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("cannot"), "refused"),
        (DivergedError("NaN"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (RuntimeError("std::bad_alloc"), "out_of_memory"),
        (ValueError("wrong"), "error"),
        (KeyError("x"), "error"),
    ],
    ids=lambda value: str(value) or "bare",
)
def test_an_error_becomes_a_failure_of_its_kind(error: Exception, kind: str) -> None:
    failure = as_failure("artifact", raised(error))
    assert (failure.stage, failure.kind) == ("artifact", kind)
    assert failure.message


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert as_failure("network", raised(AssertionError())).message.startswith("AssertionError")


def test_a_failure_carries_the_traceback_and_a_refusal_does_not() -> None:
    assert "raise error" in as_failure("network", raised(ValueError("x"))).log
    assert as_failure("network", raised(RefusedError("x"))).log == ""


def test_a_long_message_is_cut_and_the_end_of_its_traceback_kept() -> None:
    failure = as_failure("network", raised(ValueError("x" * 10_000 + "end")))
    assert len(failure.message) == 2000
    assert failure.log.endswith("end\n")


@cache
def answers() -> Callable[[np.ndarray], np.ndarray]:
    import torch

    task = tiny_task("mlp")

    def answer(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            result: np.ndarray = task.model(torch.from_numpy(x)).numpy()
        return result

    return answer


def test_a_score_is_taken_over_the_whole_part_in_requests_of_the_usual_size() -> None:
    task = tiny_task("mlp")
    deployment = FakeDeployment(answers())
    assert score(task, deployment, "validation").value == 1.0
    assert sum(deployment.requests) == len(task.validation)
    assert max(deployment.requests) == task.request_size


def test_a_part_is_read_once_for_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    task, read = tiny_task("mlp"), []
    batches = type(task.test).batches

    def counted(self: Any, size: int, *, seed: int | None = None) -> Any:
        read.append(size)
        return batches(self, size, seed=seed)

    monkeypatch.setattr(type(task.test), "batches", counted)
    monkeypatch.setattr(type(task.test), "targets", None)
    assert score(task, FakeDeployment(answers()), "test").value == 1.0
    assert read == [task.request_size]


def test_answers_that_are_not_finite_are_counted_and_refused() -> None:
    def broken(x: np.ndarray) -> np.ndarray:
        outputs = answers()(x).copy()
        outputs[0, 0] = np.nan
        return outputs

    with pytest.raises(DivergedError, match=r"answers must be finite, but \d+ of 16 on the test"):
        score(tiny_task("mlp"), FakeDeployment(broken), "test")


@pytest.mark.parametrize(
    "parallel", [Parallel(1000), Parallel(1, 2, 4)], ids=["threads", "replicas"]
)
def test_more_threads_than_cores_or_replicas_than_threads_are_refused(parallel: Parallel) -> None:
    with pytest.raises(RefusedError, match=r"no more than the .* cores"):
        measure_artifact(
            tiny_task("mlp"),
            built("mlp", "eager"),
            parallel,
            plan=MeasurePlan(("size",)),
            reference=lambda: FakeDeployment(answers()),
        )


def test_a_measurement_holds_quality_size_test_and_what_was_realised() -> None:
    measured = measure_artifact(
        tiny_task("mlp"),
        built("mlp", "eager"),
        Parallel(1),
        plan=MeasurePlan(("quality", "size", "latency"), seconds=0.2),
        reference=lambda: FakeDeployment(answers()),
    )
    assert {name: stat.unit for name, stat in measured.stats.items()} == {
        "accuracy": "",
        "size": "MB",
        "latency": "ms",
    }
    assert measured.test is not None
    assert measured.speedup is not None
    # On a busy machine the reference may be too unsteady to divide by.
    assert (measured.reference_ms is not None) == measured.protocol["latency"]["paired"]
    assert measured.samples["candidate"]
    assert measured.environment["time"] > 0
    assert measured.environment["autoopt"]
    deployment, latency = measured.protocol["deployment"], measured.protocol["latency"]
    assert deployment["parallel"] == asdict(Parallel(1))
    assert deployment["request"] == [[[8, 1, 8, 8], "float32"]]
    assert list(deployment["files"]) == ["model.pt2"]
    task = tiny_task("mlp")
    assert (deployment["task"]["seed"], deployment["task"]["fingerprint"]) == (
        task.seed,
        task.fingerprint,
    )
    assert deployment["task"]["samples"]["validation"] == len(task.validation)
    assert deployment["task"]["objectives"] == ["quality", "size", "latency"]
    assert platform.release() in measured.environment["system"]["kernel"]
    assert latency["rounds"] == len(measured.samples["candidate"])
    assert latency["conditions"]["seconds"] > 0
    assert Measurement.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured


def evaluator(folder: Path) -> Evaluator:
    bench = Bench(tiny_task("mlp"), load_target("cpu"), Cache(folder))
    return Evaluator(bench, MeasurePlan(("quality", "size")), narrow(), original())


def test_the_stages_of_one_candidate_give_key_cost_and_measurement(tmp_path: Path) -> None:
    made = evaluator(tmp_path)
    network, artifact, deployment = (
        made.run(stage, original()) for stage in ("network", "artifact", "deployment")
    )
    assert isinstance(network, Done)
    assert network.built is not None
    assert network.built.key == "original"
    assert isinstance(artifact, Done)
    assert artifact.built is not None
    assert not artifact.built.cached
    assert isinstance(deployment, Done)
    assert deployment.measurement is not None


def test_a_deployment_whose_artefact_is_missing_is_a_failure(tmp_path: Path) -> None:
    failure = evaluator(tmp_path).run("deployment", original())
    assert isinstance(failure, Failure)
    assert "is not in the cache" in failure.message


def test_the_survey_tells_what_no_runtime_can_do(tmp_path: Path) -> None:
    made = evaluator(tmp_path)
    made.space = narrow(quantization=["float32", "static_int8"], runtime=["eager"])
    outcome = made.run("survey", original())
    assert isinstance(outcome, Done)
    assert outcome.survey
    chosen: list[Any] = [refusal["when"]["quantization"] for refusal in outcome.survey.refusals]
    assert {choice["option"] for choice in chosen} == {"static_int8"}
