"""What candidates do to the machine around them is put right before the next one runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoopt.controller.baselines import original
from autoopt.executors import descendants
from autoopt.outcome import Done
from autoopt.recipe import Recipe
from autoopt.record import Failure
from search_spaces import Choice
from tests.small_searches import alive, script, until
from tests.test_executors import done, executor, printed

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


@dataclass(frozen=True)
class Vandal:
    """A technique that harms what is around it."""

    slot = "pruning"
    settings = {"what": Choice(["pipes", "garbage", "children", "orphans"])}  # noqa: RUF012
    what: str = "pipes"

    def refuse(self, task: Any, target: Any) -> str | None:
        return None

    def apply(self, model: Any, task: Any) -> Any:
        if self.what == "pipes":
            os.closerange(3, 4096)
        if self.what == "garbage":
            _garble()
        if self.what in ("children", "orphans", "hang"):
            near = subprocess.Popen(SLEEPER)
            far = subprocess.Popen(SLEEPER, start_new_session=True)
            print(f"started {near.pid} {far.pid}", flush=True)
        if self.what == "orphans":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.what == "hang":
            time.sleep(600)
        return model


def _garble() -> None:
    """Write into every pipe but that of Python's resource tracker, and go on as if nothing was."""
    import stat
    from multiprocessing import resource_tracker

    tracker = resource_tracker.getfd()
    for descriptor in set(range(3, 256)) - {tracker}:
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                os.set_blocking(descriptor, False)
                os.write(descriptor, b"\x00\x00\x00\x08no pickle")
        except OSError:
            continue


def vandal(what: str) -> Recipe:
    return Recipe.of({"pruning": ("vandal", {"what": what})})


def started(folder: Path) -> list[psutil.Process]:
    """The processes that a vandal said it started and that are still there."""
    line = next(line for line in printed(folder).splitlines() if line.startswith("started"))
    found = []
    for word in line.split()[1:]:
        if psutil.pid_exists(int(word)):
            found.append(psutil.Process(int(word)))
    return [process for process in found if alive(process)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("what", ["pipes", "garbage"])
def test_a_candidate_that_breaks_the_pipe_fails_and_the_next_one_runs(
    what: str, tmp_path: Path
) -> None:
    with executor("processes", tmp_path, vandal=Vandal) as made:
        broken = done(made, "network", vandal(what), timeout=10.0)
        assert isinstance(broken, Failure)
        assert broken.kind in ("crashed", "timed_out")
        assert isinstance(done(made, "network", original()), Done)


@pytest.mark.slow
def test_children_that_a_candidate_leaves_are_ended_and_its_outcome_stands(tmp_path: Path) -> None:
    with executor("processes", tmp_path, vandal=Vandal) as made:
        assert isinstance(done(made, "network", vandal("children")), Done)
        assert started(tmp_path) == []
        assert "ended 2 processes that the network stage left running" in printed(tmp_path)
        assert isinstance(done(made, "network", original()), Done)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "kind"), [("orphans", "crashed"), ("hang", "timed_out")])
def test_children_of_a_candidate_that_died_are_ended_with_it(
    what: str, kind: str, tmp_path: Path
) -> None:
    with executor("processes", tmp_path, vandal=Vandal) as made:
        failed = done(made, "network", vandal(what), timeout=8.0)
        assert isinstance(failed, Failure)
        assert failed.kind == kind
        assert isinstance(done(made, "network", original()), Done)
        assert started(tmp_path) == []


SHARER = """
import os, sys
from multiprocessing import shared_memory
from pathlib import Path
from dataclasses import dataclass
from tests.test_executors import deed, done, executor
from autoopt.recipe import Recipe

@dataclass(frozen=True)
class Sharer:
    slot = "pruning"
    settings = {}

    def refuse(self, task, target):
        return None

    def apply(self, model, task):
        block = shared_memory.SharedMemory("autoopt-test-left", create=True, size=4096)
        os.abort()

if __name__ == "__main__":
    with executor("processes", Path(sys.argv[0]).parent, sharer=Sharer) as made:
        print(done(made, "network", Recipe.of({"pruning": ("sharer", {})})).kind)
"""


@pytest.mark.slow
def test_shared_memory_of_a_candidate_that_died_is_gone_when_the_search_ends(
    tmp_path: Path,
) -> None:
    process = script(tmp_path / "sharer.py", SHARER)
    output, _ = process.communicate(timeout=300)
    assert "crashed" in output
    with pytest.raises(FileNotFoundError):
        until(_is_gone, "the end of the shared memory", seconds=20)


def _is_gone() -> bool:
    shared_memory.SharedMemory("autoopt-test-left").close()
    return False


# ------------------------------------------------------------------ finding and ending


def test_what_was_there_before_is_no_stranger_and_what_came_later_is_ended():
    before = subprocess.Popen(SLEEPER)
    try:
        known = descendants.descendants()
        later = [subprocess.Popen(SLEEPER), subprocess.Popen(SLEEPER, start_new_session=True)]
        pids = {process.pid for process in later}
        found = [process for process in descendants.strangers(known) if process.pid in pids]
        assert {process.pid for process in found} == pids
        assert before.pid not in {process.pid for process in descendants.strangers(known)}
        assert descendants.end_all(found) == 2
        assert not any(map(alive, found))
        assert [process.poll() is None for process in later] == [False, False]
        assert before.poll() is None
    finally:
        before.kill()
        before.wait()


def test_helpers_of_the_compiler_and_of_python_are_spared():
    helper = subprocess.Popen([*SLEEPER, "torch/_inductor/compile_worker/__main__.py"])
    try:
        # What other tests left running is a stranger, too.
        assert helper.pid not in {process.pid for process in descendants.strangers(())}
    finally:
        helper.kill()
        helper.wait()


def test_ending_what_has_ended_already_is_no_error():
    process = subprocess.Popen(SLEEPER)
    handle = psutil.Process(process.pid)
    process.kill()
    process.wait()
    assert descendants.end_all([handle]) == 0


def test_only_children_in_another_session_count_as_adopted():
    since = time.time() - 1
    near = subprocess.Popen(SLEEPER)
    far = subprocess.Popen(SLEEPER, start_new_session=True)
    try:
        until(lambda: os.getsid(far.pid) == far.pid, "the session of its own")
        pids = {process.pid for process in descendants.foreign_orphans(since)}
        assert far.pid in pids
        assert near.pid not in pids
    finally:
        for process in (near, far):
            process.kill()
            process.wait()
