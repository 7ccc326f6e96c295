"""What every executor owes, and what only an isolated one can do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoopt import snapshot
from autoopt.controller.baselines import original
from autoopt.errors import SearchError, UnknownNameError
from autoopt.executors import EXECUTORS, Cluster, Executor, WorkerSetup, load_executor
from autoopt.outcome import Done, Outcome
from autoopt.recipe import Recipe
from autoopt.record import Failure
from search_spaces import Choice
from tests.dask_clusters import local_cluster
from tests.runtime_builds import tiny_task
from tests.small_searches import alive, narrow, until


@dataclass(frozen=True)
class Deed:
    """A technique that does something bad on purpose."""

    slot = "pruning"
    settings = {"what": Choice(["raises", "sleeps", "aborts", "leaves", "refuses"])}  # noqa: RUF012
    what: str = "raises"

    def refuse(self, task: Any, target: Any) -> str | None:
        return "not today" if self.what == "refuses" else None

    def apply(self, model: Any, task: Any) -> Any:
        print(f"it {self.what}", flush=True)
        if self.what == "sleeps":
            time.sleep(600)
        if self.what == "aborts":
            os.abort()
        if self.what == "leaves":
            raise SystemExit("left")
        raise RuntimeError("as wanted")


def deed(what: str) -> Recipe:
    return Recipe.of({"pruning": ("deed", {"what": what})})


@contextmanager
def executor(name: str, folder: Path, workers: int = 1, **techniques: type) -> Iterator[Executor]:
    with ExitStack() as stack:
        cluster = stack.enter_context(a_cluster(folder, workers)) if name == "dask" else None
        made = load_executor(name, a_setup(folder, workers, techniques, cluster))
        stack.callback(made.close)
        yield made


@contextmanager
def a_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    with local_cluster(folder, workers) as client:
        scheduler: Any = client.scheduler
        yield Cluster(scheduler.address)


def a_setup(
    folder: Path, workers: int, techniques: dict[str, type], cluster: Cluster | None
) -> WorkerSetup:
    return WorkerSetup(
        payload=snapshot.dump((tiny_task("mlp"), {"deed": Deed, **techniques}, {}), folder),
        snapshot=folder,
        cache=folder / "cache",
        scope="",
        target="cpu",
        objectives=("quality", "size"),
        space=narrow(),
        reference=original(),
        measure_seconds=0.1,
        memory_limit=0,
        log=folder / "worker.log",
        workers=workers,
        cluster=cluster,
    )


def done(made: Executor, stage: Any, recipe: Recipe, *, timeout: float = 120.0) -> Outcome:
    pending = made.start(stage, recipe, timeout=timeout)
    outcome: Outcome = until(lambda: pending.poll(0.1), "the end of a stage")
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_runs_the_stages_of_a_candidate(name: str, tmp_path: Path) -> None:
    with executor(name, tmp_path) as made:
        outcomes = [done(made, s, original()) for s in ("network", "artifact", "deployment")]
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes
        last: Any = outcomes[-1]
        assert set(last.measurement.stats) == {"accuracy", "size"}
        raised = done(made, "network", deed("raises"))
        assert isinstance(raised, Failure)
        assert (raised.kind, raised.message) == ("error", "RuntimeError: as wanted")
        assert "Traceback" in raised.log
        refused = done(made, "network", deed("refuses"))
        assert isinstance(refused, Failure)
        assert (refused.kind, refused.message) == ("refused", "pruning deed: not today")


def test_an_unknown_executor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: dask, inprocess, processes"):
        load_executor("clouds", None)  # type: ignore[arg-type]  # not looked at


@pytest.mark.slow
def test_isolated_workers_survive_what_a_candidate_does(tmp_path: Path) -> None:
    with executor("processes", tmp_path) as made:
        aborted = done(made, "network", deed("aborts"))
        assert isinstance(aborted, Failure)
        assert aborted.kind == "crashed"
        assert "SIGABRT" in aborted.message
        assert "it aborts" in aborted.log

        hung = done(made, "network", deed("sleeps"), timeout=1.0)
        assert isinstance(hung, Failure)
        assert hung.kind == "timed_out"
        assert "it sleeps" in hung.log

        left = done(made, "network", deed("leaves"))
        assert isinstance(left, Failure)
        assert (left.kind, left.message) == ("crashed", "SystemExit: left")

        # The start of a new worker does not count against the limit of its first stage.
        assert isinstance(done(made, "network", original(), timeout=1.0), Done)


@pytest.mark.slow
def test_cancelling_ends_the_worker_and_the_next_stage_gets_a_new_one(tmp_path: Path) -> None:
    with executor("processes", tmp_path) as made:
        pending = made.start("network", deed("sleeps"), timeout=600.0)
        until(lambda: "it sleeps" in printed(tmp_path), "the deed")
        (worker,) = workers()
        assert pending.poll(0.1) is None
        pending.cancel()
        until(lambda: not alive(worker), "the end of the worker", seconds=15)
        assert isinstance(done(made, "network", original()), Done)


@pytest.mark.slow
def test_a_worker_that_is_killed_between_two_stages_is_replaced(tmp_path: Path) -> None:
    with executor("processes", tmp_path) as made:
        done(made, "network", original())
        for worker in workers():
            worker.kill()
        time.sleep(1)
        assert isinstance(done(made, "network", original()), Done)


@pytest.mark.slow
def test_closing_ends_a_worker_that_hangs(tmp_path: Path) -> None:
    with executor("processes", tmp_path) as made:
        made.start("network", deed("sleeps"), timeout=600.0)
        until(lambda: "it sleeps" in printed(tmp_path), "the deed")
        assert workers()
    assert not workers()


@pytest.mark.slow
def test_two_workers_run_two_stages_at_a_time_and_the_death_of_one_leaves_the_other(
    tmp_path: Path,
) -> None:
    with executor("processes", tmp_path, workers=2) as made:
        first = made.start("network", deed("sleeps"), timeout=600.0)
        second = made.start("network", deed("aborts"), timeout=600.0)
        with pytest.raises(RuntimeError, match="no more than 2 stages"):
            made.start("network", original(), timeout=600.0)
        aborted: Any = until(lambda: second.poll(0.1), "the death of the second worker")
        assert (aborted.kind, "it aborts" in aborted.log) == ("crashed", True)
        assert isinstance(done(made, "network", original()), Done)
        assert first.poll(0.1) is None
        first.cancel()
        outcomes = [done(made, s, original()) for s in ("network", "artifact", "deployment")]
        assert all(isinstance(outcome, Done) for outcome in outcomes), outcomes


def test_a_full_disk_is_no_failure_of_the_candidate(tmp_path: Path, monkeypatch: Any) -> None:
    with executor("inprocess", tmp_path) as made:

        def full(*args: Any, **kwargs: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("autoopt.cache.tempfile.mkdtemp", full)
        with pytest.raises(SearchError, match=r"the disk that holds .* is full .*autoopt\.resume"):
            made.start("artifact", original(), timeout=60.0)


def workers() -> list[psutil.Process]:
    """Return the workers of this process that live; an end that nobody waited for is no life."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def printed(folder: Path) -> str:
    log = folder / "worker.log"
    return log.read_text() if log.exists() else ""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.slow
def test_only_while_workers_may_leave_orphans_are_they_adopted(tmp_path: Path) -> None:
    with executor("processes", tmp_path), executor("processes", tmp_path) as second:
        assert orphan_of_a_shell().ppid() == os.getpid()
        second.close()
        second.close()
        assert orphan_of_a_shell().ppid() == os.getpid()
    assert orphan_of_a_shell().ppid() != os.getpid()


def orphan_of_a_shell() -> psutil.Process:
    """Return a process whose parent has ended; it lives for a second."""
    command = ["sh", "-c", "sleep 1 >/dev/null & echo $!"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return psutil.Process(int(printed))
