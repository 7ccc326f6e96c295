from __future__ import annotations

import copy
import dataclasses
import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from autoopt.errors import DivergedError
from autoopt.replay import replay
from autoopt.task import make_task
from autoopt.task.form import Form
from autoopt.techniques import _training
from autoopt.techniques._batches import batch_size, shuffled, steps_in_epoch
from autoopt.techniques._training import schedule
from autoopt.techniques.distill import Distill, _soft_loss
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.recalibrate import Recalibrate
from autoopt.techniques.students import WidthStudent
from tests.technique_models import task_of


def accuracy(network, task):
    with torch.no_grad():
        outputs = task.forward(network, task.validation.inputs())
    return float((outputs.argmax(1) == task.validation.targets()).float().mean())


def learned(task, **changes):
    """Return the task with an original that has learned it."""
    trained = FineTune(epochs=12, learning_rate=5e-3).apply(task.model, task)
    return dataclasses.replace(task, model=trained, **changes)


def test_batches_are_shuffled_and_say_which_rows_they_hold():
    task = task_of("residual")
    for inputs, targets, rows in shuffled(task, 3):
        assert torch.equal(inputs[0], task.train.inputs()[0][rows])
        assert torch.equal(targets, task.train.targets()[rows])
    count = sum(1 for _ in shuffled(task, 3))
    assert count == steps_in_epoch(task) == len(task.train) // batch_size(task)


def test_the_teachers_outputs_follow_the_shuffling(monkeypatch):
    task = task_of("plain")
    inputs, pairs = task.train.inputs()[0], []

    def look(outputs, teacher):
        pairs.append((outputs.detach(), teacher))
        return outputs.sum() * 0

    monkeypatch.setattr("autoopt.techniques.distill._soft_loss", lambda *_: look)
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    own_task = dataclasses.replace(task, model=own.eval())
    Distill(epochs=1, alpha=1, learning_rate=1e-12).apply(own, own_task)
    assert sum(len(teacher) for _, teacher in pairs) == len(inputs)
    for outputs, teacher in pairs:
        torch.testing.assert_close(outputs, teacher)


