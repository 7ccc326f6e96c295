"""Spaces, objectives and storages at the edge of what a search can do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.controller import SearchController
from autoopt.errors import SearchError
from autoopt.measurement import Stat
from autoopt.outcome import Done
from autoopt.settings import SAMPLERS, Budget
from search_spaces import Float
from tests.fakes import (
    FakeExecutor,
    fake_measurement,
    history_of,
    is_executor,
    job,
    log_of,
    small_space,
    usual_answer,
)


def run(folder, answer=usual_answer, **changes):
    log = log_of(folder)
    wanted = job(folder, **changes)
    reason = SearchController(wanted, is_executor(FakeExecutor(answer)), log).run()
    return history_of(log), reason


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_of_one_point_is_the_original_and_the_search_says_that_it_is_done(
    tmp_path, sampler: str
) -> None:
    space = small_space(runtime=["eager"])
    assert space.size == 1
    history, reason = run(tmp_path, space=space, sampler=sampler, budget=Budget(trials=5))
    assert [record.role for record in history.records] == ["original"]
    assert reason == "every point of the space that can run here was measured"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_larger_than_an_integer_holds_is_searched(tmp_path, sampler: str) -> None:
    settings = {f"part_{number}": Float(0.0, 1.0) for number in range(8)}
    space = small_space().extend(pruning={"many": settings})
    history, _ = run(tmp_path, space=space, sampler=sampler, budget=Budget(trials=12))
    assert len({record.recipe.id for record in history.records}) == 12
    assert any(record.recipe["pruning"].option == "many" for record in history.records)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_objective_that_never_changes_disturbs_nothing(tmp_path, sampler: str) -> None:
    def answer(stage, recipe):
        if stage != "deployment":
            return usual_answer(stage, recipe)
        usual = fake_measurement(recipe)
        stats = {**usual.stats, "size": Stat.exact(1.0, "MB")}
        return Done(0.0, measurement=replace(usual, stats=stats))

    history, reason = run(tmp_path, answer, sampler=sampler, budget=Budget(trials=24))
    assert len(history.raw) == 24
    assert reason == "the budget in trials is spent"
    assert history.front.members


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////no/such/folder/study.db", "/no/such/folder/study.db cannot be opened"),
        ("postgresql://me:secret@127.0.0.1:1/none", "me:.*@127.0.0.1:1/none cannot be opened"),
    ],
)
def test_a_storage_that_is_down_at_the_start_is_named_without_its_password(
    tmp_path, url: str, words: str
) -> None:
    with pytest.raises(SearchError, match=words) as raised:
        run(tmp_path, storage=url, budget=Budget(trials=2))
    assert "secret" not in str(raised.value)
    assert not history_of(log_of(tmp_path)).raw
