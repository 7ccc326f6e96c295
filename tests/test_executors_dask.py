"""Workers of a real Dask cluster: what runs where, and what is taken up when one is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client

from autoopt.controller import SearchController
from autoopt.controller.baselines import original
from autoopt.errors import SearchError
from autoopt.executors import Cluster, Executor, load_executor
from autoopt.executors.cluster import Division, Member, members
from autoopt.executors.dask_worker import places
from autoopt.outcome import Done
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.settings import Budget
from tests.dask_clusters import local_cluster, two_machines
from tests.fakes import history_of, job, log_of
from tests.sleeping import Slept, overlapping, sleeping_setup, slept
from tests.small_searches import alive, until

TRAINED = [
    Recipe.of({"student": ("width", {"fraction": f}), "recovery": ("distill", {"epochs": 6})})
    for f in (0.25, 0.375, 0.5, 0.75)
]


def reached(client: Any) -> Cluster:
    return Cluster(client.scheduler.address)


@contextmanager
def dask_executor(client: Client, folder: Path, **changes: Any) -> Iterator[Executor]:
    made = load_executor("dask", sleeping_setup(folder, cluster=reached(client), **changes))
    try:
        yield made
    finally:
        made.close()


def all_places(client: Client) -> dict[str, list[int]]:
    found: dict[str, list[int]] = client.run(places)
    return found


def worker_of(client: Client, pid: int) -> int:
    """The process of the Dask worker below which another process runs."""
    pids: dict[str, int] = client.run(os.getpid)
    above = {parent.pid for parent in psutil.Process(pid).parents()}
    return next(found for found in pids.values() if found in above)


# ------------------------------------------------------------------ who does what


def member(host: str, name: str, measures: bool = False) -> Member:
    return Member(host, name, f"tcp://{host}:{name}", measures)


def test_on_one_machine_all_train_and_one_of_them_measures_while_nothing_is_trained() -> None:
    one, two = member("box", "1"), member("box", "2")
    division = Division.of([two, one])
    assert division == Division(one, (one, two))
    assert not division.apart
    assert str(division) == (
        "cluster: 2 workers on 1 machine train, 1 on box measures, while nothing is trained"
    )


def test_a_labelled_worker_measures_and_does_not_train() -> None:
    lane, other = member("box", "1", measures=True), member("box", "2")
    assert Division.of([lane, other]) == Division(lane, (other,))
    far = member("far", "3", measures=True)
    division = Division.of([other, far])
    assert division == Division(far, (other,))
    assert division.apart


def test_a_machine_that_measures_trains_nothing_where_there_is_another() -> None:
    division = Division.of([member("a", "1"), member("a", "2"), member("b", "3")])
    assert division == Division(member("a", "1"), (member("b", "3"),))
    assert division.apart


def test_a_single_worker_does_everything() -> None:
    lane = member("box", "1", measures=True)
    assert Division.of([lane]) == Division(lane, (lane,))
    assert not Division.of([lane]).apart


def test_the_machine_that_measured_goes_on_measuring() -> None:
    known = [member("a", "1"), member("b", "2")]
    assert Division.of(known, "b").measuring == known[1]
    assert Division.of(known[:1], "b").measuring is None
    assert Division.of([member("a", "1", measures=True), known[1]], "b").measuring == known[1]


# ------------------------------------------------------------------ stages on a cluster


@pytest.mark.slow
def test_stages_run_on_workers_and_a_killed_one_loses_nothing(tmp_path: Path) -> None:
    with (
        local_cluster(tmp_path, 2) as client,
        dask_executor(client, tmp_path, seconds=0.3) as made,
    ):
        assert (made.width, made.apart) == (2, False)
        first, second = (made.start("network", r, timeout=60.0) for r in TRAINED[:2])
        begun = until(lambda: len(b := slept(tmp_path, "network begins")) == 2 and b, "training")
        os.kill(worker_of(client, begun[0].pid), signal.SIGKILL)
        outcomes: list[Any] = [until(partial(p.poll, 0.1), "the end") for p in (first, second)]
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
        assert not any(outcome.built.cached for outcome in outcomes)
        finished = slept(tmp_path, "network")
        assert len({item.key for item in finished}) == len(finished) == 2
        third = made.start("deployment", TRAINED[0], timeout=60.0)
        measured: Any = until(lambda: third.poll(0.1), "the measurement")
        assert measured.measurement is not None
        started = [psutil.Process(pid) for pids in all_places(client).values() for pid in pids]
        assert started
        made.close()
        until(lambda: not any(map(alive, started)), "the end of what ran for the search")
        assert client.status == "running"


@pytest.mark.slow
def test_what_is_cancelled_or_takes_too_long_is_ended_on_its_worker(tmp_path: Path) -> None:
    with (
        local_cluster(tmp_path, 1) as client,
        dask_executor(client, tmp_path, seconds=60.0) as made,
    ):
        late = made.start("network", TRAINED[0], timeout=1.0)
        outcome = until(lambda: late.poll(0.1), "the end of its time")
        assert isinstance(outcome, Failure)
        assert outcome.kind == "timed_out"
        pending = made.start("network", TRAINED[1], timeout=600.0)
        key = TRAINED[1].stage_id("network")
        begun = until(
            lambda: [s for s in slept(tmp_path, "network begins") if s.key == key], "training"
        )
        lane = psutil.Process(begun[0].pid)
        assert pending.poll(0.1) is None
        pending.cancel()
        until(lambda: not alive(lane), "the end of the cancelled stage")
        following = made.start("network", original(), timeout=60.0)
        assert isinstance(until(lambda: following.poll(0.1), "the next stage"), Done)


@pytest.mark.slow
def test_a_stage_that_loses_worker_after_worker_is_a_failure(tmp_path: Path) -> None:
    with (
        local_cluster(tmp_path, 1) as client,
        dask_executor(client, tmp_path, seconds=60.0) as made,
    ):
        pending = made.start("network", TRAINED[0], timeout=600.0)

        def attempt(number: int) -> list[Slept]:
            pending.poll(0.05)
            return slept(tmp_path, "network begins")[number:]

        for loss in range(3):
            begun = until(partial(attempt, loss), f"attempt {loss + 1}")
            os.kill(worker_of(client, begun[0].pid), signal.SIGKILL)
        outcome = until(lambda: pending.poll(0.1), "the failure")
        assert isinstance(outcome, Failure)
        assert (outcome.stage, outcome.kind) == ("network", "crashed")
        assert "3 workers were lost over it" in outcome.message


@pytest.mark.slow
def test_measuring_goes_on_beside_training_on_other_machines_alone(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    with (
        two_machines(tmp_path, 2) as client,
        dask_executor(client, tmp_path, seconds=0.1) as made,
    ):
        assert (made.width, made.apart) == (2, True)
        SearchController(job(tmp_path, budget=Budget(trials=24)), made, log).run()
        history = history_of(log)
    assert sorted(history.raw) == list(range(24))
    assert not any(record.failure for record in history.records)
    assert any("2 workers on 1 machine train" in note for note in history.notes)
    trained, measured = slept(tmp_path, "network"), slept(tmp_path, "deployment")
    assert len({item.key for item in trained}) == len(trained) > 2
    assert overlapping(trained, measured)
    assert not overlapping(measured, measured)
    assert len({item.pid for item in measured}) == 1
    assert {item.pid for item in measured}.isdisjoint(item.pid for item in trained)


@pytest.mark.slow
def test_a_search_on_one_machine_loses_a_worker_and_nothing_else(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    with (
        local_cluster(tmp_path, 3) as client,
        dask_executor(client, tmp_path, seconds=0.15) as made,
    ):
        controller = SearchController(job(tmp_path, budget=Budget(trials=20)), made, log)
        thread = threading.Thread(target=controller.run, daemon=True)
        thread.start()
        begun = until(lambda: slept(tmp_path, "network begins"), "training")
        os.kill(worker_of(client, begun[0].pid), signal.SIGKILL)
        thread.join(120)
        history = history_of(log)
    assert sorted(history.raw) == list(range(20))
    assert not any(record.failure for record in history.records)
    assert len({record.recipe.id for record in history.records}) == 20
    trained, measured = slept(tmp_path, "network"), slept(tmp_path, "deployment")
    assert len({item.key for item in trained}) == len(trained) > 1
    assert not overlapping(trained, measured)
    assert not overlapping(measured, measured)
    assert begun[0].key in {item.key for item in trained}


@pytest.mark.slow
def test_nothing_runs_on_when_the_controller_is_gone(tmp_path: Path) -> None:
    with (
        local_cluster(tmp_path, 1) as client,
        dask_executor(client, tmp_path, seconds=60.0) as made,
    ):
        made.start("network", TRAINED[0], timeout=600.0)
        begun = until(lambda: slept(tmp_path, "network begins"), "training")
        lane = psutil.Process(begun[0].pid)
        # What is left of a killed controller: a connection that is gone, and no word before.
        made._client.close()  # type: ignore[attr-defined]  # an executor's own
        until(lambda: not alive(lane), "the end of what it had started")


# ------------------------------------------------------------------ bad input


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_or_goes_is_a_clear_error(
    tmp_path: Path, monkeypatch: Any
) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(SearchError, match=r"127\.0\.0\.1:1 does not answer .*autoopt\.resume"),
    ):
        load_executor("dask", sleeping_setup(tmp_path, cluster=Cluster("tcp://127.0.0.1:1")))
    monkeypatch.setattr("autoopt.executors.dask.PATIENCE_SECONDS", 1.0)
    with local_cluster(tmp_path, 1) as client:
        made = load_executor("dask", sleeping_setup(tmp_path, cluster=reached(client)))
        scalable: Any = client.cluster
        scalable.scale(0)
        until(lambda: not members(client), "the last worker's end")
        time.sleep(1.5)
        pending = made.start("network", TRAINED[0], timeout=60.0)
        with pytest.raises(SearchError, match=r"no worker for the network stage .*start workers"):
            until(lambda: pending.poll(0.1), "the error")
    monkeypatch.setattr("autoopt.executors.dask.PATIENCE_SECONDS", 600.0)
    with pytest.raises(SearchError, match=r"scheduler of the cluster is gone .*autoopt\.resume"):
        until(lambda: pending.poll(0.1), "the error")
    made.close()
