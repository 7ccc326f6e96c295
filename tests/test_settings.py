from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from autoopt.settings import Budget, Limits, Settings
from search_spaces import Choice, SearchSpace, balanced
from tests.record_builds import settings
from tests.strategies import spaces

EVERYTHING = settings(
    space=balanced(4).extend(pruning={"mine": {"ratio": Choice([0.1, 0.9])}}),
    budget=Budget(seconds=60.0, trials=12),
    constraints={"latency": "<= 8 ms", "size": 2.5},
    max_drop=0.01,
    storage="sqlite:///study.db",
    limits=Limits(network=10.0, memory=2**33),
    notes=("one", "two"),
    task_options={"metric": "accuracy", "request_size": 16, "seed": None},
    own_techniques=("mine",),
)


def again(value: Settings) -> Settings:
    return Settings.from_dict(json.loads(json.dumps(value.to_dict())))


@pytest.mark.parametrize("value", [settings(), EVERYTHING])
def test_settings_come_back_from_json_as_they_were(value: Settings):
    assert again(value) == value


@hypothesis_settings(max_examples=20)
@given(spaces())
def test_every_space_comes_back_with_the_settings(space: SearchSpace):
    assert again(settings(space=space)).space == space


@pytest.mark.parametrize("written", [2, "1", None])
def test_settings_of_another_format_are_refused(written: object):
    data = {**settings().to_dict(), "format": written}
    with pytest.raises(ValueError, match=rf"reads searches of format 1, but got {written!r}: open"):
        Settings.from_dict(data)


def test_settings_without_a_format_are_refused():
    data = settings().to_dict()
    del data["format"]
    with pytest.raises(ValueError, match="format 1, but got None"):
        Settings.from_dict(data)


# ------------------------------------------------------------------ budgets


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        (300, Budget(seconds=300.0)),
        (0.5, Budget(seconds=0.5)),
        (timedelta(minutes=2), Budget(seconds=120.0)),
        (Budget(trials=3), Budget(trials=3)),
        ("90 s", Budget(seconds=90.0)),
        ("90s", Budget(seconds=90.0)),
        ("30 sec", Budget(seconds=30.0)),
        ("30 secs", Budget(seconds=30.0)),
        ("1 second", Budget(seconds=1.0)),
        ("5 min", Budget(seconds=300.0)),
        ("5 mins", Budget(seconds=300.0)),
        ("5 m", Budget(seconds=300.0)),
        (" 5  Minutes ", Budget(seconds=300.0)),
        ("1.5 h", Budget(seconds=5400.0)),
        (".5 hour", Budget(seconds=1800.0)),
        ("2 hours", Budget(seconds=7200.0)),
        ("1 d", Budget(seconds=86400.0)),
        ("2 days", Budget(seconds=172800.0)),
        ("60 trials", Budget(trials=60)),
        ("1 trial", Budget(trials=1)),
    ],
)
def test_budgets_are_read_as_they_are_written(given: object, budget: Budget):
    assert Budget.parse(given) == budget  # type: ignore[arg-type]  # any of its forms


@pytest.mark.parametrize(
    "nonsense",
    ["", "soon", "5 parsecs", "5 ms", "5 hs", "min", "1.2.3 min", ". s", "1.5 trials", "-5 min",
     "trials", "5 min 3 s", True, None, [300]],
)  # fmt: skip
def test_what_is_no_budget_is_refused_with_the_forms_there_are(nonsense: object):
    with pytest.raises(ValueError, match=r"seconds \(300\), a duration \('5 min', '1 h'\)") as told:
        Budget.parse(nonsense)  # type: ignore[arg-type]  # that is the test
    assert repr(nonsense) in str(told.value)


@pytest.mark.parametrize(
    ("nothing", "name"),
    [(0, "seconds"), (-1, "seconds"), (math.nan, "seconds"), (math.inf, "seconds"),
     (timedelta(0), "seconds"),
     ("0 s", "seconds"), ("0 trials", "trials")],
)  # fmt: skip
def test_a_budget_of_nothing_is_refused(nothing: object, name: str):
    with pytest.raises(
        ValueError, match=f"`{name} > 0` must hold for a budget, and be finite, but got"
    ):
        Budget.parse(nothing)  # type: ignore[arg-type]  # any of its forms


def test_a_budget_without_any_bound_is_refused():
    with pytest.raises(ValueError, match="must have seconds or trials, but got neither"):
        Budget()


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(seconds=300.0), "300 s"),
        (Budget(trials=60), "60 trials"),
        (Budget(seconds=300.0, trials=60), "300 s or 60 trials"),
    ],
)
def test_a_budget_shows_what_it_allows(budget: Budget, text: str):
    assert str(budget) == text


def test_each_stage_has_its_limit_and_what_only_measures_has_that_of_the_deployment():
    limits = Limits(network=1.0, artifact=2.0, deployment=3.0)
    stages = ("network", "artifact", "deployment", "survey")
    assert [limits.seconds(stage) for stage in stages] == [1.0, 2.0, 3.0, 3.0]
