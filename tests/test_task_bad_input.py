"""What is wrong with a model or data is said, with the value and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autoopt.errors import DataError, MetricError, ModelError, UnknownNameError
from autoopt.task import make_task
from tests.test_task_forms import FEATURES, arrays, classifier, dataset


class Calls(nn.Module):
    """A model that does what a function says."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 3)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.linear(x))


# ------------------------------------------------------------------ data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(arrays()[0], id="array"),
        pytest.param((arrays()[0], None), id="none"),
        pytest.param(TensorDataset(torch.randn(50, FEATURES)), id="dataset"),
        pytest.param(DataLoader(TensorDataset(torch.randn(50, FEATURES)), 5), id="loader"),
        pytest.param({"x": arrays()[0]}, id="dict"),
        pytest.param([{"x": torch.ones(FEATURES)}] * 20, id="dicts"),
    ],
)
def test_data_without_labels_are_refused(data):
    with pytest.raises(DataError, match="label"):
        make_task(classifier(), data)


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(dataset(0)),
        dataset(0),
        DataLoader(dataset(0), batch_size=None),
        (dataset(), dataset(0)),
        (np.zeros((0, FEATURES)), np.zeros(0, dtype=int)),
    ],
)
def test_empty_data_are_refused(data):
    with pytest.raises(DataError, match="empty"):
        make_task(classifier(), data)


def test_too_few_samples_are_refused_with_the_number_needed():
    with pytest.raises(DataError, match=r"at least 10 samples .* but it has 8"):
        make_task(classifier(), DataLoader(dataset(8), 8))
    with pytest.raises(DataError, match=r"at least 4 samples to be halved.* but it has 3"):
        make_task(classifier(), (dataset(20), dataset(3)))
    with pytest.raises(DataError, match=r"at least 2 samples .* but it has 1"):
        make_task(classifier(), (dataset(20), dataset(3), dataset(1)))


def test_a_single_batch_of_enough_samples_is_split():
    task = make_task(classifier(), DataLoader(dataset(10), 10))
    assert [len(part) for part in (task.train, task.validation, task.test)] == [6, 2, 2]
    assert any("only 2 validation samples" in note for note in task.notes)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "1 NaN and 0 infinite"), (np.inf, "0 NaN and 1 infinite")]
)
def test_values_that_are_not_finite_are_counted_and_found(value, words):
    x, y = arrays()
    x[7, 2] = value
    with pytest.raises(DataError, match=f"input 'input' of the data hold {words}.*sample 7"):
        make_task(classifier(), (x, y))
    with pytest.raises(DataError, match="of the validation data hold"):
        make_task(classifier(), (arrays(), (x, y)))


def test_missing_targets_are_found_also_in_nullable_columns():
    x, _ = arrays()
    with pytest.raises(DataError, match="targets of the data hold 1 NaN"):
        make_task(classifier(), (x, pd.Series([None] + [1] * 99, dtype="Int64")))


def test_values_of_data_read_when_asked_for_are_checked_too(monkeypatch):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    x, y = arrays()
    x[50] = np.nan
    whole = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    with pytest.raises(DataError, match="hold 4 NaN"):
        make_task(classifier(), whole)


def test_different_lengths_of_x_and_y_are_refused():
    x, y = arrays()
    with pytest.raises(DataError, match=r"same number of rows.*\(100, 4\).*\(90,\)"):
        make_task(classifier(), (x, y[:90]))


def test_columns_without_numbers_are_named():
    frame = pd.DataFrame({"a": [1.0] * 20, "city": ["x"] * 20})
    with pytest.raises(DataError, match=r"X must hold numbers.*city"):
        make_task(nn.Linear(2, 2), (frame, np.arange(20) % 2))


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (["a", "b", "c"] * 20, r"y must be .*is a list of text\. Number the classes from 0"),
        (("a", "b") * 30, r"y must be .*is a tuple of text\. Number the classes from 0"),
        (tuple(range(3)) * 20, r"y must be .*is a tuple\. Use np\.asarray\(y\)"),
        ([[0], [1]] * 30, r"y must be .*is a list\. Use np\.asarray\(y\)"),
        (range(60), r"y must be .*is a range\. Use np\.asarray\(y\)"),
    ],
)
def test_labels_that_are_no_array_are_named_as_such(y, words):
    with pytest.raises(DataError, match=words):
        make_task(classifier(), (arrays(60)[0], y))


