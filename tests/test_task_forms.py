"""The forms of data, and that neither model nor data is changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from autoopt.errors import DataError
from autoopt.task import DatasetPart, Part, Task, TensorPart, make_task, permutation

COUNT, FEATURES, CLASSES = 100, 4, 3


def classifier() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES)).eval()


def arrays(count: int = COUNT) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, FEATURES)), np.arange(count) % CLASSES


def dataset(count: int = COUNT) -> TensorDataset:
    x, y = arrays(count)
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


class Dicts(Dataset):
    def __init__(self, target: str = "labels", **more: Any) -> None:
        self.x, self.y = arrays()
        self.target = target
        self.more = more

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, row: int) -> dict[str, Any]:
        item = {"b": np.float32(self.x[row, 3:]), "a": np.float32(self.x[row, :3])}
        return {**item, self.target: int(self.y[row]), **self.more}


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = classifier()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.inner(torch.cat([a, b], dim=1)), "hidden": a}


class Stream(IterableDataset):
    def __init__(self) -> None:
        self.opened = 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.opened += 1
        return iter(dataset())


def sizes(task: Task) -> tuple[int, int, int]:
    return len(task.train), len(task.validation), len(task.test)


def test_one_source_is_split_sixty_twenty_twenty_and_stratified():
    task = make_task(classifier(), arrays(150))
    assert sizes(task) == (90, 30, 30)
    for part in (task.train, task.validation, task.test):
        counts = torch.bincount(part.targets())
        assert counts.max() - counts.min() <= 2
    assert any("60/20/20" in note for note in task.notes)


def test_the_parts_are_disjoint_and_complete_and_calibration_comes_from_train():
    x = np.arange(100.0)[:, None].repeat(FEATURES, 1) / 100
    task = make_task(classifier(), (x, np.arange(100) % 3))
    rows = [part.inputs()[0][:, 0].tolist() for part in (task.train, task.validation, task.test)]
    assert len({row for part in rows for row in part}) == 100
    assert set(task.calibration.inputs()[0][:, 0].tolist()) <= set(rows[0])


def test_calibration_holds_at_most_256_samples():
    assert len(make_task(classifier(), arrays(1000)).calibration) == 256


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda x, y: (x, y), id="numpy"),
        pytest.param(lambda x, y: [x, y], id="list"),
        pytest.param(lambda x, y: (torch.tensor(x), torch.tensor(y)), id="torch"),
        pytest.param(lambda x, y: (pd.DataFrame(x), pd.Series(y)), id="pandas"),
        pytest.param(lambda x, y: (pd.DataFrame(x), pd.DataFrame({"y": y})), id="frames"),
        pytest.param(lambda x, y: (x, y.tolist()), id="list of numbers"),
        pytest.param(lambda x, y: (x, y.astype(np.int8)), id="int8"),
    ],
)
def test_arrays_of_any_library_give_the_same_float32_inputs(convert):
    x, y = arrays()
    task = make_task(classifier(), convert(x, y))
    assert task.example[0].dtype == torch.float32
    assert task.example[0].shape == (16, FEATURES)
    assert task.train.targets().dtype == torch.int64
    assert sizes(task) == (60, 20, 20)
    assert task.metric.name == "accuracy"
    assert not task.keyword_inputs


def test_all_forms_of_one_source_have_one_fingerprint():
    x, y = arrays()
    model = classifier()
    forms = [(x, y), (torch.tensor(x), torch.tensor(y)), dataset(), DataLoader(dataset(), 8)]
    assert len({make_task(model, form).fingerprint for form in forms}) == 1


def test_a_pair_of_loaders_is_train_and_valid_and_valid_is_halved():
    pair = (DataLoader(dataset(90), 16, shuffle=True), DataLoader(dataset(30), 16))
    task = make_task(classifier(), pair)
    assert sizes(task) == (90, 15, 15)
    assert (task.request_size, task.batch_size) == (15, 16)
    assert any("halved" in note for note in task.notes)


@pytest.mark.parametrize("make", [dataset, arrays, lambda n: DataLoader(dataset(n), 4)])
def test_a_triple_is_train_valid_and_test(make):
    assert sizes(make_task(classifier(), (make(60), make(12), make(9)))) == (60, 12, 9)


def test_named_parts_are_taken_by_name():
    data = {"test": dataset(9), "train": dataset(60), "validation": dataset(12)}
    assert sizes(make_task(classifier(), data)) == (60, 12, 9)
    with pytest.raises(DataError, match="must have a part named validation"):
        make_task(classifier(), {"train": dataset(60)})


def test_the_loaders_batch_size_is_the_request_size_unless_it_is_given():
    loader = DataLoader(dataset(), 8)
    assert make_task(classifier(), loader).request_size == 8
    assert make_task(classifier(), loader, request_size=5).request_size == 5
    task = make_task(classifier(), loader, request_size=500)
    assert task.request_size == 20
    assert any("20 instead of 500" in note for note in task.notes)


@pytest.mark.parametrize("target", ["labels", "label", "targets", "target", "y"])
def test_dict_batches_are_called_by_keyword(target):
    model = TwoInputs().eval()
    task = make_task(model, DataLoader(Dicts(target), 10))
    assert task.keyword_inputs
    assert task.input_names == ("b", "a")
    expected = model(a=task.example[1], b=task.example[0])["logits"]
    assert torch.equal(task.forward(task.model, task.example), expected)
    assert torch.equal(task.wrapped(task.model)(*task.example), expected)


def test_keys_that_the_model_does_not_take_are_left_out_and_said():
    task = make_task(TwoInputs(), DataLoader(Dicts("labels", id=3, text="x"), 10))
    assert task.input_names == ("b", "a")
    assert any("id, text not used" in note for note in task.notes)


def test_a_dict_of_arrays_and_a_tuple_of_inputs_are_one_source():
    x, y = arrays()
    parts = {"a": x[:, :3], "b": x[:, 3:]}
    by_key = make_task(TwoInputs(), {**parts, "labels": y})
    by_pair = make_task(TwoInputs(), (parts, y))
    by_position = make_task(TwoInputs(), (tuple(parts.values()), y))
    assert by_key.input_names == by_pair.input_names == by_position.input_names == ("a", "b")
    assert (by_key.keyword_inputs, by_pair.keyword_inputs) == (True, True)
    assert not by_position.keyword_inputs
    found = [task.forward(task.model, task.example) for task in (by_key, by_pair, by_position)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_list_of_samples_is_a_dataset():
    assert sizes(make_task(classifier(), [dataset()[row] for row in range(COUNT)])) == (60, 20, 20)


def test_integer_tokens_stay_int64():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))
    tokens = np.random.default_rng(0).integers(0, 10, (50, 3))
    task = make_task(model, (tokens, np.arange(50) % 2))
    assert task.example[0].dtype == torch.int64


def test_an_iterable_dataset_is_read_once_and_held():
    stream = Stream()
    task = make_task(classifier(), DataLoader(stream, 10))
    assert stream.opened == 1
    assert sizes(task) == (60, 20, 20)
    assert not task.stable
    assert any("data_id=" in note for note in task.notes)
    assert make_task(classifier(), Stream(), data_id="mine").stable


def test_an_iterable_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    with pytest.raises(DataError, match=r"must fit in .* Give a map-style dataset"):
        make_task(classifier(), DataLoader(Stream(), 10))


def test_large_data_are_read_when_asked_for_and_give_the_same_samples(monkeypatch):
    held = make_task(classifier(), dataset())
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", 200)
    lazy = make_task(classifier(), DataLoader(dataset(), 8))
    assert isinstance(lazy.train, DatasetPart)
    assert isinstance(lazy.calibration, TensorPart)
    assert lazy.stable
    assert sizes(lazy) == sizes(held)
    assert lazy.fingerprint == make_task(classifier(), DataLoader(dataset(), 8)).fingerprint
    x, y = lazy.validation.inputs()[0], lazy.validation.targets()
    assert len(x) == len(y) == 20
    assert torch.equal(lazy.validation.inputs(7)[0], x[:7])
    assert torch.equal(torch.cat([batch[0] for batch, _ in lazy.validation.batches(6)]), x)


@pytest.mark.parametrize("limit", [2**30, 200])
def test_shuffled_batches_follow_the_public_permutation(monkeypatch, limit):
    monkeypatch.setattr("autoopt.task.loaders.HELD_BYTES", limit)
    part: Part = make_task(classifier(), dataset()).train
    shuffled = torch.cat([targets for _, targets in part.batches(7, seed=3)])
    assert torch.equal(shuffled, part.targets()[permutation(len(part), 3)])
    assert [len(targets) for _, targets in part.batches(25)] == [25, 25, 10]


def test_padding_of_the_loaders_collate_function_is_kept():
    items = [(torch.ones(1 + row % 3), row % 2) for row in range(40)]

    def pad(batch: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = nn.utils.rnn.pad_sequence([x for x, _ in batch], batch_first=True)
        return nn.functional.pad(rows, (0, 3 - rows.shape[1])), torch.tensor([y for _, y in batch])

    loader: DataLoader = DataLoader(items, 4, collate_fn=pad)  # type: ignore[arg-type]  # a list
    assert make_task(nn.Linear(3, 2), loader).train.inputs()[0].shape == (24, 3)
    with pytest.raises(DataError, match=r"do not go into one batch.*collate_fn"):
        make_task(nn.Linear(3, 2), items)


def test_a_sampler_of_a_subset_decides_the_rows():
    whole = dataset()
    train = DataLoader(whole, 8, sampler=SubsetRandomSampler(range(70)))
    valid = DataLoader(whole, 8, sampler=SubsetRandomSampler(range(70, 100)))
    task = make_task(classifier(), (train, valid))
    assert sizes(task) == (70, 15, 15)


def test_a_sampler_of_ones_own_is_asked_once_and_keeps_its_state():
    class Half(RandomSampler):
        asked = 0

        def __iter__(self) -> Iterator[int]:
            self.asked += 1
            return iter(range(0, COUNT, 2))

    sampler = Half(dataset())
    task = make_task(classifier(), DataLoader(dataset(), 8, sampler=sampler))
    assert sizes(task) == (30, 10, 10)
    assert sampler.asked == 0
    assert any("50 of 100 samples" in note for note in task.notes)


def test_loaders_that_do_not_batch_are_read_as_batches():
    whole = [(torch.randn(10, FEATURES), torch.arange(10) % 3) for _ in range(6)]
    loader: DataLoader = DataLoader(whole, batch_size=None)  # type: ignore[arg-type]  # a list
    assert sizes(make_task(classifier(), loader)) == (36, 12, 12)


def test_nothing_of_the_persons_is_changed():
    model = classifier()
    model.train()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    x, y = arrays()
    x_before = x.copy()
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(dataset(), 8, shuffle=True, generator=generator)
    states = torch.get_rng_state(), generator.get_state(), np.random.get_state(legacy=False)
    task = make_task(model, loader)
    make_task(model, (x, y))
    task.teacher_outputs()
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.add_(1.0)
    assert model.training
    assert not model[0].weight.requires_grad
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert np.array_equal(x, x_before)
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], generator.get_state())
    assert str(states[2]) == str(np.random.get_state(legacy=False))


def test_the_task_keeps_its_data_when_the_person_changes_theirs():
    x, y = arrays()
    tensor = torch.tensor(x, dtype=torch.float32)
    task = make_task(classifier(), (tensor, y))
    before = task.train.inputs()[0].clone()
    tensor.fill_(0.0)
    assert torch.equal(task.train.inputs()[0], before)


def test_teacher_outputs_are_the_originals_on_train_in_order_and_computed_once():
    model = classifier()
    task = make_task(model, arrays())
    with torch.no_grad():
        expected = model(task.train.inputs()[0])
    found = task.teacher_outputs()
    assert torch.allclose(found, expected, atol=1e-6)
    assert task.teacher_outputs() is found


def test_exporters_get_a_module_of_positional_tensors():
    task = make_task(TwoInputs(), DataLoader(Dicts(), 10))
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        task.wrapped(task.model), task.example, dynamic_shapes=(({0: batch}, {0: batch}),)
    )
    three = tuple(value[:3] for value in task.example)
    found = program.module()(*three)
    assert torch.allclose(found, task.forward(task.model, three), atol=1e-6)


@pytest.mark.parametrize("data", ["text", 5, object(), (1, 2, 3, 4)])
def test_an_unknown_form_is_refused_and_the_forms_are_named(data):
    with pytest.raises(DataError, match=r"form that is not known.*Give \(X, y\) arrays"):
        make_task(classifier(), data)
