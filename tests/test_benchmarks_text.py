"""The known results on text: data, network and student are what the benchmark says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import language_data
from tests.benchmarks import text
from tests.benchmarks.paired import accuracy


def test_every_module_gives_as_much_text():
    tokens, targets = language_data.much_text()
    wanted = language_data.MANY_WINDOWS * len(language_data.MODULES)
    assert tokens.shape == (wanted, language_data.WINDOW)
    assert torch.equal(tokens, targets)


def test_a_character_counts_where_the_outputs_before_it_say_it():
    targets = np.array([[0, 1, 2, 2]])
    outputs = np.eye(3)[[[1, 2, 0, 0]]]
    assert text.foretold(outputs, targets) == pytest.approx(2 / 3)


@pytest.mark.slow
def test_the_model_has_learned_and_its_student_is_smaller():
    task = text.language_task(0)
    assert task.form.name == "tokens"
    assert accuracy(task.model, task) > 35
    assert len(text.LESSONS.scarce(task).train) == text.LESSONS.samples < len(task.train)
    student = text.LESSONS.student(task.model, task)
    count, whole = (sum(p.numel() for p in net.parameters()) for net in (student, task.model))
    assert count < 0.8 * whole
