"""Whole searches on a real Dask cluster of this machine, and clients that cannot serve."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client, LocalCluster

import autoopt
from autoopt.errors import SearchError
from autoopt.executors import Cluster, cluster
from autoopt.handle.on_cluster import checked_cluster
from tests.dask_clusters import local_cluster
from tests.small_searches import digits, history, narrow, start, trained_mlp, until
from tests.test_executors_dask import worker_of

SPACE = {
    "student": {"none": {}, "width": {"fraction": [0.25, 0.5]}},
    "recovery": {"none": {}},
    "runtime": ["eager"],
    "quantization": ["float32", "weight_only"],
}


@pytest.mark.slow
def test_a_search_on_a_cluster_loses_a_worker_in_training_and_goes_on(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def slowly(network: Any, task: Any) -> Any:
        (marks / f"{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(6)
        return network

    with local_cluster(tmp_path, 2) as client:
        search = start(
            tmp_path / "search",
            space=narrow(**SPACE),
            train=slowly,
            budget="10 trials",
            client=client,
            block=False,
        )
        first = until(lambda: sorted(marks.iterdir()), "training")[0]
        os.kill(worker_of(client, int(first.name.split("-")[0])), signal.SIGKILL)
        search.wait(300)
        assert search.status.state == "finished"
        assert any("2 workers on 1 machine train" in note for note in search.notes)
        found = history(tmp_path / "search")
        assert not [record.failure for record in found.records if record.failure]
        assert sorted(found.raw) == list(range(10))
        assert len({record.recipe.id for record in found.records}) == 10
        trained = [s["key"] for s in found.stages if s.get("trained") and not s["cached"]]
        assert len(set(trained)) == len(trained) > 0
        assert len(list(marks.iterdir())) == len(trained) + 1
        assert not list((tmp_path / "cache" / "snapshots").iterdir())
        strategy = search.best(objective="size", max_drop=1.0)
        with autoopt.load(strategy.export(tmp_path / "deploy")) as predict:
            assert predict(digits()[0][:3]).shape == (3, 10)

        more = autoopt.resume(
            tmp_path / "search",
            trained_mlp(),
            digits(),
            train=slowly,
            budget="1 trial",
            client=client,
            block=True,
        )
        assert more.status.trials == 11


# ------------------------------------------------------------------ bad input


def fake_scheduler(workers: dict[str, Any], address: str = "tcp://far:8786") -> Any:
    return SimpleNamespace(address=address, identity=lambda n_workers: {"workers": workers})


def fake_client(**changes: Any) -> Any:
    workers = {"tcp://far:1": {"host": "far", "name": "one"}}
    usual = {
        "asynchronous": False,
        "status": "running",
        "scheduler": fake_scheduler(workers),
        "scheduler_info": dict,
        "sync": lambda ask, n_workers: ask(n_workers),
        "security": None,
        "run": lambda function, *args, workers, on_error: {w: function(*args) for w in workers},
    }
    return SimpleNamespace(**{**usual, **changes})


def test_a_client_becomes_the_address_of_its_scheduler(tmp_path: Path) -> None:
    assert checked_cluster(None, tmp_path, 4) is None
    assert checked_cluster(fake_client(), tmp_path, 1) == Cluster("tcp://far:8786")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("client", "workers", "error", "words"),
    [
        ("tcp://far:8786", 1, TypeError, "must be a dask.distributed.Client, but got 'tcp"),
        (Client, 1, TypeError, "must be a dask.distributed.Client, but got <class"),
        (fake_client(asynchronous=True), 1, TypeError, "must not be asynchronous"),
        (fake_client(), 2, ValueError, "every worker of its cluster is used, but got workers=2"),
        (fake_client(status="closed"), 1, ValueError, "it is closed: make a new one"),
        (
            fake_client(scheduler=fake_scheduler({}, "inproc://1/2")),
            1,
            ValueError,
            r"lives in this one \(inproc.*processes=True",
        ),
        (
            fake_client(scheduler=fake_scheduler({})),
            1,
            SearchError,
            "at tcp://far:8786 has no workers: start some .*dask worker tcp://far:8786",
        ),
        (fake_client(security=lambda: None), 1, TypeError, "cannot go to the controller's process"),
    ],
)
def test_a_client_that_cannot_serve_is_refused_with_what_to_do(
    client: Any, workers: int, error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        checked_cluster(client, tmp_path, workers)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"torch": "2.0.0"}, r"tcp://far:1: torch 2\.0\.0 there and .* here: install the same"),
        ({"python": "3.9.1"}, r"python 3\.9\.1 there"),
        ({"autoopt": "0.1.0 (00000000)"}, r"autoopt 0\.1\.0 \(00000000\) there"),
        ({"shared": "no"}, "does not see the cache .*AUTOOPT_CACHE"),
        (ModuleNotFoundError("No module named 'autoopt'"), "install the same autoopt there"),
        (OSError("gone"), "did not answer"),
    ],
)
def test_workers_that_differ_are_named_with_the_difference(
    answer: Any, words: str, tmp_path: Path
) -> None:
    said = answer if isinstance(answer, Exception) else {**_here(tmp_path), **answer}
    client = fake_client(
        run=lambda function, *args, workers, on_error: dict.fromkeys(workers, said)
    )
    with pytest.raises(SearchError, match=words):
        checked_cluster(client, tmp_path, 1)


def test_one_worker_that_can_serve_is_enough(tmp_path: Path) -> None:
    workers = {f"tcp://far:{n}": {"host": "far", "name": str(n)} for n in (1, 2)}
    answers = {"tcp://far:1": _here(tmp_path), "tcp://far:2": OSError("gone")}
    client = fake_client(
        scheduler=fake_scheduler(workers),
        run=lambda function, *args, workers, on_error: answers,
    )
    assert checked_cluster(client, tmp_path, 1) is not None


def _here(folder: Path) -> dict[str, str]:
    return cluster.describe(str(folder))


@pytest.mark.slow
def test_a_search_does_not_begin_with_a_client_that_is_closed_or_lonely(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        Client(cluster) as client,
        pytest.raises(SearchError, match="has no workers"),
    ):
        start(tmp_path / "search", client=client)
    with pytest.raises(ValueError, match="it is closed"):
        start(tmp_path / "search", client=client)
    assert not (tmp_path / "search").exists()
