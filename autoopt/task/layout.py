"""How a batch is read: which of its values are inputs, and which is the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from autoopt.errors import DataError

Inputs = tuple[torch.Tensor, ...]

TARGET_KEYS = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Signature:
    """What a model takes, as far as the data must know it.

    Attributes
    ----------
    names
        Parameters of ``forward``; None if it takes any keyword.
    floats
        The model computes in float32, so floating inputs become float32.
    """

    names: tuple[str, ...] | None = None
    floats: bool = True


@final
@dataclass(frozen=True)
class Layout:
    """Reads batches of one form.

    Attributes
    ----------
    keys
        Names of the inputs in a dict batch; None for tuples.
    floats
        Floating inputs become float32.
    """

    keys: tuple[str, ...] | None
    floats: bool

    def read(self, batch: Any) -> tuple[Inputs, torch.Tensor]:
        """Return (inputs, targets) of one batch as CPU tensors.

        Raises
        ------
        DataError
            If there are no labels, a key is missing or a value is no tensor.
        """
        values, target = separate(batch)
        if self.keys is None:
            if isinstance(values, Mapping):
                raise DataError(
                    "all batches must have one form, but the first was a tuple and this is a dict"
                    f" with the keys {sorted(map(str, values))}."
                )
            named = {f"input {i}": value for i, value in enumerate(values)}
        else:
            named = self._keyed(values)
        inputs = tuple(self._cast(tensor(value, name)) for name, value in named.items())
        targets = target_tensor(target)
        for name, value in zip(named, inputs, strict=True):
            if value.ndim == 0 or targets.ndim == 0 or len(value) != len(targets):
                raise DataError(
                    f"inputs and targets must have one row a sample, but {name} has the shape "
                    f"{tuple(value.shape)} and the targets {tuple(targets.shape)}."
                )
        return inputs, targets

    def _keyed(self, values: Any) -> dict[str, Any]:
        if not isinstance(values, Mapping) or not set(self.keys or ()) <= set(values):
            found = sorted(map(str, values)) if isinstance(values, Mapping) else "a tuple"
            raise DataError(
                f"every batch must have the keys {list(self.keys or ())} of the first one, "
                f"but got {found}."
            )
        return {key: values[key] for key in self.keys or ()}

    def _cast(self, value: torch.Tensor) -> torch.Tensor:
        return value.float() if self.floats and value.is_floating_point() else value


def separate(batch: Any) -> tuple[Mapping[str, Any] | tuple[Any, ...], Any]:
    """Split a batch into its inputs (dict or flat tuple) and its target.

    Dicts hold the target under one of `TARGET_KEYS`; of a tuple or list it is the last value,
    and the first may itself be a dict or a tuple of inputs.

    Raises
    ------
    DataError
        If there is no target.
    """
    if isinstance(batch, Mapping):
        key = next((name for name in TARGET_KEYS if batch.get(name) is not None), None)
        if key is None:
            raise DataError(
                f"a dict batch must hold its labels under one of {', '.join(TARGET_KEYS)}, but its"
                f" keys are {sorted(map(str, batch))}. Rename the column that holds the labels."
            )
        return {str(name): value for name, value in batch.items() if name not in TARGET_KEYS}, (
            batch[key]
        )
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or batch[-1] is None:
        got = f"a {type(batch).__name__}"
        if isinstance(batch, (tuple, list)):
            got += f" of {len(batch)}" + (" that ends in None" if batch and len(batch) > 1 else "")
        raise DataError(
            f"a batch must hold inputs and labels, (x, y) or a dict, but got {got}. Give labels: "
            "they are needed to compare the compressed models with the original."
        )
    values = batch[:-1]
    if len(values) == 1 and isinstance(values[0], Mapping):
        return {str(name): value for name, value in values[0].items()}, batch[-1]
    if len(values) == 1 and isinstance(values[0], (tuple, list)):
        values = values[0]
    return tuple(values), batch[-1]


def find_layout(batch: Any, signature: Signature) -> tuple[Layout, tuple[str, ...]]:
    """Return the layout of `batch` and the keys of it that the model does not get."""
    values, _ = separate(batch)
    if not isinstance(values, Mapping):
        return Layout(None, signature.floats), ()
    usable = tuple(
        key
        for key, value in values.items()
        if isinstance(value, (torch.Tensor, np.ndarray))
        and (signature.names is None or key in signature.names)
    )
    if not usable:
        raise DataError(
            "a dict batch must hold a tensor for a parameter of the model's forward"
            f"({', '.join(signature.names or ('**kwargs',))}), but its keys are {sorted(values)}. "
            "Rename the columns, or give tuples (x, y)."
        )
    return Layout(usable, signature.floats), tuple(key for key in values if key not in usable)


def tensor(value: Any, name: str) -> torch.Tensor:
    """Return a CPU tensor of a batch's value.

    Raises
    ------
    DataError
        If it holds something other than numbers.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} must hold numbers, but is a {type(value).__name__} of {array.dtype}. Encode "
            "it as numbers first (labels as integers from 0 in the order of the model's outputs)."
        )
    # A copy: what belongs to the person may be read-only or change later.
    return torch.from_numpy(np.array(array, order="C"))


def target_tensor(value: Any) -> torch.Tensor:
    """Return targets as int64 or float32."""
    found = tensor(value, "the target")
    return found.float() if found.is_floating_point() else found.long()
