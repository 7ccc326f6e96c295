"""The parts of the data: train, calibration, validation and test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final, runtime_checkable

import torch

from autoopt.errors import DataError
from autoopt.task.foreign import shown_as
from autoopt.task.layout import Inputs, Layout


@runtime_checkable
class Part(Protocol):
    """Samples with their targets, in a fixed order."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def batches(
        self, batch_size: int, *, seed: int | None = None
    ) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Yield batches in order, or in the order of `permutation` if a seed is given."""

    def inputs(self, count: int | None = None) -> Inputs:
        """Return the inputs of the first `count` samples (all by default), stacked."""

    def targets(self) -> torch.Tensor:
        """Return the targets of all samples, stacked."""

    def select(self, rows: Sequence[int]) -> Part:
        """Return a part that holds these rows, in this order."""


def permutation(length: int, seed: int) -> torch.Tensor:
    """Return the order in which `Part.batches` goes through `length` samples for a seed.

    Public so that what was computed once in order, such as a teacher's outputs, can follow
    shuffled batches: ``outputs[permutation(len(part), seed)]``.
    """
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


def _chunks(length: int, batch_size: int, seed: int | None) -> Iterator[torch.Tensor]:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, but got {batch_size}.")
    order = torch.arange(length) if seed is None else permutation(length, seed)
    return iter(order.split(batch_size))


@final
@dataclass(frozen=True, eq=False)
class TensorPart:
    """Samples held in memory.

    Attributes
    ----------
    tensors
        One tensor an input, first axis samples.
    labels
        Targets, first axis samples.
    """

    tensors: Inputs
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, *, seed: int | None = None
    ) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Yield batches in order, or in the order of `permutation` if a seed is given."""
        start = 0
        for rows in _chunks(len(self), batch_size, seed):
            if seed is None:
                # Views: going through the data in order costs no copy.
                cut = slice(start, start + len(rows))
                start += len(rows)
                yield tuple(tensor[cut] for tensor in self.tensors), self.labels[cut]
            else:
                yield tuple(tensor[rows] for tensor in self.tensors), self.labels[rows]

    def inputs(self, count: int | None = None) -> Inputs:
        """Return the inputs of the first `count` samples (all by default)."""
        return tuple(tensor[:count] for tensor in self.tensors)

    def targets(self) -> torch.Tensor:
        """Return the targets of all samples."""
        return self.labels

    def select(self, rows: Sequence[int]) -> TensorPart:
        """Return a part with copies of these rows."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return TensorPart(tuple(tensor[index] for tensor in self.tensors), self.labels[index])


@final
@dataclass(frozen=True, eq=False)
class DatasetPart:
    """Samples read from a map-style dataset whenever they are asked for.

    Attributes
    ----------
    dataset
        Anything with ``dataset[int]``.
    rows
        The dataset's indices that belong to this part.
    collate
        Makes a batch of a list of the dataset's items.
    layout
        Reads such a batch.
    """

    dataset: Any = field(repr=False)
    rows: tuple[int, ...] = field(repr=False)
    collate: Callable[[list[Any]], Any]
    layout: Layout

    def __len__(self) -> int:
        return len(self.rows)

    def _item(self, row: int) -> Any:
        with shown_as(
            lambda cause: DataError(f"reading item {row} of the dataset failed: {cause}")
        ):
            return self.dataset[row]

    def _read(self, rows: Sequence[int]) -> tuple[Inputs, torch.Tensor]:
        items = [self._item(row) for row in rows]
        with shown_as(
            lambda cause: DataError(
                f"{len(items)} items of the dataset do not go into one batch: {cause}. "
                "Give a DataLoader whose `collate_fn` pads them to one length."
            )
        ):
            batch = self.collate(items)
        return self.layout.read(batch)

    def batches(
        self, batch_size: int, *, seed: int | None = None
    ) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Yield batches in order, or in the order of `permutation` if a seed is given."""
        for chunk in _chunks(len(self), batch_size, seed):
            yield self._read([self.rows[position] for position in chunk.tolist()])

    def inputs(self, count: int | None = None) -> Inputs:
        """Return the inputs of the first `count` samples (all by default), in one batch."""
        return self._read(self.rows[:count])[0]

    def targets(self) -> torch.Tensor:
        """Return the targets of all samples; reads the whole part once."""
        return torch.cat([targets for _, targets in self.batches(256)])

    def select(self, rows: Sequence[int]) -> DatasetPart:
        """Return a part that reads only these rows."""
        chosen = tuple(self.rows[row] for row in rows)
        return DatasetPart(self.dataset, chosen, self.collate, self.layout)

    def held(self) -> TensorPart:
        """Return the same samples in memory, collated as one batch so that padding is common."""
        inputs, targets = self._read(self.rows)
        return TensorPart(inputs, targets)
