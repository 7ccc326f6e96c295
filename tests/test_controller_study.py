"""Optuna's studies: what is proposed, told, stored and rebuilt."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoopt.constraint import Constraint
from autoopt.controller.study import Study, default_sampler
from autoopt.recipe import Recipe
from autoopt.record import Failure
from search_spaces import Choice, Float, Int, SearchSpace, quick
from tests.fakes import AXES, record, small_space

BOUNDS = (Constraint("latency", "<=", 3.0), Constraint("accuracy", ">=", 0.9))


def study(folder: Path, space: SearchSpace | None = None) -> Study:
    return Study(
        space or quick(2), AXES, sampler=default_sampler(0), storage=url(folder), name="mine"
    )


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.sqlite'}"


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    trials: list[optuna.trial.FrozenTrial] = optuna.load_study(
        study_name="mine", storage=url(folder)
    ).get_trials()
    return trials


def test_what_is_proposed_lies_in_the_space(tmp_path: Path) -> None:
    space = quick(2)
    made = study(tmp_path, space)
    for _ in range(12):
        recipe = made.propose()
        slots = {**recipe.point(), "recovery": ("none", {})}
        assert space.contains(slots)


def test_slots_that_are_given_are_kept(tmp_path: Path) -> None:
    made = study(tmp_path)
    fixed = Recipe.of({"student": ("width", {"fraction": 0.375}), "recovery": ("recalibrate", {})})
    for _ in range(5):
        recipe = made.propose(fixed, ("student", "pruning", "recovery"))
        assert recipe.stage_id("network") == fixed.stage_id("network")


def test_every_kind_of_range_can_be_proposed_and_told(tmp_path: Path) -> None:
    space = small_space().extend(
        pruning={
            "own": {
                "count": Int(1, 9, step=2),
                "share": Float(0.1, 0.5, step=0.1),
                "rate": Float(1e-4, 1e-1, log=True),
                "name": Choice(["a", "b"]),
            }
        }
    )
    made = study(tmp_path, space.narrow(pruning=["own"]))
    recipes = [made.propose() for _ in range(8)]
    for number, recipe in enumerate(recipes):
        assert space.contains(recipe.point())
        made.tell(record(number, recipe), ())
    assert len(stored(tmp_path)) == 8
    assert "pruning.own.rate" in stored(tmp_path)[0].params


def test_a_measured_candidate_is_complete_with_values_and_constraints(tmp_path: Path) -> None:
    recipe = Recipe.of({"runtime": ("openvino", {})})
    study(tmp_path).tell(record(3, recipe), BOUNDS)
    (trial,) = stored(tmp_path)
    assert trial.state == TrialState.COMPLETE
    assert trial.values == [0.95, 1.0, 1.0]
    assert trial.user_attrs["number"] == 3
    assert trial.user_attrs["summary"] == recipe.summary
    assert trial.constraints == {
        str(BOUNDS[0]): pytest.approx(-2.0),
        str(BOUNDS[1]): pytest.approx(-0.05),
    }


def test_a_failure_is_a_failed_trial_with_its_reason(tmp_path: Path) -> None:
    failure = Failure("network", "crashed", "the worker died")
    study(tmp_path).tell(record(1, Recipe.of({}), outcome=failure), BOUNDS)
    (trial,) = stored(tmp_path)
    assert trial.state == TrialState.FAIL
    assert "the worker died" in trial.user_attrs["failure"]


def test_a_rebuild_adds_what_is_missing_and_doubles_nothing(tmp_path: Path) -> None:
    records = [
        record(n, Recipe.of({"runtime": (name, {})}))
        for n, name in enumerate(["eager", "onnxruntime", "openvino"])
    ]
    made = study(tmp_path)
    for item in records[:2]:
        made.tell(item, ())
    study(tmp_path).rebuild(records, ())
    assert [trial.user_attrs["number"] for trial in stored(tmp_path)] == [0, 1, 2]


def test_a_candidate_outside_a_narrowed_space_is_told_without_what_the_space_lacks(
    tmp_path: Path,
) -> None:
    made = study(tmp_path, small_space(runtime=["openvino"]))
    made.tell(record(0, Recipe.of({})), ())
    (trial,) = stored(tmp_path)
    assert "runtime" not in trial.params
    assert trial.params["quantization"] == "float32"


def test_dashboards_find_the_objectives_with_their_units(tmp_path: Path) -> None:
    study(tmp_path)
    found = optuna.load_study(study_name="mine", storage=url(tmp_path))
    assert found.metric_names == ["accuracy", "latency_ms", "size_mb"]
    assert [direction.name for direction in found.directions] == [
        "MAXIMIZE",
        "MINIMIZE",
        "MINIMIZE",
    ]
