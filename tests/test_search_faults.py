"""Techniques that do the worst, defined in the ``__main__`` of a script."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoopt.record import Record
from tests.small_searches import alive, history, outcome, script

pytestmark = pytest.mark.slow

HEAD = """
import ctypes, json, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path

import autoopt
from autoopt.settings import Limits
from search_spaces import Choice
from autoopt.record import Record
from tests.small_searches import digits, narrow, trained_mlp


class Technique:
    slot = "pruning"
    settings = {}

    def refuse(self, task, target):
        return None
"""

MAIN = """
if __name__ == "__main__":
    folder = Path(sys.argv[0]).parent
    search = autoopt.search(
        trained_mlp(),
        digits(),
        techniques=TECHNIQUES,
        space=narrow(
            pruning=["none"], quantization=["float32"], runtime=["eager", "onnxruntime"]
        ),
        budget="20 trials",
        objectives=["size"],
        limits=LIMITS,
        threads=1,
        folder=folder / "search",
        cache=folder / "cache",
    )
    print("notes", search.notes)
    print("state", search.status.state)
"""

FAULTS = """
@dataclass(frozen=True)
class Segfaults(Technique):
    def apply(self, model, task):
        print("about to read address zero", flush=True)
        ctypes.string_at(0)


@dataclass(frozen=True)
class Killed(Technique):
    def apply(self, model, task):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Exits(Technique):
    def apply(self, model, task):
        sys.exit("that was all")


@dataclass(frozen=True)
class Diverges(Technique):
    def apply(self, model, task):
        for parameter in model.parameters():
            parameter.data.fill_(float("nan"))
        return model


@dataclass(frozen=True)
class Raises(Technique):
    def apply(self, model, task):
        print("a word before the end", flush=True)
        raise RuntimeError("this technique never works")


@dataclass(frozen=True)
class Refuses(Technique):
    def refuse(self, task, target):
        return "this technique needs a moon"

    def apply(self, model, task):
        raise AssertionError("refused, and yet applied")


@dataclass(frozen=True)
class RefusesLate(Technique):
    settings = {"depth": Choice([1, 2], usual=1)}
    depth: int = 1

    def refuse(self, task, target):
        return "this technique cannot go to depth 2" if self.depth == 2 else None

    def apply(self, model, task):
        return model


@dataclass(frozen=True)
class Works(Technique):
    def apply(self, model, task):
        return model


TECHNIQUES = {
    "segfaults": Segfaults,
    "killed": Killed,
    "exits": Exits,
    "diverges": Diverges,
    "raises": Raises,
    "refuses": Refuses,
    "refuses_late": RefusesLate,
    "works": Works,
}
LIMITS = Limits()
"""

HUNGER = """
@dataclass(frozen=True)
class Hungry(Technique):
    def apply(self, model, task):
        import torch

        kept = []
        while True:
            kept.append(torch.ones(10_000_000))


@dataclass(frozen=True)
class Spins(Technique):
    def apply(self, model, task):
        print("round and round", flush=True)
        while True:
            pass


@dataclass(frozen=True)
class Works(Technique):
    def apply(self, model, task):
        return model


TECHNIQUES = {"spins": Spins, "hungry": Hungry, "works": Works}
LIMITS = Limits(network=8.0, memory=1_500_000_000)
"""


@dataclass(frozen=True)
class Ran:
    """What a script printed, its candidates (the last of each technique), and what is left."""

    printed: str
    records: tuple[Record, ...]
    last: dict[str, Any]
    left: list[psutil.Process]


@cache
def ran(faults: str) -> Ran:
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    process = script(folder / "faults.py", HEAD + faults + MAIN)
    seen: dict[int, psutil.Process] = {}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            seen |= {child.pid: child for child in root.children(recursive=True)}
        except psutil.NoSuchProcess:
            break
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
    printed = outcome(process)
    records = history(folder / "search").records
    last = {record.recipe["pruning"].option: record for record in records}
    left = [child for child in seen.values() if alive(child)]
    return Ran(printed, records, last, left)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("segfaults", "crashed", "SIGSEGV"),
        ("killed", "out_of_memory", "SIGKILL"),
        ("exits", "crashed", "that was all"),
        ("diverges", "diverged", "weights must be finite"),
        ("raises", "error", "RuntimeError: this technique never works"),
    ],
)
def test_a_fault_of_a_technique_becomes_a_failure_of_its_kind(name, kind, words) -> None:
    failure = ran(FAULTS).last[name].failure
    assert failure is not None
    assert (failure.stage, failure.kind) == ("network", kind)
    assert words in failure.message


def test_what_a_crashed_worker_printed_is_in_the_failure_with_the_place_of_the_crash() -> None:
    log = ran(FAULTS).last["segfaults"].failure.log
    assert "about to read address zero" in log
    assert "Segmentation fault" in log
    assert "in apply" in log


def test_the_traceback_of_what_was_raised_is_in_the_failure() -> None:
    log = ran(FAULTS).last["raises"].failure.log
    assert "Traceback" in log
    assert "in apply" in log


def test_what_refuses_beforehand_costs_no_trial_and_is_said() -> None:
    printed, records = ran(FAULTS).printed, ran(FAULTS).last
    assert "refuses" not in records
    assert "this technique needs a moon" in printed


def test_what_refuses_at_one_setting_only_is_a_failure_with_its_reason() -> None:
    failures = [r.failure for r in ran(FAULTS).records if r.failure and r.failure.kind == "refused"]
    assert failures
    assert {failure.stage for failure in failures} == {"network"}
    assert all("cannot go to depth 2" in failure.message for failure in failures)


def test_the_search_goes_on_after_every_fault_to_its_regular_end() -> None:
    printed, records = ran(FAULTS).printed, ran(FAULTS).last
    assert "state finished" in printed
    assert records["works"].measurement is not None


def test_a_network_that_failed_is_not_tried_again_in_another_runtime() -> None:
    broken = [r for r in ran(FAULTS).records if r.recipe["pruning"].option == "segfaults"]
    assert len(broken) == 1


def test_endless_allocation_is_out_of_memory_and_an_endless_loop_is_timed_out() -> None:
    printed, records = ran(HUNGER).printed, ran(HUNGER).last
    hungry, spins = records["hungry"].failure, records["spins"].failure
    assert (hungry.stage, hungry.kind) == ("network", "out_of_memory")
    assert (spins.stage, spins.kind) == ("network", "timed_out")
    assert "8 s" in spins.message
    assert "round and round" in spins.log
    assert records["works"].measurement is not None
    assert "state finished" in printed


@pytest.mark.parametrize("faults", [FAULTS, HUNGER], ids=["faults", "hunger"])
def test_no_process_is_left_after_the_end(faults: str) -> None:
    assert ran(faults).left == []