@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_in_plain_lists_are_named_as_such(kind):
    x, y = arrays(60)
    with pytest.raises(DataError, match=r"X must be an array.*Use np\.asarray\(X\)"):
        make_task(classifier(), (kind(kind(row) for row in x.tolist()), y))
    with pytest.raises(DataError, match=r"X must be an array.*Use np\.asarray\(X\)"):
        make_task(classifier(), (kind(x[:, 0].tolist()), y))


def test_labels_of_text_are_refused():
    x, y = arrays()
    with pytest.raises(DataError, match="the target must hold numbers"):
        make_task(classifier(), (x, np.array(["a", "b"])[y % 2]))


@pytest.mark.parametrize(("shift", "words"), [(1, "from 1 to 3"), (-1, "from -1 to 1")])
def test_classes_that_the_model_does_not_have_are_refused(shift, words):
    x, y = arrays()
    with pytest.raises(DataError, match=f"classes from 0 to 2.*{words}"):
        make_task(classifier(), (x, y + shift))


def test_shapes_that_do_not_tell_ask_for_metric_and_loss():
    x, _ = arrays()
    with pytest.raises(
        DataError, match=r"metric and loss cannot be guessed.*\(100, 3\).*\(100, 5\)"
    ):
        make_task(classifier(), (x, np.ones((100, 5))))


def test_a_dataset_that_fails_is_shown_with_its_item():
    class Broken(TensorDataset):
        def __getitem__(self, row: int) -> Any:
            if row == 13:
                raise OSError("no such picture")
            return super().__getitem__(row)

    with pytest.raises(DataError, match=r"item 13 .*OSError: no such picture") as caught:
        make_task(classifier(), Broken(*dataset().tensors))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("option", ["request_size", "threads"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "two"])
def test_counts_must_be_whole_and_positive(option, value):
    with pytest.raises(DataError, match=f"`{option}` must be a whole number of at least 1"):
        make_task(classifier(), arrays(), **{option: value})


# ------------------------------------------------------------------ model


def test_the_models_own_error_is_shown_with_the_shapes_of_the_batch():
    with pytest.raises(ModelError, match="mat1 and mat2 shapes") as caught:
        make_task(nn.Linear(5, 3), arrays())
    assert "input: shape (16, 4), torch.float32" in str(caught.value).replace("input 0", "input")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_integer_inputs_of_a_float_model_are_explained():
    x = np.ones((20, FEATURES), dtype=int)
    with pytest.raises(ModelError, match=r"torch\.int64.*convert the inputs"):
        make_task(classifier(), (x, np.arange(20) % 3))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("resnet18", "must be a torch.nn.Module, but got str"),
        (np.sum, "must be a torch.nn.Module"),
        (nn.Linear, "got the class Linear"),
    ],
)
def test_a_model_that_is_no_module_is_refused(model, words):
    with pytest.raises(ModelError, match=words):
        make_task(model, arrays())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_models_are_refused():
    scripted = torch.jit.trace(classifier(), torch.ones(2, FEATURES))
    with pytest.raises(ModelError, match="TorchScript"):
        make_task(scripted, arrays())


def test_models_without_weights_yet_are_refused():
    with pytest.raises(ModelError, match="not initialised"):
        make_task(nn.LazyLinear(3), arrays())
    with pytest.raises(ModelError, match="meta device"):
        make_task(nn.Linear(FEATURES, 3, device="meta"), arrays())


def test_weights_that_are_nan_are_named():
    model = classifier()
    next(model.parameters()).data[0, :2] = torch.nan
    with pytest.raises(ModelError, match=r"2 of 32 values of '0\.weight' are NaN"):
        make_task(model, arrays())


def test_outputs_that_are_nan_are_counted():
    with pytest.raises(ModelError, match="outputs must be finite, but 300 of 300"):
        make_task(Calls(lambda x: x * torch.nan), arrays())


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[:2], r"one row a sample.*\(2, 3\)"),
        (lambda x: x.argmax(1), "floating point, but got torch.int64"),
        (lambda x: {"a": x, "b": x}, r"'logits' or exactly one.*\['a', 'b'\]"),
        (lambda x: None, "got NoneType"),
    ],
)
def test_outputs_that_cannot_be_read_are_refused(function, words):
    with pytest.raises(ModelError, match=words):
        make_task(Calls(function), arrays())


@pytest.mark.parametrize(
    "function", [lambda x: (x, None), lambda x: {"logits": x, "b": x}, lambda x: {"only": x}]
)
def test_outputs_in_tuples_and_dicts_are_found(function):
    task = make_task(Calls(function), arrays())
    assert task.forward(task.model, task.example).shape == (16, 3)


