from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoopt.measurement import Measurement, Stat
from autoopt.record import Failure, Record
from tests.record_builds import SMALL, failed, measured

FULL = Record(
    7,
    SMALL,
    "uniform",
    Measurement(
        {"accuracy": Stat(0.98, 0.97, 0.99, 360), "latency": Stat(1.5, 1.4, 1.6, 12, "ms")},
        test=Stat(0.97, 0.95, 0.98, 360),
        speedup=Stat(9.5, 9.1, 9.9, 12),
        reference_ms=14.0,
        samples={"candidate": [[1.5, 1.6]], "reference": [[14.0], [14.1]]},
        realised={"precision": "int8", "left": ["head"]},
        environment={"cores": 2},
    ),
    seconds={"network": 12.5, "artifact": 2.0},
    cached=("network",),
    artifact="0123",
)


@pytest.mark.parametrize("record", [FULL, failed(3), measured(0, 0.9, 10.0, 2.0)])
def test_a_record_comes_back_from_json_as_it_was(record: Record):
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_measured_record_has_figures_and_no_failure():
    assert FULL.measurement is FULL.outcome
    assert FULL.failure is None
    assert FULL.stat("latency") == Stat(1.5, 1.4, 1.6, 12, "ms")
    assert FULL.stat("memory") is None


def test_a_failed_record_has_a_failure_and_no_figures():
    record = failed(3)
    assert record.measurement is None
    assert record.failure == Failure("artifact", "crashed", "killed by signal 9")
    assert record.stat("latency") is None


def test_a_failure_says_what_happened_where():
    text = str(failed(3).failure)
    assert text == "crashed in the artifact stage: killed by signal 9"


def test_the_log_of_a_failure_survives_json():
    failure = Failure("network", "error", "boom", "Traceback …\nValueError: boom")
    record = replace(failed(3), outcome=failure)
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))).failure == failure
