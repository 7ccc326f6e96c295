"""Distillation against plain fine-tuning of a small student when labels are scarce.

The student is a quarter as wide and sees a hundred images. There the original's outputs tell more
than labels do. Where data is plenty and epochs are few it is the other way round: soft targets
start slower, and plain fine-tuning of the same length is ahead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import nn

from autoopt.replay import replay
from autoopt.task import Task
from autoopt.techniques.distill import Distill
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.students import WidthStudent
from tests.benchmarks.paired import compare, perceptron_task

WIDTH = 0.25
SAMPLES = 100
EPOCHS = 30
RATE = 1e-2


def distil_gain() -> Mapping[str, float]:
    """Return by how many points distillation is better, over networks of several seeds."""
    return compare(perceptron_task, _distilled, _finetuned).figures("distil_gain")


def _distilled(model: nn.Module, task: Task) -> nn.Module:
    recovery = Distill(EPOCHS, temperature=4.0, learning_rate=RATE, alpha=0.9)
    return recovery.apply(_student(model, task), _scarce(task))


def _finetuned(model: nn.Module, task: Task) -> nn.Module:
    return FineTune(EPOCHS, RATE).apply(_student(model, task), _scarce(task))


def _student(model: nn.Module, task: Task) -> nn.Module:
    return replay(model, WidthStudent(WIDTH).edits(model, task))


def _scarce(task: Task) -> Task:
    """Return the task with the first samples of its shuffled train part only."""
    return dataclasses.replace(task, train=task.train.select(range(SAMPLES)))
