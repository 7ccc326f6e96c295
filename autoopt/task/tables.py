"""Arrays of NumPy, torch or pandas as inputs and targets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch

from autoopt.errors import DataError


def is_pandas(value: Any) -> bool:
    """Say whether `value` is a DataFrame or a Series, without importing pandas."""
    # Whoever has such a value has imported pandas.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))


def is_array(value: Any) -> bool:
    """Say whether `value` is an array: NumPy, torch, pandas or a flat list of numbers."""
    if isinstance(value, (np.ndarray, torch.Tensor)) or is_pandas(value):
        return True
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, (int, float, np.generic)) for item in value)
    )


def is_arrays(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Say whether `value` is a dict of arrays."""
    return isinstance(value, Mapping) and bool(value) and all(map(is_array, value.values()))


def plain(value: Any, name: str) -> Any:
    """Return pandas values as NumPy; all else unchanged.

    Raises
    ------
    DataError
        If a column does not hold numbers; the message names the columns.
    """
    if isinstance(value, Mapping):
        return {key: plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(plain(item, f"{name}[{i}]") for i, item in enumerate(value))
    if not is_pandas(value):
        return value
    frame = value.to_frame() if value.ndim == 1 else value
    wrong = [
        f"{column} ({kind})"
        for column, kind in frame.dtypes.items()
        if getattr(kind, "kind", "O") not in "biuf"
    ]
    if wrong:
        raise DataError(
            f"{name} must hold numbers, but these columns do not: {', '.join(wrong)}. Encode them "
            "as the model was trained on them."
        )
    # Nullable columns (Int64, boolean) turn their missing values into NaN, which is found later.
    missing = bool(frame.isna().to_numpy().any())
    return value.to_numpy(dtype="float64", na_value=np.nan) if missing else value.to_numpy()


def labels_rule(y: Any) -> str:
    """Say what is wrong with labels that are no array."""
    got, advice = f"a {type(y).__name__}", "Use np.asarray(y)."
    if isinstance(y, (list, tuple, set)) and any(isinstance(item, str) for item in y):
        got += " of text"
        advice = "Number the classes from 0 in the order of the model's outputs."
    return (
        f"y must be an array of numbers (NumPy, torch, pandas or a flat list), but is {got}. "
        f"{advice}"
    )


def check_lengths(batch: Any) -> None:
    """Hold that X and y have as many rows.

    Raises
    ------
    DataError
        If they differ; the message names both lengths.
    """
    x, y = batch
    by_rows = isinstance(x, tuple) and np.ndim(y) > 0 and len(x) == len(y)
    if by_rows and not all(is_array(item) and np.shape(item)[:1] == (len(y),) for item in x):
        raise DataError(
            "X must be an array, or a tuple of arrays if the model has several inputs, but it has "
            f"one item for each of the {len(y)} rows of y. Use np.asarray(X)."
        )
    items = list(x.values()) if isinstance(x, Mapping) else x
    for item in items if isinstance(items, (tuple, list)) else [items]:
        if np.ndim(item) == 0 or np.ndim(y) == 0 or len(item) != len(y):
            raise DataError(
                "X and y must have the same number of rows, but X has the shape "
                f"{tuple(np.shape(item))} and y {tuple(np.shape(y))}."
            )
