"""The replay of real candidates: what is drawn from its table, and what is not."""

from __future__ import annotations

import gzip
import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from autoopt.measurement import Measurement, Stat
from autoopt.outcome import Built, Done
from autoopt.recipe import Recipe
from tests.benchmarks.search_methods import METHODS
from tests.benchmarks.search_replay import Replay
from tests.benchmarks.search_run import search
from tests.benchmarks.search_table import SUBJECTS, _row


def made_up(recipe: Recipe) -> dict:
    """A row as the table has it; eager cannot quantize, and small networks are fast and wrong."""
    row = {"recipe": recipe.to_dict(), "seconds": {"network": 0.0 if recipe.is_original else 8.0}}
    bits, runtime = recipe["quantization"].option, recipe["runtime"].option
    if runtime == "eager" and bits == "static_int8":
        return row | {"failure": "refused: not here"}
    row["seconds"] |= {"artifact": 1.0, "deployment": 0.5}
    kept = float(recipe["student"].settings.get("fraction", 1.0))
    trained = recipe.is_original or recipe["recovery"].option == "distill"
    error = 0.01 + (0.02 * (1 - kept) if trained else 0.5)
    latency = kept * {"eager": 1.0, "onnxruntime": 0.6, "openvino": 0.5}[runtime]
    latency *= 0.4 if bits == "static_int8" else 1.0
    return row | {
        "error": error,
        "latency": latency,
        "latency_low": 0.9 * latency,
        "latency_high": latency / 0.9,
        "size": kept * (0.25 if bits == "static_int8" else 1.0),
    }


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    rows = [made_up(recipe) for recipe in SUBJECTS["cnn"].recipes()]
    path = tmp_path / "table.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"cnn": rows}).encode()))
    return Replay("cnn", path)


def test_a_space_is_the_full_product_and_begins_with_the_original() -> None:
    for subject in SUBJECTS.values():
        recipes = list(subject.recipes())
        networks = {recipe.stage_id("network") for recipe in recipes}
        assert recipes[0].is_original
        assert len({recipe.id for recipe in recipes}) == len(recipes) == 24 * len(networks)


def test_what_is_measured_is_noisy_around_what_the_table_has(replay: Replay) -> None:
    recipe = Recipe.of({}).replaced(runtime=("openvino", {}))
    draws = [replay.evaluate(recipe, seed) for seed in range(300)]
    latencies = np.array([draw["log_latency"] for draw in draws])
    assert replay.evaluate(recipe, 3) == draws[3]
    assert {draw["error"] for draw in draws} == {0.01}
    assert latencies.mean() == pytest.approx(log(0.5), abs=0.01)
    assert latencies.std() == pytest.approx(2 * log(1 / 0.9) / 3.92, rel=0.15)


def test_what_is_refused_is_charged_to_nobody(replay: Replay) -> None:
    problem = replay.problem()
    run = search(problem, METHODS["random"], 0, 60.0)
    assert len(run.costs) > 5
    assert run.costs[-1] <= 60.0


def test_the_exact_front_holds_no_dominated_point(replay: Replay) -> None:
    front = np.array([list(point.values()) for point in replay.problem().exact_front()])
    for point in front:
        others = front[(front != point).any(axis=1)]
        assert not ((others <= point).all(axis=1)).any()


def test_ours_comes_to_the_end_of_a_replay(replay: Replay) -> None:
    run = search(replay.problem(), METHODS["staged"], 0, 80.0)
    assert run.believed is not None
    assert len(run.believed) == len(run.measured)


class Unsteady:
    """Measures with an interval that is narrow at the second attempt only."""

    def __init__(self) -> None:
        self.measured = 0

    def run(self, stage: str, recipe: Recipe) -> Done:
        if stage != "deployment":
            return Done(1.0, built=Built("key", False, 2.0))
        self.measured += 1
        half = 0.5 if self.measured == 1 else 0.02
        stats = {"accuracy": Stat.exact(0.9), "size": Stat.exact(1.0, "MB")}
        speedup = Stat(2.0, 2.0 - half, 2.0 + half, 5)
        return Done(0.5, measurement=Measurement(stats, Stat.exact(0.9), speedup))


def test_what_was_measured_in_a_busy_moment_is_measured_again() -> None:
    evaluator = Unsteady()
    row = _row(evaluator, Recipe.of({}))  # type: ignore[arg-type]  # it only has to run stages
    assert evaluator.measured == 2
    assert row["latency_high"] == pytest.approx(1 / 1.98, rel=1e-4)
    assert row["seconds"] == {"network": 2.0, "artifact": 2.0, "deployment": 0.5}
