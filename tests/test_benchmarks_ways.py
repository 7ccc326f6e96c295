"""Distillation against fine-tuning: both teach the same small student on the same few samples."""

from __future__ import annotations

import pytest

from tests.benchmarks import paired
from tests.benchmarks.paired import perceptron_task
from tests.benchmarks.techniques import LESSONS, distil_gain


def test_student_and_data_are_small() -> None:
    task = perceptron_task(0)
    scarce = LESSONS.scarce(task)
    assert len(scarce.train) == LESSONS.samples < len(task.train)
    assert len(scarce.teacher_outputs()) == LESSONS.samples
    student = LESSONS.student(task.model, task)
    count = sum(p.numel() for p in student.parameters())
    assert count < 0.2 * sum(p.numel() for p in task.model.parameters())


def test_the_gain_is_told_with_what_the_weaker_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "SEEDS", (0, 1, 2))
    found = distil_gain()
    assert set(found) == {"distil_gain", "distil_gain_mean", "distil_gain_weaker_loses"}
    assert found["distil_gain"] <= found["distil_gain_mean"]
    assert found["distil_gain_weaker_loses"] > 1
