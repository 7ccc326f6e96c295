"""What a person can say to a running search, and what the operating system says to it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.small_searches import (
    alive,
    family,
    history,
    narrow,
    outcome,
    script,
    start,
    until,
)

pytestmark = pytest.mark.slow

SCRIPT = """
from pathlib import Path
import signal
import sys
from tests.small_searches import narrow, start

if __name__ == "__main__":
    # What runs in the background of a shell ignores it otherwise.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[0]).parent
    search = start(folder / "search", budget="500 trials", space=narrow(
        parallel=["default", "tuned"], quantization=["float32", "bfloat16", "weight_only"]
    ), objectives=["latency"])
    print("state", search.status.state, "with", len(search.strategies), "|", search.status.message)
"""


def tireless(folder: Path):
    space = narrow(parallel=["default", "tuned"], runtime=["eager"])
    return start(folder, budget="200 trials", space=space, objectives=["latency"], block=False)


def test_a_stop_ends_a_search_and_keeps_everything(tmp_path) -> None:
    search = tireless(tmp_path / "search")
    until(lambda: len(search.strategies) >= 2, "two candidates")
    search.stop("enough")
    search.wait(60)
    assert (search.status.state, search.status.message) == ("finished", "enough")
    assert len(search.strategies) >= 2
    assert search.best("latency").number in search.trials.index


def test_a_stop_right_after_the_start_is_obeyed(tmp_path) -> None:
    search = tireless(tmp_path / "search")
    search.stop()
    search.wait(60)
    assert search.status.state == "finished"
    assert search.status.trials == 0


def test_a_pause_holds_the_next_candidate_until_it_may_go_on(tmp_path) -> None:
    search = tireless(tmp_path / "search")
    until(lambda: search.strategies, "the first candidate")
    search.pause()
    until(lambda: search.status.state == "paused", "the pause")
    time.sleep(4)
    held, spent = search.status.trials, search.status.seconds_elapsed
    time.sleep(4)
    assert search.status.trials == held
    assert search.status.seconds_elapsed == pytest.approx(spent, abs=0.5)
    search.go_on()
    until(lambda: search.status.trials > held, "another candidate")
    assert search.status.state == "running"
    search.stop()
    search.wait(60)


def test_more_budget_can_be_given_to_a_running_search(tmp_path) -> None:
    search = start(tmp_path / "search", budget="1 trial", space=narrow(), block=False)
    until(lambda: history(search.folder).started, "the first candidate")
    with pytest.raises(ValueError, match="add to a budget in seconds"):
        search.extend(seconds=5)
    search.extend(trials=2)
    search.wait(120)
    assert (search.status.trials, search.status.trials_total) == (3, 3)


def started(folder: Path):
    process = script(folder / "run.py", SCRIPT)
    until(lambda: len(history(folder / "search").raw) >= 1, "the first candidate")
    run = history(folder / "search").runs[-1]
    return process, family(run["pid"])


def test_ctrl_c_in_a_script_stops_the_search_and_the_script_goes_on(tmp_path) -> None:
    process, processes = started(tmp_path)
    process.send_signal(signal.SIGINT)
    printed = outcome(process, seconds=60)
    assert "state finished with" in printed
    assert "stopped by Ctrl-C" in printed
    assert "Traceback" not in printed
    assert not any(map(alive, processes))
    assert len(history(tmp_path / "search").raw) >= 1


def test_when_the_script_is_killed_the_controller_and_its_worker_end_too(tmp_path) -> None:
    process, processes = started(tmp_path)
    assert len(processes) >= 2
    process.kill()
    process.communicate()
    until(lambda: not any(map(alive, processes)), "the end of all", seconds=25)
    finished = history(tmp_path / "search").runs[-1]["finished"]
    assert finished["reason"] == "the process that started it ended"


def test_when_the_controller_is_killed_its_worker_ends_too(tmp_path) -> None:
    search = tireless(tmp_path / "search")
    until(lambda: search.strategies, "the first candidate")
    processes = family(history(search.folder).runs[-1]["pid"])
    os.kill(processes[0].pid, signal.SIGKILL)
    until(lambda: not any(map(alive, processes)), "the end of all", seconds=25)
    assert search.status.state == "failed"
