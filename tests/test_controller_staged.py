"""The decision of each round, and the sampler that brings it into a study of Optuna's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import optuna
import pytest

from autoopt.controller.parameters import Parameters
from autoopt.controller.staged import (
    Codes,
    Goal,
    Kitchen,
    Observation,
    StagedSampler,
    StagedSearch,
)
from autoopt.controller.staged.features import recipe_features
from autoopt.controller.staged.staged import CURIOUS
from autoopt.recipe import Recipe
from search_spaces import Choice, Float, Int, SearchSpace, quick
from tests.fakes import fake_measurement, small_space

AXES = ("accuracy", "latency", "size")


def kitchen(space: SearchSpace, **changes) -> Kitchen:
    usual = Kitchen(
        Codes(space),
        recipe_features,
        lambda recipe: 0.0 if recipe.is_original else 10.0,
        lambda recipe: 0.5,
        lambda recipe: 0.5,
    )
    return replace(usual, **changes)


def staged(space: SearchSpace, seed: int = 0, **changes) -> StagedSearch:
    return StagedSearch(kitchen(space, **changes), Goal((math.nan,) * 3, drop=0.05), seed)


def values(recipe: Recipe) -> tuple[float, ...]:
    stats = fake_measurement(recipe).stats
    return (1 - stats["accuracy"].value, stats["latency"].value, stats["size"].value)


def followed(search: StagedSearch, count: int, measure=values) -> Iterator[Recipe]:
    """The original, then what the search asks for, each told before the next."""
    following: Recipe | None = Recipe.of({})
    for _ in range(count):
        if following is None:
            return
        yield following
        search.tell(Observation(following, measure(following)))
        following = search.ask()


def test_no_point_is_asked_for_twice_and_all_lie_in_the_space() -> None:
    space = quick(2)
    recipes = list(followed(staged(space), 40))
    assert len({recipe.id for recipe in recipes}) == 40
    codes = Codes(space)
    assert all(codes.encode(recipe) is not None for recipe in recipes)


def test_the_same_seed_asks_for_the_same_and_another_for_others() -> None:
    first, again, other = (list(followed(staged(quick(2), seed), 20)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_networks_that_are_there_are_completed_before_dear_new_ones_are_made() -> None:
    def networks(seconds: float) -> int:
        search = staged(quick(2), network_seconds=lambda recipe: seconds)
        return len({recipe.stage_id("network") for recipe in followed(search, 40)})

    assert networks(300.0) < networks(0.01)


def test_a_small_space_is_asked_for_to_its_last_point_and_no_further() -> None:
    space = small_space(
        student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
        quantization=["float32", "bfloat16"],
    )
    recipes = list(followed(staged(space), 100))
    assert {recipe.id for recipe in recipes} == {Recipe.of(point).id for point in space.points()}


def test_a_space_of_one_point_is_done_when_it_was_measured() -> None:
    search = staged(small_space(runtime=["eager"]))
    assert list(followed(search, 10)) == [Recipe.of({})]


@pytest.mark.parametrize(
    "dimension", [Int(1, 10**40), Float(0.0, 1.0), Float(1e-9, 1e9, log=True)], ids=repr
)
def test_a_space_larger_than_an_integer_is_searched(dimension) -> None:
    space = small_space().extend(pruning={"own": {"a": dimension, "b": dimension}})
    assert len(list(followed(staged(space), 20))) == 20


def test_an_objective_that_is_constant_stops_nothing() -> None:
    def flat(recipe: Recipe) -> tuple[float, ...]:
        return (0.1, *values(recipe)[1:])

    recipes = list(followed(staged(quick(2)), 40, flat))
    assert len(recipes) == 40
    assert min(values(recipe)[1] for recipe in recipes) < 0.4


def test_what_is_refused_is_never_asked_for() -> None:
    search = staged(quick(2), refused=lambda recipe: recipe["runtime"].option == "openvino")
    assert all(r["runtime"].option != "openvino" for r in followed(search, 30))


def test_nothing_is_asked_for_that_does_not_fit_into_what_is_left() -> None:
    search = staged(quick(2))
    for recipe in followed(search, 25):
        assert recipe is not None
    for _ in range(5):
        following = search.ask(left=5.0)
        assert following is not None
        search.tell(Observation(following, values(following)))
    made = set(search._present)
    assert search.ask(left=0.4) is None
    following = search.ask(left=5.0)
    assert following is not None
    row = search.kitchen.codes.encode(following)
    assert row is not None
    assert row[search.kitchen.codes.network].tobytes() in made


def test_a_network_that_failed_is_never_asked_for_again() -> None:
    space = quick(2)
    search = staged(space)
    failed = set()
    for recipe in followed(search, 12):
        if not recipe.is_original:
            search.tell(Observation(recipe, None, network=False))
            failed.add(recipe.stage_id("network"))
    for _ in range(20):
        following = search.ask()
        assert following is not None
        assert following.stage_id("network") not in failed
        search.tell(Observation(following, values(following)))


def test_a_network_that_an_earlier_search_made_costs_nothing() -> None:
    paid = Recipe.of({"student": ("width", {"fraction": 0.25}), "recovery": ("recalibrate", {})})
    search = staged(quick(2), network_seconds=lambda recipe: 1e6)
    search.offer(paid)
    networks = {recipe.stage_id("network") for recipe in followed(search, 30)}
    assert paid.stage_id("network") in networks


def test_some_decisions_serve_what_is_built_in_ways_that_no_model_chose() -> None:
    space = quick(2).extend(
        parallel={"tuned": {"threads": Int(1, 2), "replicas": Int(1, 2), "batch": Int(0, 16)}}
    )
    search = staged(space)
    built, otherwise = set[str](), []
    for count, recipe in enumerate(followed(search, 40)):
        if recipe.stage_id("artifact") in built:
            otherwise.append(count)
        built.add(recipe.stage_id("artifact"))
    assert len(otherwise) >= 40 // CURIOUS - 2


def test_what_is_built_is_charged_for_its_measurement_alone() -> None:
    search = staged(quick(2), artifact_seconds=lambda recipe: 100.0)
    for recipe in followed(search, 12):
        assert recipe is not None
    rows = np.array(search._rows)
    known = {row[search.kitchen.codes.built].tobytes() for row in rows}
    following = search.ask(left=50.0)
    assert following is not None
    row = search.kitchen.codes.encode(following)
    assert row is not None
    assert row[search.kitchen.codes.built].tobytes() in known


def test_a_search_that_was_told_nothing_begins_anywhere() -> None:
    assert staged(quick(2)).ask() is not None


def study_of(search: StagedSearch) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = StagedSampler(search, logarithmic=[False, True, True])
    return optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)


def objectives(recipe: Recipe) -> list[float]:
    stats = fake_measurement(recipe).stats
    return [stats[name].value for name in AXES]


def test_as_a_sampler_it_serves_an_ordinary_study() -> None:
    space = quick(2)
    parameters = Parameters(space)
    study = study_of(staged(space))
    study.enqueue_trial(parameters.of(Recipe.of({})))
    study.optimize(lambda trial: tuple(objectives(parameters.suggest(trial))), n_trials=30)
    assert len({str(sorted(trial.params.items())) for trial in study.trials}) == 30
    assert min(trial.values[1] for trial in study.trials) < 0.4
    assert study.best_trials


def test_results_may_arrive_in_any_order() -> None:
    space = quick(2)
    parameters = Parameters(space)
    study = study_of(staged(space))
    study.enqueue_trial(parameters.of(Recipe.of({})))
    trial = study.ask()
    study.tell(trial, objectives(parameters.suggest(trial)))
    for _ in range(4):
        asked = [study.ask() for _ in range(3)]
        recipes = [parameters.suggest(trial) for trial in asked]
        for index in (2, 0, 1):
            study.tell(asked[index], objectives(recipes[index]))
    assert len([t for t in study.trials if t.values]) == 13


def test_a_trial_that_lies_outside_the_space_only_says_what_the_original_is() -> None:
    space = small_space(runtime=["openvino"]).extend(pruning={"own": {"a": Choice([1, 2, 3])}})
    search = staged(space)
    search.tell(Observation(None, (0.1, 8.0, 1.0)))
    following = search.ask()
    assert following is not None
    assert following["runtime"].option == "openvino"


def test_caps_are_the_corner_and_other_axes_end_beyond_the_original() -> None:
    goal = Goal((math.nan, 5.0, math.nan), drop=0.01)
    corner = goal.reference(np.array([0.1, 8.0, 1.0]), np.array([0.2, 0.2, 0.2]))
    assert corner == pytest.approx([0.11, 5.0, 1.2])


def test_only_what_stands_for_others_of_its_shape_is_among_the_first() -> None:
    def trained(recipe: Recipe) -> bool:
        return recipe.is_original or recipe["recovery"].option == "distill"

    first = list(followed(staged(quick(2), opening=trained), 1 + 2 * 2))
    assert all(map(trained, first))
    assert not all(recipe.is_original for recipe in first)


def test_what_is_believed_is_less_noisy_than_what_was_measured() -> None:
    random = np.random.default_rng(0)
    search = staged(quick(2))
    true, measured = [], []
    for recipe in followed(search, 1):
        true.append(values(recipe))
    points = [Recipe.of(point) for point in quick(2).points()]
    for place in random.permutation(len(points))[:60].tolist():
        true.append(values(points[place]))
        measured.append(np.array(true[-1]) * np.array([1, np.exp(0.2 * random.normal()), 1]))
        search.tell(Observation(points[place], tuple(measured[-1])))
    believed, exact = search.believed()[1:, 1], np.array(true)[1:, 1]
    noise = np.log(np.array(measured)[:, 1] / exact)
    assert np.std(np.log(believed / exact)) < np.std(noise)