def test_a_model_in_training_mode_is_copied_in_eval_mode_and_said():
    model = nn.Sequential(nn.Linear(FEATURES, 3), nn.Dropout(0.5)).train()
    task = make_task(model, arrays())
    assert model.training
    assert not any(module.training for module in task.model.modules())
    assert any("training mode" in note for note in task.notes)
    assert not any("training mode" in note for note in make_task(model.eval(), arrays()).notes)


def test_frozen_weights_are_trainable_in_the_copy_and_said():
    model = classifier()
    model[0].requires_grad_(False)
    task = make_task(model, arrays())
    assert all(parameter.requires_grad for parameter in task.model.parameters())
    assert any("2 parameters were frozen" in note for note in task.notes)


def test_shared_weights_stay_shared_and_are_said():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    model[1].weight = model[0].weight
    task = make_task(model, arrays())
    assert task.model.get_submodule("1").weight is task.model.get_submodule("0").weight
    assert any("0.weight and 1.weight share" in note for note in task.notes)


def test_half_and_double_models_are_copied_in_float32_and_said():
    for kind in (torch.float64, torch.bfloat16):
        task = make_task(classifier().to(kind), arrays())
        assert task.example[0].dtype == next(task.model.parameters()).dtype == torch.float32
        assert any(f"{kind}; the copy is in float32" in note for note in task.notes)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_another_device_is_copied_to_the_cpu_and_said():
    model = classifier().cuda()
    task = make_task(model, arrays())
    assert next(task.model.parameters()).device.type == "cpu"
    assert next(model.parameters()).device.type == "cuda"
    assert any("it was on cuda:0" in note for note in task.notes)


def test_wrappers_of_torch_are_taken_off_and_said():
    task = make_task(nn.DataParallel(classifier()), arrays())
    assert isinstance(task.model, nn.Sequential)
    assert any("inside DataParallel" in note for note in task.notes)
    task = make_task(torch.compile(classifier()), arrays())
    assert isinstance(task.model, nn.Sequential)
    assert any("torch.compile" in note for note in task.notes)


def test_a_model_that_answers_differently_each_time_is_said():
    task = make_task(Calls(lambda x: x + torch.rand_like(x)), arrays())
    assert any("differently each time" in note for note in task.notes)


def test_random_items_make_the_data_unstable_unless_they_are_named():
    class Noisy(TensorDataset):
        def __getitem__(self, row: int) -> Any:
            x, y = super().__getitem__(row)
            return x + torch.randn(FEATURES), y

    noisy = Noisy(*dataset().tensors)
    task = make_task(classifier(), noisy)
    assert not task.stable
    assert any("random" in note for note in task.notes)
    named = make_task(classifier(), noisy, data_id="v1")
    assert named.stable
    assert named.fingerprint != make_task(classifier(), noisy, data_id="v2").fingerprint


# ------------------------------------------------------------------ metric and loss


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(MetricError, match=r"unknown metric 'acuracy'; known: .*accuracy.*roc_auc"):
        make_task(classifier(), arrays(), metric="acuracy")


@pytest.mark.parametrize("metric", [5, list])
def test_a_metric_that_is_no_function_is_refused(metric):
    with pytest.raises(MetricError, match="must be a name or a function"):
        make_task(classifier(), arrays(), metric=metric)


def test_a_metric_that_fails_or_gives_no_number_is_shown():
    def broken(outputs: Any, targets: Any) -> float:
        raise KeyError("threshold")

    with pytest.raises(MetricError, match=r"'broken' failed on outputs of shape \(100, 3\).*thres"):
        make_task(classifier(), arrays(), metric=broken)
    with pytest.raises(MetricError, match=r"must give a finite number.*nan"):
        make_task(classifier(), arrays(), metric=lambda outputs, targets: np.nan)
    with pytest.raises(MetricError, match="NoneType"):
        make_task(classifier(), arrays(), metric=lambda outputs, targets: None)


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown loss 'hinge'; known: binary_cross_entropy"):
        make_task(classifier(), arrays(), loss="hinge")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nn.CrossEntropyLoss, "the class CrossEntropyLoss"),
        (3, "must be a function"),
        (nn.MSELoss(), "the loss failed on outputs of shape"),
        (nn.CrossEntropyLoss(reduction="none"), r"scalar tensor .* shape \(100,\)"),
        (lambda outputs, targets: 1.0, "gave a float"),
        (lambda outputs, targets: outputs.sum() * torch.inf, "the loss must be finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_cannot_train_is_refused(loss, words):
    with pytest.raises(DataError, match=words):
        make_task(classifier(), arrays(), loss=loss)
