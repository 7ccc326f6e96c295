"""Which candidate is next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autoopt.controller.baselines import original
from autoopt.controller.policy import COMPLETIONS, Policy
from autoopt.controller.study import Study, default_sampler
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.settings import Budget
from search_spaces import SearchSpace, quick
from tests.fakes import AXES, record, settings

NETWORK = {
    "student": ("width", {"fraction": 0.5}),
    "recovery": (
        "distill",
        {"epochs": 6, "temperature": 4.0, "learning_rate": 3e-3, "alpha": 0.9},
    ),
}


def policy(
    folder: Path,
    *,
    space: SearchSpace | None = None,
    refused: Callable[[Recipe], bool] = lambda recipe: False,
    paid: Sequence[Recipe] = (),
    trains: bool = True,
) -> Policy:
    space = space or quick(2)
    storage = f"sqlite:///{folder / 'study.sqlite'}"
    study = Study(space, AXES, sampler=default_sampler(0), storage=storage, name="mine")
    return Policy(space, study, refused, 2, 16, paid, trains, Random(0))


def known(*recipes: Recipe, trained: float = 6.0, **changes: Any) -> History:
    """A history in which recipes were measured, the original first."""
    history = History(settings=settings(**changes))
    for number, recipe in enumerate([original(), *recipes]):
        history.started[number] = recipe
        history.raw[number] = record(number, recipe, "search" if number else "original")
        if not recipe.is_original:
            history.stages.append(
                {
                    "number": number,
                    "stage": "network",
                    "key": recipe.stage_id("network"),
                    "trained": recipe["recovery"].option in ("distill", "finetune"),
                    "cost": trained,
                    "seconds": trained,
                    "cached": False,
                }
            )
    return history


def tuned(**values: int) -> Recipe:
    wanted = {"threads": 2, "replicas": 1, "batch": 0, **values}
    return original().replaced(parallel=("tuned", wanted))


def divided(**values: int) -> Recipe:
    return original().replaced(parallel=("pipeline", values))


@pytest.mark.parametrize(
    ("recipe", "form"),
    [
        (tuned(), original()),
        (tuned(batch=16), original()),
        (tuned(batch=32), original()),
        (tuned(replicas=2), tuned(replicas=2)),
        (tuned(threads=1, batch=16, replicas=2), tuned(threads=1)),
        (tuned(batch=4), tuned(batch=4)),
        (tuned(batch=4, replicas=2), tuned(batch=4, replicas=2)),
        (original(), original()),
        (divided(threads=2, stages=4), divided(threads=2, stages=2)),
    ],
    ids=str,
)
def test_parallel_configurations_that_do_the_same_have_one_form(tmp_path, recipe, form) -> None:
    assert policy(tmp_path).same(recipe) == form


def test_a_network_gets_its_completions_before_another_is_made(tmp_path) -> None:
    chosen = policy(tmp_path)
    network = Recipe.of(NETWORK)
    recipes = [network]
    for _ in range(COMPLETIONS - 1):
        following = chosen.next(known(*recipes, budget=Budget(trials=100)), 1e9)
        assert following is not None
        assert following.stage_id("network") == network.stage_id("network")
        assert following not in recipes
        recipes.append(following)
    following = chosen.next(known(*recipes, budget=Budget(trials=100)), 1e9)
    assert following is not None
    assert following.stage_id("network") != network.stage_id("network")


def test_networks_that_are_paid_for_come_before_new_ones(tmp_path) -> None:
    paid = [
        Recipe.of({**NETWORK, "student": ("width", {"fraction": fraction})})
        for fraction in (0.25, 0.375)
    ]
    following = policy(tmp_path, paid=paid).next(known(budget=Budget(trials=100)), 1e9)
    assert following is not None
    assert following.stage_id("network") == paid[0].stage_id("network")


def test_trials_limit_the_networks_that_are_trained(tmp_path) -> None:
    trained = [
        Recipe.of({**NETWORK, "student": ("width", {"fraction": fraction})})
        for fraction in (0.25, 0.5)
    ]
    history = known(*trained, budget=Budget(trials=12))
    chosen = policy(tmp_path)
    for number in range(3, 10):
        following = chosen.next(history, 1e9)
        assert following is not None
        new = following.stage_id("network") not in {r.stage_id("network") for r in trained}
        assert not (new and following["recovery"].option in ("distill", "finetune"))
        history = known(*list(history.started.values())[1:], following, budget=Budget(trials=12))
        assert len(history.started) == number + 1


def test_training_keeps_to_its_share_of_a_budget_in_seconds(tmp_path) -> None:
    history = known(Recipe.of(NETWORK), trained=44.0, budget=Budget(seconds=100.0))
    chosen = policy(tmp_path)
    for _ in range(6):
        following = chosen.next(history, 1e9)
        assert following is not None
        if following.stage_id("network") != Recipe.of(NETWORK).stage_id("network"):
            assert following["recovery"].option not in ("distill", "finetune")
        stages = history.stages
        history = known(*list(history.started.values())[1:], following, trained=44.0,
                        budget=Budget(seconds=100.0))  # fmt: skip
        assert len(history.stages) >= len(stages)


def test_what_is_refused_is_never_chosen(tmp_path) -> None:
    chosen = policy(tmp_path, refused=lambda recipe: recipe["runtime"].option != "eager")
    history = known(budget=Budget(trials=100))
    for _ in range(8):
        following = chosen.next(history, 1e9)
        assert following is not None
        assert following["runtime"].option == "eager"
        history = known(*list(history.started.values())[1:], following, budget=Budget(trials=100))


def test_nothing_is_chosen_that_does_not_fit_into_the_time_left(tmp_path) -> None:
    assert policy(tmp_path).next(known(budget=Budget(seconds=10.0)), 0.5) is None


def test_a_search_that_may_not_train_makes_no_new_network(tmp_path) -> None:
    chosen = policy(tmp_path, trains=False)
    history = known(budget=Budget(trials=100))
    for _ in range(6):
        following = chosen.next(history, 1e9)
        assert following is not None
        assert following.is_original
        history = known(*list(history.started.values())[1:], following, budget=Budget(trials=100))


def test_the_first_completion_of_a_new_network_is_the_best_so_far(tmp_path) -> None:
    best = original().replaced(
        quantization=("static_int8", {"granularity": "per_channel", "keep": "none"}),
        runtime=("openvino", {}),
    )
    paid = [Recipe.of(NETWORK)]
    following = policy(tmp_path, paid=paid).next(known(best, budget=Budget(trials=100)), 1e9)
    assert following is not None
    assert following["runtime"].option == "openvino"
    assert following["quantization"].option == "static_int8"