def test_the_rate_warms_up_and_then_falls_to_almost_nothing():
    rates = [schedule(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert max(rates) == 1
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.01
    assert schedule(0, 1) == 1


def test_recalibration_gives_the_statistics_of_the_train_part():
    task = task_of("residual")
    broken = copy.deepcopy(task.model)
    for name, buffer in broken.named_buffers():
        if "running" in name:
            buffer.fill_(9)
    network: Any = Recalibrate().apply(broken, task)
    norm = network.blocks[0].bn1
    with torch.no_grad():
        before = network.blocks[0].conv1(network.stem(task.train.inputs()[0]))
    torch.testing.assert_close(norm.running_mean, before.mean((0, 2, 3)), atol=0.1, rtol=0.1)
    assert norm.momentum == 0.1
    for old, new in zip(broken.parameters(), network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_student_learns_what_cutting_it_lost():
    task = learned(task_of("residual"))
    student = replay(task.model, WidthStudent(0.5).edits(task.model, task))
    for recovery in (FineTune(epochs=8), Distill(epochs=8)):
        after = accuracy(recovery.apply(student, task), task)
        assert after >= accuracy(student, task)
        assert after >= accuracy(task.model, task) - 0.1


def test_training_ends_when_the_originals_quality_is_reached_twice(monkeypatch):
    task = learned(task_of("residual"))
    epochs = []
    plain = _training.Course.epoch

    def counted(course, number):
        epochs.append(number)
        plain(course, number)

    monkeypatch.setattr(_training.Course, "epoch", counted)
    worse = dataclasses.replace(task, model=task_of("residual").model)
    FineTune(epochs=30, learning_rate=1e-3).apply(task.model, worse)
    assert len(epochs) == 2


def test_a_loss_that_is_no_number_ends_the_training_and_says_where():
    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets) * float("nan")

    task = dataclasses.replace(task_of("residual"), loss=loss)
    with pytest.raises(DivergedError, match=r"loss is nan in epoch 1, step 1 of .*learning rate"):
        FineTune(epochs=1).apply(task.model, task)


def test_regression_imitates_the_originals_values():
    x = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    y = x[:, :1] * 2 - x[:, 1:2]
    original = nn.Linear(6, 1)
    with torch.no_grad():
        original.weight.copy_(torch.tensor([[2.0, -1, 0, 0, 0, 0]]))
        original.bias.zero_()
    task = make_task(original, TensorDataset(x, y), threads=1)
    assert task.kind == "regression"
    assert _soft_loss(task, 4.0) is F.mse_loss
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    network = Distill(epochs=30, learning_rate=3e-2, alpha=1).apply(student, task)
    with torch.no_grad():
        outputs = task.forward(network, task.validation.inputs()).numpy()
    assert task.metric(task.validation.targets().numpy(), outputs) > 0.9


def test_the_divergence_is_zero_for_the_teacher_itself_and_grows_with_the_distance():
    task = task_of("residual")
    teacher = torch.randn(16, 4)
    soft = _soft_loss(task, 4.0)
    assert float(soft(teacher, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(soft(teacher + 3, teacher)) == pytest.approx(0, abs=1e-5)
    assert float(soft(-teacher, teacher)) > float(soft(0.5 * teacher, teacher)) > 0
    by_hand = F.kl_div(
        F.log_softmax(-teacher / 4, 1), F.softmax(teacher / 4, 1), reduction="batchmean"
    )
    assert float(soft(-teacher, teacher)) == pytest.approx(16 * float(by_hand), rel=1e-5)


@pytest.mark.parametrize("probabilities", [False, True])
def test_one_score_a_label_is_imitated_by_its_probability(probabilities):
    task = dataclasses.replace(task_of("plain"), form=Form("labels", None, probabilities))
    teacher = torch.rand(16, 3)
    soft = _soft_loss(task, 2.0)
    assert float(soft(teacher, teacher)) < float(soft(1 - teacher, teacher))


@pytest.mark.parametrize("loss", [None, nn.BCEWithLogitsLoss(), nn.MultiLabelSoftMarginLoss()])
def test_labels_are_imitated_one_by_one_whatever_the_loss(loss):
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    task = make_task(nn.Linear(6, 3).eval(), (x, (x[:, :3] > 0).float()), loss=loss)
    soft, teacher = _soft_loss(task, 1.0), torch.tensor([[3.0, -3.0, 0.0]])
    wanted = F.binary_cross_entropy_with_logits(-teacher, teacher.sigmoid())
    assert float(soft(-teacher, teacher)) == pytest.approx(float(wanted))


class Drawn(Dataset):
    """Samples of noise, anew at every reading."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, row: int) -> Any:
        return torch.randn(6), row % 3


def test_random_data_read_on_demand_are_paired_with_the_teachers_answer_to_them(monkeypatch):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    torch.manual_seed(0)
    task, gaps = make_task(nn.Linear(6, 3).eval(), Drawn(), data_id="noise"), []
    assert task.redraws

    def look(outputs, teacher):
        gaps.append(float((outputs.detach() - teacher).abs().max()))
        return outputs.sum() * 0

    monkeypatch.setattr("autoopt.techniques.distill._soft_loss", lambda *_: look)
    Distill(epochs=1, alpha=1, learning_rate=1e-12).apply(task.model, task)
    assert max(gaps) < 1e-5


def test_validation_is_read_once_and_its_inputs_are_not_kept(monkeypatch):
    task = task_of("plain")
    alive: list[int] = []
    references: list[weakref.ref[Any]] = []
    part = task.validation

    def batches(self, size, *, seed=None):
        for start in range(0, len(part), 4):
            inputs = tuple(x[start : start + 4].clone() for x in part.inputs())
            references.extend(map(weakref.ref, inputs))
            alive.append(sum(reference() is not None for reference in references))
            yield inputs, part.targets()[start : start + 4]
            del inputs

    monkeypatch.setattr(type(part), "batches", batches)
    loss, quality = _training._judge(task.model, task)
    assert max(alive) <= 2
    assert len(references) == -(-len(part) // 4)
    with torch.no_grad():
        outputs = task.forward(task.model, part.inputs())
    assert loss == pytest.approx(float(task.loss(outputs, part.targets())), rel=1e-5)
    assert quality == task.metric(part.targets().numpy(), outputs.numpy())


def test_the_start_is_kept_where_every_epoch_is_worse(monkeypatch):
    task = learned(task_of("plain"))
    harmful = FineTune(epochs=2, learning_rate=3.0).apply(task.model, task)
    start = Recalibrate().apply(task.model, task)
    for name, value in start.state_dict().items():
        assert torch.equal(value, harmful.state_dict()[name]), name


def test_training_ends_when_the_validation_loss_stagnates(monkeypatch):
    task = learned(task_of("plain"))
    # The original's quality is out of reach, so that only stagnation ends it.
    monkeypatch.setattr(_training, "REACHED", 99)
    for epochs, ran in ((6, 4), (3, 3), (12, 6)):
        done: list[int] = []
        real = _training.Course.epoch

        def epoch(self, number, done=done, real=real):
            done.append(number)
            real(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(_training.Course, "epoch", epoch)
            FineTune(epochs=epochs, learning_rate=3.0).apply(task.model, task)
        assert len(done) == ran, epochs
