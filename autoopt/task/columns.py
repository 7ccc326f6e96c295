"""Several outputs of one model as the columns of one tensor, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch

from autoopt.errors import ModelError

OutputName = str | int


@final
@dataclass(frozen=True)
class Columns:
    """Where each output stands among the columns.

    Attributes
    ----------
    shapes
        Name (or place in a tuple) and shape of one sample of each output, in order.
    """

    shapes: tuple[tuple[OutputName, tuple[int, ...]], ...]

    def split(self, values: Any) -> dict[OutputName, Any]:
        """Return each output of a tensor or array of columns, in its own shape."""
        found: dict[OutputName, Any] = {}
        start = 0
        for name, shape in self.shapes:
            stop = start + prod(shape)
            found[name] = values[:, start:stop].reshape(len(values), *shape)
            start = stop
        return found

    def __str__(self) -> str:
        """Say which columns each output has."""
        words, start = [], 0
        for name, shape in self.shapes:
            stop = start + prod(shape)
            words.append(f"{name!r} in columns {start} to {stop - 1}")
            start = stop
        return ", ".join(words)


@final
@dataclass(frozen=True)
class PerOutput:
    """A person's loss or metric, which gets outputs by name instead of columns.

    Attributes
    ----------
    func
        ``func({name: outputs}, targets)``.
    columns
        How to take them apart.
    """

    func: Callable[[Mapping[OutputName, Any], Any], Any]
    columns: Columns

    @property
    def __name__(self) -> str:
        """Name of the person's function."""
        return str(getattr(self.func, "__name__", type(self.func).__name__))

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """Return what the function gives."""
        return self.func(self.columns.split(outputs), targets)


def output_names(output: Any) -> tuple[OutputName, ...]:
    """Return what a person gave as `output` as names; empty where nothing was given.

    Raises
    ------
    ModelError
        If it is neither a name, a place, nor a list of them, each once.
    """
    names = tuple(output) if isinstance(output, list | tuple) else (output,)
    if output is None:
        return ()
    plain = all(isinstance(name, str | int) and not isinstance(name, bool) for name in names)
    if not names or not plain or len(set(names)) < len(names):
        raise ModelError(
            "`output` must be the name of an output (its place, where the model returns a tuple), "
            f"or a list of different ones, but got {output!r}."
        )
    return names


def joined(output: Any, names: tuple[OutputName, ...]) -> torch.Tensor:
    """Return the named outputs side by side, each flattened to columns; one alone as it is."""
    if len(names) == 1:
        return named_output(output, names[0])
    tensors = [named_output(output, name) for name in names]
    return torch.cat([value.reshape(len(value), -1) for value in tensors], dim=1)


def columns_of(output: Any, names: tuple[OutputName, ...]) -> Columns:
    """Return where `joined` puts each output."""
    tensors = [(name, named_output(output, name)) for name in names]
    return Columns(tuple((name, tuple(map(int, value.shape[1:]))) for name, value in tensors))


def named_output(output: Any, name: OutputName) -> torch.Tensor:
    """Return one output by its key, attribute, or place in a tuple.

    Raises
    ------
    ModelError
        If there is none of that name, or it is no floating tensor of one row a sample.
    """
    known = floating_outputs(output)
    if name not in known:
        raise ModelError(
            f"`output` must name floating tensors of one row a sample that the model returns, but "
            f"got {name!r}; it returns {', '.join(map(repr, known)) or 'none'}."
        )
    return known[name]


def floating_outputs(output: Any) -> dict[OutputName, torch.Tensor]:
    """Return the floating tensors that a model returns side by side, by key or place."""
    items: Any = ()
    if isinstance(output, Mapping):
        items = output.items()
    elif hasattr(output, "_fields"):
        items = zip(output._fields, output, strict=True)
    elif isinstance(output, tuple | list):
        items = enumerate(output)
    return {
        name: value
        for name, value in items
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim
    }
