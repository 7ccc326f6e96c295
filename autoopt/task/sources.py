"""The forms that data may have, and how they are told apart.

====================================  =====================================================
``(train, valid)``                    each a loader, a dataset, or a pair or dict of arrays
``(train, valid, test)``              the same with a test part of its own
``{"train": …, "validation": …}``     the same by name (as a ``DatasetDict``), ``test`` optional
a DataLoader or a Dataset             map-style, or iterable if it fits in memory
``(X, y)``                            NumPy, torch or pandas; X may be a tuple or dict of arrays
``{"input_ids": …, "labels": …}``     a dict of arrays
====================================  =====================================================

A tuple (or list) of two is ``(X, y)`` if its *second* value is an array (NumPy, torch, pandas, a
flat list of numbers), and ``(train, valid)`` otherwise. A longer list is a dataset of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils import data as torch_data

from autoopt.errors import DataError
from autoopt.task.layout import Signature
from autoopt.task.loaders import Source, open_arrays, open_dataset, open_loader
from autoopt.task.tables import check_lengths, is_array, is_arrays, labels_rule, plain

FORMS = (
    "Give (X, y) arrays, one DataLoader or Dataset, (train, valid) or (train, valid, test) of "
    "loaders, datasets or (X, y) pairs, or a dict of arrays with labels."
)
VALIDATION_NAMES = ("validation", "valid", "val", "eval")


@dataclass(frozen=True)
class Sources:
    """What the person gave: the whole, or parts already split."""

    train: Source
    valid: Source | None = None
    test: Source | None = None

    @property
    def all(self) -> tuple[Source, ...]:
        """The sources that are there."""
        return tuple(s for s in (self.train, self.valid, self.test) if s is not None)


def open_data(data: Any, signature: Signature) -> Sources:
    """Read data of any of the forms above.

    Raises
    ------
    DataError
        If the form is none of them, or there are no labels.
    """
    parts = _parts(data)
    if parts is None:
        return Sources(_open(data, signature, "data"))
    names = ("training data", "validation data", "test data")
    sources = [_open(part, signature, name) for part, name in zip(parts, names, strict=False)]
    keys = {source.layout.keys for source in sources}
    if len(keys) > 1:
        raise DataError(
            f"all parts must have batches of one form, but their keys are {sorted(map(str, keys))}."
        )
    return Sources(*sources)


def _parts(data: Any) -> tuple[Any, ...] | None:
    """Return train, valid and perhaps test, or None if `data` is one source."""
    if isinstance(data, Mapping) and "train" in data and not is_arrays(data):
        valid = next((data[name] for name in VALIDATION_NAMES if name in data), None)
        if valid is None:
            raise DataError(
                f"data with a 'train' part must have a part named {' or '.join(VALIDATION_NAMES)}, "
                f"but got {sorted(map(str, data))}."
            )
        return (data["train"], valid) + ((data["test"],) if "test" in data else ())
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3) or is_array(data):
        return None
    if data[-1] is None:
        raise DataError(f"data must have labels, but its last value is None. {FORMS}")
    arrays = is_array(data[-1])
    if len(data) == 2 and is_array(data[0]) and not arrays:
        # One array alone is no training data, so this is meant as (X, y).
        raise DataError(labels_rule(data[1]))
    if arrays and len(data) == 3:
        raise DataError(
            "three values must be (train, valid, test), but the last is an array. For several "
            "inputs give ((X1, X2), y)."
        )
    return None if arrays else tuple(data)


def _open(data: Any, signature: Signature, name: str) -> Source:
    if isinstance(data, torch_data.DataLoader):
        return open_loader(data, signature, name)
    if isinstance(data, torch_data.Dataset):
        return open_dataset(data, signature, name)
    if is_arrays(data):
        return open_arrays(plain(data, name), signature)
    if isinstance(data, (tuple, list)) and len(data) == 2 and is_array(data[1]):
        batch = (plain(data[0], "X"), plain(data[1], "y"))
        check_lengths(batch)
        return open_arrays(batch, signature)
    if is_array(data):
        raise DataError(f"the {name} must have labels, but got one array. {FORMS}")
    if isinstance(data, (str, bytes, tuple, Mapping)) or not (
        hasattr(data, "__getitem__") and hasattr(data, "__len__")
    ):
        raise DataError(f"the {name} has a form that is not known: {type(data).__name__}. {FORMS}")
    return open_dataset(data, signature, name)
