"""Leases: one holder at a time, and the work of a lost one is taken up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from autoopt.lease import lease
from tests.small_searches import until

HOLDER = """
import sys, time
from pathlib import Path
from autoopt.lease import lease

with lease(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_holds_it_and_another_waits_until_it_is_given_back(tmp_path: Path) -> None:
    path, order = tmp_path / "leases" / "key", []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with lease(path):
            inside.set()
            leave.wait(30)
            order.append("first")

    def second() -> None:
        with lease(path):
            order.append("second")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert inside.wait(10)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    time.sleep(0.3)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]
    assert not path.exists()


def test_it_is_given_back_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="as wanted"), lease(tmp_path / "key"):
        raise RuntimeError("as wanted")
    with lease(tmp_path / "key"):
        pass


def test_that_of_a_killed_process_of_this_machine_is_taken_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, signal.SIGKILL)
    assert path.exists()
    begun = time.monotonic()
    with lease(path, lost=600.0):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert time.monotonic() - begun < 60


def other_machine(path: Path) -> None:
    path.write_text(json.dumps({"machine": "far away", "pid": 1, "since": 0.0, "token": "theirs"}))


def test_that_of_another_machine_is_taken_after_a_time_of_silence(tmp_path: Path) -> None:
    path = tmp_path / "key"
    other_machine(path)
    begun = time.monotonic()
    with lease(path, lost=0.5):
        assert "theirs" not in path.read_text()
    assert time.monotonic() - begun > 0.5


def test_that_of_another_machine_stays_as_long_as_it_is_touched(tmp_path: Path) -> None:
    path, taken = tmp_path / "key", threading.Event()
    other_machine(path)

    def take() -> None:
        with lease(path, lost=2.0):
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    for _ in range(15):
        os.utime(path)
        time.sleep(0.2)
    assert not taken.is_set()
    path.unlink()
    assert taken.wait(10)
    thread.join(10)


def test_a_holder_touches_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with lease(path, beat=0.05):
        os.utime(path, ns=(1, 1))
        until(lambda: path.stat().st_mtime_ns > 1, "a sign of life", seconds=10)


def test_a_lease_that_another_took_over_is_not_given_back_by_its_first_holder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key"
    with lease(path):
        other_machine(path)
    assert "theirs" in path.read_text()
