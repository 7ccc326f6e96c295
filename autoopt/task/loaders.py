"""Datasets and loaders as parts: which rows, in memory or read when asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch.utils import data as torch_data

from autoopt.errors import DataError
from autoopt.task.foreign import shown_as
from autoopt.task.layout import Inputs, Layout, Signature, find_layout
from autoopt.task.parts import DatasetPart, TensorPart

# Above this estimate a map-style dataset is read when asked for instead of held in memory.
HELD_BYTES = 2**30

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Source:
    """One part of the person's data, before any split.

    Attributes
    ----------
    part
        All its samples, in the data's own order.
    layout
        How its batches are read.
    batch_size
        Of its loader; None without one.
    stable
        Reading it again gives the same samples.
    notes
        What was changed or found, in sentences.
    """

    part: TensorPart | DatasetPart
    layout: Layout
    batch_size: int | None = None
    stable: bool = True
    notes: tuple[str, ...] = field(default=())


def open_loader(loader: torch_data.DataLoader[Any], signature: Signature, name: str) -> Source:
    """Return the samples of a DataLoader, which itself is not iterated.

    Its dataset, collate function and choice of rows (a sampler of a subset) are kept; its
    shuffling is not, and the state of its sampler and generator stays as it was.
    """
    dataset, collate = loader.dataset, loader.collate_fn
    if isinstance(dataset, torch_data.IterableDataset):
        batches = iter(torch_data.DataLoader(dataset, loader.batch_size, collate_fn=collate))
        return _open_stream(batches, signature, name, loader.batch_size)
    rows, notes = _rows(loader, name)
    if loader.batch_size is None and loader.batch_sampler is None:
        ready = (collate(dataset[row]) for row in rows)
        return _open_stream(ready, signature, name, None, stable=True)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    return _open_rows(dataset, rows, collate, signature, _Origin(name, size, notes))


def open_dataset(dataset: Any, signature: Signature, name: str) -> Source:
    """Return the samples of a dataset: map-style, or iterable within `HELD_BYTES`."""
    if isinstance(dataset, torch_data.IterableDataset):
        batches = iter(torch_data.DataLoader(dataset, 64))
        return _open_stream(batches, signature, name, None)
    rows = range(len(dataset))
    collate = torch_data.default_collate
    return _open_rows(dataset, rows, collate, signature, _Origin(name, None, ()))


def open_arrays(batch: Any, signature: Signature) -> Source:
    """Return the samples of arrays that hold all rows: (X, y) or a dict with labels."""
    layout, unused = find_layout(batch, signature)
    inputs, targets = layout.read(batch)
    # Clones: the person may change the arrays while a search runs.
    part = TensorPart(tuple(value.clone() for value in inputs), targets.clone())
    return Source(part, layout, notes=_unused(unused))


@dataclass(frozen=True)
class _Origin:
    name: str
    batch_size: int | None
    notes: tuple[str, ...]


def _unused(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not keys:
        return ()
    return (f"data: {', '.join(keys)} not used, because the model's forward does not take it",)


def _nothing(name: str) -> DataError:
    return DataError(
        f"the {name} must hold samples, but it is empty. Check the folder or the filter that it "
        "was made from."
    )


def _rows(
    loader: torch_data.DataLoader[Any], name: str
) -> tuple[range | list[int], tuple[str, ...]]:
    everything = range(len(loader.dataset))  # type: ignore[arg-type]  # map-style: has a length
    sampler: Any = loader.sampler
    plain_batches = type(loader.batch_sampler) in (torch_data.BatchSampler, type(None))
    if plain_batches:
        if type(sampler) is torch_data.SequentialSampler:
            return everything, ()
        if type(sampler) is torch_data.SubsetRandomSampler:
            return sorted(int(row) for row in sampler.indices), ()
        if type(sampler) is torch_data.WeightedRandomSampler:
            return everything, (f"data: the weights of the {name}'s sampler are not used",)
        if type(sampler) is torch_data.RandomSampler:
            return everything, ()
    # A sampler of the person's own: a copy is asked, so that its state stays, and the dataset
    # is not copied with it.
    own: Any = copy.deepcopy(
        sampler if plain_batches else loader.batch_sampler, {id(loader.dataset): loader.dataset}
    )
    drawn = islice(own, 4 * len(everything))
    rows = sorted({int(row) for item in drawn for row in ([item] if plain_batches else item)})
    note = f"data: {len(rows)} of {len(everything)} samples, chosen by the {name}'s own sampler"
    return rows, (note,)


def _open_rows(
    dataset: Any, rows: range | list[int], collate: Collate, signature: Signature, origin: _Origin
) -> Source:
    if not len(rows):
        raise _nothing(origin.name)
    with shown_as(
        lambda cause: DataError(f"reading the first item of the {origin.name} failed: {cause}")
    ):
        first = dataset[rows[0]]
        batch = collate([first])
    layout, unused = find_layout(batch, signature)
    part = DatasetPart(dataset, tuple(rows), collate, layout)
    head = part.select(range(min(4, len(part))))
    inputs, targets = head._read(head.rows)
    again = head._read(head.rows)
    stable = _same((*inputs, targets), (*again[0], again[1]))
    notes = origin.notes + _unused(unused)
    size = sum(value.nbytes for value in (*inputs, targets)) / len(targets) * len(part)
    held = size < HELD_BYTES
    if not stable:
        way = "drawn once, when the data was read" if held else "drawn anew at every reading"
        notes += (f"data: the items of the {origin.name} are random; their values are {way}",)
    found = part.held() if held else part
    return Source(found, layout, origin.batch_size, stable, notes)


def _same(first: Inputs, second: Inputs) -> bool:
    return all(
        a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(first, second, strict=True)
    )


def _open_stream(
    batches: Iterator[Any],
    signature: Signature,
    name: str,
    batch_size: int | None,
    *,
    stable: bool = False,
) -> Source:
    layout: Layout | None = None
    unused: tuple[str, ...] = ()
    read: list[tuple[Inputs, torch.Tensor]] = []
    size = 0
    with shown_as(
        lambda cause: DataError(f"reading batch {len(read)} of the {name} failed: {cause}")
    ):
        for batch in batches:
            if layout is None:
                layout, unused = find_layout(batch, signature)
            inputs, targets = layout.read(batch)
            read.append((inputs, targets))
            size += sum(value.nbytes for value in (*inputs, targets))
            if size > HELD_BYTES:
                raise DataError(
                    f"data that can only be iterated must fit in {HELD_BYTES / 2**20:.0f} MiB, but"
                    f" {len(read)} batches of the {name} already take {size / 2**20:.0f} MiB. Give "
                    "a map-style dataset (__getitem__ and __len__), or fewer batches "
                    "(itertools.islice)."
                )
    if layout is None:
        raise _nothing(name)
    return Source(_joined(read, name), layout, batch_size, stable, _unused(unused))


def _joined(read: list[tuple[Inputs, torch.Tensor]], name: str) -> TensorPart:
    shapes = {tuple(tuple(value.shape[1:]) for value in (*xs, y)) for xs, y in read}
    if len(shapes) > 1:
        raise DataError(
            f"all samples of an iterated {name} must have one shape, but got the shapes "
            f"{sorted(shapes)[:4]}. Pad them to one length, or give a map-style dataset."
        )
    columns = zip(*(inputs for inputs, _ in read), strict=True)
    return TensorPart(
        tuple(torch.cat(column) for column in columns), torch.cat([targets for _, targets in read])
    )
