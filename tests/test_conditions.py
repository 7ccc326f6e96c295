from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.measure import conditions
from autoopt.measure.conditions import Conditions


def test_a_busy_process_is_named_with_the_cores_it_took(monkeypatch: pytest.MonkeyPatch):
    # A child of this process would count as part of the measurement.
    monkeypatch.setattr(conditions, "own_processes", lambda: {os.getpid()})
    before = Conditions.now()
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        found = Conditions.now().since(before)
    finally:
        process.kill()
        process.wait()
    name = Path(sys.executable).resolve().name
    assert any(other["name"] in (name, "python") for other in found["others"])
    assert found["other_cores"] > 0.05
    assert found["seconds"] >= 1.0
    assert found["load"] is not None


def test_this_process_and_its_children_are_no_others():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        pids = {pid for pid, _ in Conditions.now().used}
        assert {os.getpid(), process.pid}.isdisjoint(pids)
    finally:
        process.kill()
        process.wait()


def test_what_passed_is_a_share_of_the_time_and_unknowns_stay_unknown():
    key = (7, 1.0)
    before = Conditions(10.0, {key: 5.0}, {key: "other"}, stolen=1.0, throttled=None)
    after = replace(before, at=12.0, used={key: 6.0, (8, 2.0): 0.5}, stolen=2.0)
    after = replace(after, names={key: "other", (8, 2.0): "new"})
    found = after.since(before)
    assert found["others"] == [{"name": "other", "cores": 0.5}, {"name": "new", "cores": 0.25}]
    assert (found["other_cores"], found["stolen_cores"]) == (0.75, 0.5)
    assert found["throttled"] is None
    assert replace(after, throttled=9).since(replace(before, throttled=4))["throttled"] == 5
