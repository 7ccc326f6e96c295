"""Searches that are killed, stopped, finished, and gone on with."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import autoopt
from autoopt.errors import FolderError
from search_spaces.cores import usable_cores
from tests.small_searches import (
    alive,
    digits,
    family,
    fit,
    history,
    images,
    narrow,
    start,
    trained_cnn,
    trained_mlp,
    until,
)

TRAINING = {
    "student": {"none": {}, "width": {"fraction": [0.5]}},
    "recovery": {"none": {}, "distill": {"epochs": [6]}},
    "runtime": ["eager"],
    "quantization": ["float32", "weight_only"],
}


def kill(pid: int, *, whole_group: bool) -> None:
    processes = family(pid)
    if whole_group:
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(alive, processes)), "the end of the controller and its worker")


def assert_sound(folder: Path) -> None:
    """Nothing lost, nothing doubled."""
    found = history(folder)
    recipes = [record.recipe.id for record in found.records]
    assert len(set(recipes)) == len(recipes)
    assert set(found.started) == set(found.raw)
    assert found.runs[-1]["finished"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True], ids=["controller", "group"])
def test_a_search_killed_in_its_middle_goes_on_where_it_stopped(tmp_path, whole_group) -> None:
    folder = tmp_path / "search"
    search = start(folder, space=narrow(**TRAINING), budget="5 trials", block=False)

    def trained():
        return [s for s in history(folder).stages if s.get("trained")]

    until(trained, "training")
    before = history(folder)
    kill(before.runs[-1]["pid"], whole_group=whole_group)
    assert search.status.state == "failed"
    with pytest.raises(autoopt.AutooptError, match="ended without a word"):
        search.wait(5)

    search = autoopt.resume(folder, trained_mlp(), digits(), block=True)
    assert_sound(folder)
    after = history(folder)
    assert len(after.raw) == 5
    for number, record in before.raw.items():
        assert after.raw[number] == record
    networks = [s for s in after.stages if s["stage"] == "network" and s.get("trained")]
    assert [stage["cached"] for stage in networks].count(False) == len(
        {stage["key"] for stage in networks}
    )
    assert search.status.state == "finished"


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="two workers need two cores")
@pytest.mark.parametrize("whole_group", [False, True], ids=["controller", "group"])
def test_two_workers_killed_in_training_lose_nothing_and_double_nothing(
    tmp_path, whole_group
) -> None:
    folder, marks = tmp_path / "search", tmp_path / "marks"
    marks.mkdir()

    def slowly(network, task):
        (marks / f"{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(4)
        return network

    space = narrow(
        student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
        runtime=["eager"],
        quantization=["float32", "weight_only"],
    )
    search = start(folder, space=space, train=slowly, budget="10 trials", workers=2, block=False)
    until(lambda: len(list(marks.iterdir())) >= 2, "two trainings")
    before = history(folder)
    kill(before.runs[-1]["pid"], whole_group=whole_group)
    assert search.status.state == "failed"
    cut_off = len(before.pending)
    assert cut_off >= 2

    autoopt.resume(folder, trained_mlp(), digits(), train=slowly, block=True)
    assert_sound(folder)
    after = history(folder)
    assert len(after.raw) == 10
    assert not [record.failure for record in after.records if record.failure]
    assert {n: after.raw[n] for n in before.raw} == before.raw
    made = [s["key"] for s in after.stages if s.get("trained") and not s["cached"]]
    assert len(set(made)) == len(made) >= 2
    # What was cut off was trained once more, and nothing else.
    assert len(list(marks.iterdir())) <= len(made) + 2


@pytest.mark.slow
def test_a_finished_search_goes_on_with_more_budget_and_ends_at_once_without(tmp_path) -> None:
    folder = tmp_path / "search"
    others = family(os.getpid())  # such as a browser that other tests share
    start(folder, budget="2 trials")
    search = autoopt.resume(folder, trained_mlp(), digits(), block=True)
    assert search.status.trials == 2
    search = autoopt.resume(folder, trained_mlp(), digits(), budget="1 trial", block=True)
    assert (search.status.trials, search.status.trials_total) == (3, 3)
    assert_sound(folder)
    assert not [p for p in family(os.getpid()) if p not in others and alive(p)]


@pytest.mark.slow
def test_a_folder_belongs_to_one_search_and_its_own_model_and_data(tmp_path) -> None:
    folder = tmp_path / "search"
    start(folder, budget="1 trial")
    with pytest.raises(FolderError, match=r"holds a search already.*autoopt\.resume"):
        start(folder)
    other = fit(copy.deepcopy(trained_mlp()), *digits(), epochs=1)
    with pytest.raises(FolderError, match="its own model and data"):
        autoopt.resume(folder, other, digits())
    x, y = digits()
    with pytest.raises(FolderError, match="its own model and data"):
        autoopt.resume(folder, trained_mlp(), (x[:-5], y[:-5]))


@pytest.mark.slow
def test_two_searches_cannot_take_one_folder_at_the_same_time(tmp_path) -> None:
    first = start(tmp_path / "search", budget="1 trial", block=False)
    # The first has not even opened its log yet.
    with pytest.raises(FolderError, match="holds a search already"):
        start(tmp_path / "search", budget="1 trial")
    first.wait(120)


@pytest.mark.slow
def test_a_running_search_is_attached_to_with_its_own_model_alone(tmp_path) -> None:
    folder = tmp_path / "search"
    running = start(
        folder, budget="200 trials", space=narrow(parallel=["default", "tuned"]), block=False
    )
    until(lambda: running.strategies, "the first candidate")
    other = fit(copy.deepcopy(trained_mlp()), *digits(), epochs=1)
    with pytest.raises(FolderError, match="its own model and data"):
        autoopt.resume(folder, other, digits())
    again = autoopt.resume(folder, trained_mlp(), digits(), budget="5 trials", block=False)
    until(lambda: again.status.trials_total == 205, "the extension")
    beside = start(tmp_path / "beside", budget="1 trial", block=False)
    assert any(f"still runs, in {folder}" in note for note in beside.settings.notes)
    beside.stop()
    beside.wait(120)
    running.stop()
    running.wait(120)
    with pytest.raises(ValueError, match="only a running search"):
        running.extend(trials=3)


@pytest.mark.slow
def test_a_search_can_be_asked_from_another_working_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    search = start(Path("search"), cache=tmp_path / "cache", budget="1 trial", block=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert search.front.empty
    search.stop()
    search.wait(120)
    shutil.rmtree(search.folder)
    with pytest.raises(FolderError, match=r"there is no search in .*gone"):
        _ = search.front
    assert not search.folder.exists()


def test_a_folder_without_a_search_is_refused(tmp_path) -> None:
    with pytest.raises(FolderError, match="there is no search"):
        autoopt.resume(tmp_path, trained_mlp(), digits())


@pytest.mark.slow
def test_a_second_run_over_the_same_cache_trains_nothing_and_measures_again(tmp_path) -> None:
    space = narrow(
        student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
        recovery={"none": {}, "distill": {"epochs": [6], "temperature": [4.0]}},
        runtime=["eager"],
        parallel=["default", "tuned"],
    )

    def ran(name: str):
        return autoopt.search(
            trained_cnn(),
            images(),
            space=space,
            budget="13 trials",
            objectives=["size"],
            threads=1,
            folder=tmp_path / name,
            cache=tmp_path / "cache",
            block=True,
        )

    first, second = ran("first"), ran("second")
    assert first.status.networks_trained >= 1
    assert second.status.networks_trained == 0
    assert second.status.trials == 13
    measured = [s for s in history(second.folder).stages if s["stage"] == "deployment"]
    assert len(measured) >= 12
    assert np.isfinite(second.trials["accuracy"].dropna()).all()


@pytest.mark.slow
def test_a_search_with_own_techniques_wants_them_again(tmp_path) -> None:
    @dataclass(frozen=True)
    class Same:
        slot = "pruning"
        settings: ClassVar[dict[str, Any]] = {}

        def refuse(self, task, target):
            return None

        def apply(self, model, task):
            return model

    folder = tmp_path / "search"
    start(folder, budget="1 trial", techniques={"same": Same})
    with pytest.raises(FolderError, match=r"'same': \.\.\."):
        autoopt.resume(folder, trained_mlp(), digits())
