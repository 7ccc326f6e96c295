"""What metric and loss are guessed or given, and the intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sk
from torch import nn

from autoopt.errors import DataError, DivergedError
from autoopt.task import Metric, make_task
from autoopt.task.form import Form
from autoopt.task.metric import Accuracy, Own, RSquared
from autoopt.task.scorer import Scorer
from tests.test_task_forms import FEATURES, arrays, classifier

X, Y = arrays()
RNG = np.random.default_rng(1)


def outputs_of(task, part: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    chosen = getattr(task, part)
    with torch.no_grad():
        return chosen.targets().numpy(), task.forward(task.model, chosen.inputs()).numpy()


def linear(outputs: int, *more: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, outputs), *more)


def per_token(axis: int) -> nn.Module:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.embed(x)
            return found if axis == 2 else found.transpose(1, 2)

    return Tokens()


@pytest.mark.parametrize(
    ("model", "y", "kind", "metric", "loss"),
    [
        (linear(3), Y, "classification", "accuracy", F.cross_entropy),
        (linear(3), Y[:, None], "classification", "accuracy", None),
        (linear(3), np.eye(3)[Y], "classification", "accuracy", F.cross_entropy),
        (linear(1), Y % 2, "classification", "accuracy", None),
        (linear(1), (Y % 2).astype(bool), "classification", "accuracy", None),
        (linear(1, nn.Flatten(0)), (Y % 2).astype(float), "classification", "accuracy", None),
        (linear(1, nn.Sigmoid()), Y % 2, "classification", "accuracy", None),
        (linear(4), RNG.integers(0, 2, (100, 4)), "classification", "accuracy", None),
        (linear(1), X[:, 0], "regression", "r2", None),
        (linear(1), np.arange(100), "regression", "r2", None),
        (linear(2), X[:, :2], "regression", "r2", F.mse_loss),
    ],
)
def test_kind_metric_and_loss_are_guessed_and_said(model, y, kind, metric, loss):
    task = make_task(model, (X, y))
    assert (task.kind, task.metric.name, task.metric.direction) == (kind, metric, "maximize")
    assert any(note.startswith(f"metric: {metric}, guessed because") for note in task.notes)
    assert any(note.startswith("loss: ") for note in task.notes)
    outputs = task.forward(task.model, task.train.inputs())
    value = task.loss(outputs, task.train.targets())
    value.backward()
    assert value.ndim == 0
    if loss is not None:
        assert torch.allclose(value, loss(outputs, task.train.targets()))
    targets, found = outputs_of(task)
    stat = task.metric.stat(targets, found)
    assert stat.low <= stat.value <= stat.high
    assert stat.value == pytest.approx(task.metric(targets, found))


def test_the_reason_names_the_classes():
    notes = make_task(classifier(), (X, Y)).notes
    assert "metric: accuracy, guessed because the targets are 3 integer classes" in notes


@pytest.mark.parametrize("axis", [1, 2])
def test_classes_of_tokens_are_found_on_either_axis_and_ignored_ones_do_not_count(axis):
    x = RNG.integers(0, 7, (50, 6))
    y = RNG.integers(0, 5, (50, 6))
    y[:, 4:] = -100
    task = make_task(per_token(axis), (x, y))
    targets, outputs = outputs_of(task)
    right = outputs.argmax(axis)[:, :4] == targets[:, :4]
    assert task.metric(targets, outputs) == pytest.approx(right.mean())
    tensor = torch.tensor(outputs)
    logits = tensor if axis == 1 else tensor.transpose(1, 2)
    expected = F.cross_entropy(logits[:, :, :4], torch.tensor(targets[:, :4]))
    assert torch.allclose(task.loss(tensor, torch.tensor(targets)), expected)


def test_one_logit_means_yes_above_zero_and_one_probability_above_a_half():
    y = (X[:, 0] > 0).astype(int)
    for more, threshold in (((), 0.0), ((nn.Sigmoid(),), 0.5)):
        task = make_task(linear(1, *more), (X, y))
        targets, outputs = outputs_of(task)
        expected = ((outputs[:, 0] > threshold) == targets).mean()
        assert task.metric(targets, outputs) == pytest.approx(expected)


def test_a_column_of_targets_does_not_broadcast_against_a_row_of_outputs():
    task = make_task(linear(1), (X, X[:, 0]))
    targets = task.train.targets()
    exact = targets[:, None]
    assert float(task.loss(exact, targets)) == 0.0
    assert task.metric(targets.numpy(), exact.numpy()) == 1.0


def softmaxed(outputs: np.ndarray) -> np.ndarray:
    found: np.ndarray = softmax(outputs.astype(float), axis=1)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda y, z: sk.accuracy_score(y, z.argmax(1))),
        ("balanced_accuracy", lambda y, z: sk.balanced_accuracy_score(y, z.argmax(1))),
        ("f1_macro", lambda y, z: sk.f1_score(y, z.argmax(1), average="macro")),
        ("roc_auc_ovr", lambda y, z: sk.roc_auc_score(y, softmaxed(z), multi_class="ovr")),
        ("neg_log_loss", lambda y, z: -sk.log_loss(y, softmaxed(z))),
        ("top_k_accuracy", lambda y, z: sk.top_k_accuracy_score(y, z, k=2)),
    ],
)
def test_scorers_of_classes_give_what_scikit_learn_gives(name, expected):
    task = make_task(classifier(), (X, Y), metric=name)
    targets, outputs = outputs_of(task)
    assert task.metric.name == name
    if name != "top_k_accuracy":
        assert task.metric(targets, outputs) == pytest.approx(expected(targets, outputs))
    stat = task.metric.stat(targets, outputs)
    assert stat.low < stat.high


def indicator(z: np.ndarray) -> np.ndarray:
    found: np.ndarray = z > 0
    return found


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f1_macro", lambda y, z: sk.f1_score(y, indicator(z), average="macro")),
        ("f1_samples", lambda y, z: sk.f1_score(y, indicator(z), average="samples")),
        ("jaccard_macro", lambda y, z: sk.jaccard_score(y, indicator(z), average="macro")),
        ("average_precision", sk.average_precision_score),
        ("roc_auc", sk.roc_auc_score),
        ("accuracy", lambda y, z: (y == indicator(z)).mean()),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scorers_of_labels_give_what_scikit_learn_gives(name, expected, labels, sigmoid):
    # Not every sample has a label, and some have several: an argmax would be wrong.
    y = (X[:, :labels] > 0.3).astype(np.float32)
    model = linear(labels, nn.Sigmoid()) if sigmoid else linear(labels)
    task = make_task(model, (X, y), metric=name)
    targets, outputs = outputs_of(task)
    logits = np.log(outputs / (1 - outputs)) if sigmoid else outputs
    assert task.form.name == "labels"
    assert task.metric(targets, outputs) == pytest.approx(expected(targets, logits))


@pytest.mark.parametrize("name", ["f1_macro", "roc_auc", "jaccard_samples"])
def test_a_perfect_model_of_labels_has_a_perfect_score(name):
    y = (X[:, :3] > 0).astype(int)
    y[:, 2] = 1 - y[:, 0]
    scorer = Scorer(name, Form("labels"))
    assert scorer(y, np.where(y > 0, 2.5, -2.5)) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", [int, bool, float, np.float32])
@pytest.mark.parametrize("loss", [None, "cross_entropy"])
def test_one_hot_rows_of_any_type_are_classes(kind, loss):
    plain = make_task(classifier(), (X, Y), metric="f1_macro", loss=loss)
    task = make_task(classifier(), (X, np.eye(3, dtype=kind)[Y]), metric="f1_macro", loss=loss)
    own = make_task(classifier(), (X, pd.get_dummies(Y)))
    assert task.form == own.form == plain.form
    assert own.metric.name == "accuracy"
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
    with torch.no_grad():
        outputs = task.model(x)
    rows = F.one_hot(y, 3)
    assert float(task.loss(outputs, rows)) == pytest.approx(float(plain.loss(outputs, y)))
    assert task.metric(rows.numpy(), outputs.numpy()) == plain.metric(Y, outputs.numpy())
    assert own.metric(rows.numpy(), outputs.numpy()) == float(
        (outputs.argmax(1) == y).double().mean()
    )


@pytest.mark.parametrize("given", [{}, {"metric": "accuracy", "loss": F.cross_entropy}])
def test_class_numbers_stored_as_floats_are_pointed_at(given):
    with pytest.raises(DataError, match=r"whole numbers stored as floats.*y\.astype\(int\)"):
        make_task(classifier(), (X, Y.astype(float)), **given)
    with pytest.raises(DataError) as caught:
        make_task(classifier(), (X, X[:, 0]))
    assert "astype" not in str(caught.value)


def test_scorers_of_two_classes_work_with_one_logit():
    y = (X[:, 0] > 0).astype(int)
    task = make_task(linear(1), (X, y), metric="roc_auc")
    targets, outputs = outputs_of(task)
    assert task.metric(targets, outputs) == pytest.approx(sk.roc_auc_score(targets, outputs[:, 0]))
    assert task.metric.stat(targets, outputs).low >= 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("r2", sk.r2_score),
        ("neg_mean_absolute_error", lambda y, z: -sk.mean_absolute_error(y, z)),
        ("neg_mean_squared_error", lambda y, z: -sk.mean_squared_error(y, z)),
    ],
)
def test_scorers_of_values_give_what_scikit_learn_gives(name, expected):
    task = make_task(linear(1), (X, X[:, 0]), metric=name)
    targets, outputs = outputs_of(task)
    assert task.metric(targets, outputs) == pytest.approx(expected(targets, outputs[:, 0]))


def test_a_function_gets_outputs_then_targets_as_arrays():
    def closeness(outputs: np.ndarray, targets: np.ndarray) -> float:
        return -float(np.abs(outputs[:, 0] - targets).mean())

    task = make_task(linear(1), (X, X[:, 0]), metric=closeness)
    targets, outputs = outputs_of(task)
    assert task.metric.name == "closeness"
    assert task.metric(targets, outputs) == pytest.approx(closeness(outputs, targets))


def test_metric_and_loss_given_make_any_shapes_possible():
    def error(outputs: Any, targets: Any) -> Any:
        return (outputs.mean(1) - targets.mean(1)).abs().mean()

    def score(outputs: Any, targets: Any) -> float:
        return -float(np.abs(outputs.mean(1) - targets.mean(1)).mean())

    task = make_task(classifier(), (X, np.ones((100, 5))), metric=score, loss=error)
    assert task.kind == "custom"
    assert task.loss is error


def test_a_metric_that_needs_every_class_is_not_refused_for_a_sample_without_one():
    task = make_task(classifier(), (X, Y % 2), metric="roc_auc_ovr")
    assert any("do not hold every class" in note for note in task.notes)


@given(right=st.integers(0, 200), count=st.integers(1, 200))
def test_the_interval_of_an_accuracy_is_wilsons(right, count):
    right = min(right, count)
    targets = np.zeros(count, dtype=np.int64)
    outputs = np.zeros((count, 2))
    outputs[right:, 1] = 1.0
    stat = Metric("accuracy", score=Accuracy()).stat(targets, outputs)
    z, share = 1.959964, right / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    assert stat.value == pytest.approx(share)
    assert stat.n == count
    assert stat.low == pytest.approx(centre - half, abs=1e-6)
    assert stat.high == pytest.approx(centre + half, abs=1e-6)


def test_the_bootstrap_interval_is_the_same_every_time_and_narrows_with_more_samples():
    metric = Metric("r2", score=RSquared())
    stats = []
    for count in (50, 50, 5000):
        generator = np.random.default_rng(0)
        targets = generator.normal(size=count)
        outputs = targets + 0.5 * generator.normal(size=count)
        stats.append(metric.stat(targets, outputs))
    assert stats[0] == stats[1]
    assert stats[2].high - stats[2].low < (stats[0].high - stats[0].low) / 3
    assert stats[2].low < 0.75 < stats[2].high


def test_a_slow_metric_gets_fewer_resamples(monkeypatch):
    calls: list[int] = []

    def slow(outputs: np.ndarray, targets: np.ndarray) -> float:
        calls.append(1)
        return 1.0

    monkeypatch.setattr("autoopt.task.metric.RESAMPLING_SECONDS", 0.0)
    metric = Metric("slow", score=Own(slow))
    metric.stat(np.zeros(5), np.zeros(5))
    assert len(calls) == 21


def test_outputs_that_are_not_finite_have_no_interval():
    outputs = np.array([[0.0, np.nan], [np.inf, 0.0]])
    with pytest.raises(DivergedError, match="2 of 4 outputs are NaN or infinite"):
        Metric("accuracy", score=Accuracy()).stat(np.zeros(2, dtype=int), outputs)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_r_squared_is_scikit_learns(values):
    targets = np.array(values)
    outputs = targets[::-1].copy()
    expected = sk.r2_score(targets, outputs)
    assert RSquared()(targets, outputs) == pytest.approx(expected, rel=1e-6, abs=1e-9)
