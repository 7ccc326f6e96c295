from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console
from rich.spinner import Spinner

from autoopt.handle.progress import _two_lines, follow
from autoopt.handle.status import Status

RUNNING = Status(
    state="running",
    trials=12,
    failed=2,
    trials_total=None,
    networks_trained=3,
    artifacts_built=7,
    seconds_elapsed=100.0,
    seconds_left=200.0,
    now="network of number 12",
    best="8.4× at −0.6 pt",
    message="",
)


def drawn(status: Status) -> list[str]:
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(_two_lines(status, Spinner("dots")))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_bar_tells_trials_time_failures_the_best_and_what_is_being_done():
    first, second = drawn(RUNNING)
    assert first.startswith("Running ")
    assert first.endswith("12 trials · 3:20 left · 2 failed · best 8.4× at −0.6 pt")
    assert second.endswith("network of number 12")


def test_nothing_is_said_of_what_is_not_there_yet():
    first, second = drawn(
        replace(RUNNING, state="starting", trials=0, failed=0, seconds_left=None, now="", best="")
    )
    assert first.endswith("0 trials")
    assert second.endswith("preparing")


@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, 1 / 3), ({"trials_total": 24}, 1 / 2), ({"trials_total": 12}, 1.0)],
    ids=["seconds", "trials", "all trials"],
)
def test_the_bar_is_as_full_as_the_budget_is_spent(changes, share):
    bar = drawn(replace(RUNNING, **changes))[0].partition(" ")[2].split(" ")[0]
    assert bar.count("━") == pytest.approx(24 * share, abs=1)


class PressedAsItGoes:
    """Ctrl-C comes while the collector takes it: what is raised there is printed and forgotten."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)


@dataclass
class Endless:
    """A search that somebody must stop."""

    looks: int = 0

    @property
    def status(self) -> Status:
        self.looks += 1
        if self.looks == 2:
            PressedAsItGoes()
        return RUNNING if self.looks < 8 else replace(RUNNING, state="finished")


def test_ctrl_c_is_heard_wherever_it_comes(capsys) -> None:
    # What runs in the background of a shell ignores it otherwise.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _hear()
    finally:
        signal.signal(signal.SIGINT, before)


def _hear() -> None:
    search: Any = Endless()
    with pytest.raises(KeyboardInterrupt):
        follow(search, timeout=None)
    assert search.looks == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_person_is_left_alone(capsys) -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        search: Any = Endless()
        follow(search, timeout=None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]
    assert search.looks == 8
