"""What stages cost, read from the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoopt.controller.costs import CAUTION, UNKNOWN_SECONDS, Costs, trained_epochs
from autoopt.history import History
from autoopt.recipe import Recipe

DISTILLED = Recipe.of(
    {"student": ("width", {"fraction": 0.5}), "recovery": ("distill", {"epochs": 6})}
)


def history(*stages: dict[str, Any], recipes: dict[int, Recipe] | None = None) -> History:
    return History(stages=list(stages), started=recipes or {1: DISTILLED})


def network(cost: float, number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {"number": number, "stage": "network", "trained": True, "cached": False, "cost": cost}
    return {**plain, "seconds": cost, **changes}


def test_epochs_are_those_of_the_recovery() -> None:
    assert trained_epochs(DISTILLED) == 6
    assert trained_epochs(Recipe.of({})) == 0
    cut = DISTILLED.replaced(recovery=("recalibrate", {}))
    assert trained_epochs(cut) == 0
    assert trained_epochs(DISTILLED.replaced(recovery=("mine", {}))) == 1


def test_training_is_predicted_from_the_epochs_so_far_and_the_size_of_the_network() -> None:
    costs = Costs.learn(history(network(12.0), network(6.0), network(9.0)))
    longer = DISTILLED.replaced(recovery=("distill", {"epochs": 12}))
    smaller = DISTILLED.replaced(student=("width", {"fraction": 0.25}))
    both = DISTILLED.replaced(pruning=("magnitude", {"ratio": 0.75}))
    assert costs.network(DISTILLED) == pytest.approx(CAUTION * 9.0)
    assert costs.network(longer) == pytest.approx(CAUTION * 18.0)
    assert costs.network(smaller) == pytest.approx(CAUTION * 4.5)
    assert costs.network(both) == pytest.approx(CAUTION * 2.25)


def test_a_completion_of_an_artefact_that_is_there_costs_its_measurement_only() -> None:
    stages = [
        {"number": 1, "stage": "artifact", "cached": False, "seconds": 3.0},
        {"number": 1, "stage": "deployment", "cached": False, "seconds": 0.5},
    ]
    learnt = Costs.learn(history(*stages))
    built = replace(learnt, built=frozenset({DISTILLED.stage_id("artifact")}))
    elsewhere = DISTILLED.replaced(parallel=("tuned", {"threads": 1, "replicas": 1, "batch": 0}))
    assert learnt.completion(elsewhere) == 3.5
    assert built.completion(elsewhere) == 0.5
    assert built.cheapest() == 0.5


def test_a_network_from_the_cache_counts_what_it_once_took() -> None:
    costs = Costs.learn(history(network(12.0, cached=True, seconds=0.01)))
    assert costs.network(DISTILLED) == pytest.approx(CAUTION * 12.0)


def test_before_anything_is_known_a_guess_is_made() -> None:
    costs = Costs.learn(History())
    assert costs.network(DISTILLED) == pytest.approx(CAUTION * 3 * UNKNOWN_SECONDS)
    assert costs.completion(DISTILLED) == 2 * UNKNOWN_SECONDS


def test_building_and_measuring_are_medians_of_the_same_runtime() -> None:
    stages = [
        {"number": 1, "stage": "artifact", "cached": False, "seconds": value}
        for value in (1.0, 2.0, 30.0)
    ]
    stages += [{"number": 1, "stage": "deployment", "cached": False, "seconds": 0.5}]
    costs = Costs.learn(history(*stages))
    assert costs.completion(DISTILLED) == 2.5
    other = DISTILLED.replaced(quantization=("bfloat16", {}))
    assert costs.completion(other) == 2.5
    elsewhere = DISTILLED.replaced(runtime=("openvino", {}))
    assert costs.completion(elsewhere) == 2 * UNKNOWN_SECONDS


def test_artefacts_that_were_found_teach_nothing_about_building() -> None:
    stage = {"number": 1, "stage": "artifact", "cached": True, "seconds": 0.001}
    assert not Costs.learn(history(stage)).artifact


def test_stages_of_a_candidate_that_was_cut_off_are_passed_over() -> None:
    costs = Costs.learn(history(network(600.0, number=7)))
    assert costs.epoch == ()
