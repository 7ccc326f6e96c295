from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.errors import SearchError
from autoopt.measure.lock import device_lock

ROOT = Path(__file__).parents[1]

HOLDER = """
import sys
from autoopt.errors import SearchError
from autoopt.measure.lock import device_lock
with device_lock(sys.argv[1], timeout=20):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the locks of a test apart from those of a search on this machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "cuda:0"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", ["cuda:0", "cuda"])
def test_a_device_in_use_elsewhere_is_waited_for_and_then_reported(
    holder: subprocess.Popen[str], tmp_path: Path, name: str
):
    start = time.monotonic()
    with (
        pytest.raises(
            SearchError, match=r"measuring on 'cuda:0' for 0 s \(.*cuda-0\.lock\); stop"
        ) as told,
        device_lock(name, timeout=0.3),
    ):
        pytest.fail("the lock was given twice")
    assert time.monotonic() - start >= 0.3
    assert str(tmp_path) in str(told.value)


def test_another_device_has_a_lane_of_its_own(holder: subprocess.Popen[str]):
    with device_lock("cuda:1", timeout=0.3):
        assert holder.poll() is None


def test_the_lock_is_free_when_its_holder_lets_go(holder: subprocess.Popen[str]):
    holder.communicate("go\n")
    with device_lock("cuda:0", timeout=0.3):
        assert holder.returncode == 0


def test_the_lock_of_a_killed_holder_is_free(holder: subprocess.Popen[str]):
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with device_lock("cuda:0", timeout=0.3):
        assert holder.returncode == -signal.SIGKILL


def test_the_lock_can_be_taken_again_after_an_error_inside():
    with pytest.raises(RuntimeError, match="boom"), device_lock("cpu", timeout=0.3):
        raise RuntimeError("boom")
    with device_lock("cpu", timeout=0.3):
        pass


def test_a_timeout_of_the_work_inside_is_not_taken_for_the_locks_own():
    import filelock

    with pytest.raises(filelock.Timeout), device_lock("cpu", timeout=0.3):
        raise filelock.Timeout("some other lock")
