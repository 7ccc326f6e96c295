"""The study in a real PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

import autoopt
from autoopt.controller import SearchController
from autoopt.errors import SearchError
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.settings import Budget
from tests.fakes import FakeExecutor, history_of, is_executor, job, log_of, usual_answer
from tests.postgres import Postgres, postgres
from tests.small_searches import digits, start, trained_mlp, until

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def stored(server: Postgres, study: str = "study") -> list[int]:
    found = optuna.load_study(study_name=study, storage=server.url)
    return [trial.user_attrs["number"] for trial in found.get_trials(deepcopy=False)]


def test_a_search_stores_its_study_there_and_a_resume_adds_what_follows(
    server: Postgres, tmp_path: Path
) -> None:
    search = start(tmp_path / "search", storage=server.url, budget="3 trials")
    name = search._known().study
    assert stored(server, name) == [0, 1, 2]
    server.stop()
    with pytest.raises(SearchError, match=r"storage postgresql.* cannot be opened .*start it"):
        autoopt.resume(tmp_path / "search", trained_mlp(), digits(), budget="1 trial", block=True)
    server.start()
    more = autoopt.resume(
        tmp_path / "search", trained_mlp(), digits(), budget="1 trial", block=True
    )
    assert more.status.trials == 4
    assert stored(server, name) == [0, 1, 2, 3]


def test_a_search_waits_for_a_storage_that_goes_down_and_nothing_is_lost_or_doubled(
    server: Postgres, tmp_path: Path
) -> None:
    stopped = threading.Event()

    def answer(stage: Stage, recipe: Recipe) -> Outcome | None:
        if stage == "deployment" and len(history_of(log).raw) == 3 and not stopped.is_set():
            server.stop()
            stopped.set()
        return usual_answer(stage, recipe)

    log = log_of(tmp_path)
    wanted = job(tmp_path, budget=Budget(trials=8), storage=server.url)
    controller = SearchController(wanted, is_executor(FakeExecutor(answer)), log)
    thread = threading.Thread(target=controller.run, daemon=True)
    thread.start()
    until(lambda: any("paused_since" in run for run in history_of(log).runs), "the pause")
    assert any("the Optuna storage is away" in note for note in history_of(log).notes)
    measured = len(history_of(log).raw)
    assert measured < 8
    server.start()
    thread.join(120)
    history = history_of(log)
    assert history.runs[-1]["finished"]["reason"] == "the budget in trials is spent"
    assert history.runs[-1]["waited"] > 0
    assert sorted(history.raw) == list(range(8))
    assert Counter(stored(server)) == Counter(range(8))


def test_a_stop_is_obeyed_while_the_storage_is_away_and_a_resume_mends_the_copy(
    server: Postgres, tmp_path: Path
) -> None:
    def answer(stage: Stage, recipe: Recipe) -> Outcome | None:
        if stage == "deployment" and len(history_of(log).raw) == 2:
            server.stop()
        return usual_answer(stage, recipe)

    log = log_of(tmp_path)
    wanted = job(tmp_path, budget=Budget(trials=6), storage=server.url)
    controller = SearchController(wanted, is_executor(FakeExecutor(answer)), log)
    thread = threading.Thread(target=controller.run, daemon=True)
    thread.start()
    until(lambda: any("paused_since" in run for run in history_of(log).runs), "the pause")
    log.append("command", {"command": "stop"})
    thread.join(60)
    assert history_of(log).runs[-1]["finished"]["reason"] == "stopped on request"
    server.start()
    again = replace(wanted, launched=time.time())
    SearchController(again, is_executor(FakeExecutor()), log).run()
    assert sorted(history_of(log).raw) == list(range(6))
    assert Counter(stored(server)) == Counter(range(6))
