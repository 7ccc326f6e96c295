"""The one tensor that counts in what a model returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from autoopt.errors import ModelError


def output_tensor(output: Any) -> torch.Tensor:
    """Return the tensor of a model's output.

    A tensor is itself; a dict or an object has it under ``logits``, or as its only floating
    tensor; of a tuple or list it is the first value.

    Raises
    ------
    ModelError
        If there is none, or it does not hold floating numbers.
    """
    if isinstance(output, torch.Tensor):
        if not output.is_floating_point():
            raise ModelError(
                f"the model must return scores or values in floating point, but got {output.dtype}."
                " Return the logits: classes are taken from them by autoopt."
            )
        return output
    if isinstance(output, Mapping):
        if isinstance(output.get("logits"), torch.Tensor):
            return output_tensor(output["logits"])
        floating = [
            value
            for value in output.values()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        ]
        if len(floating) == 1:
            return floating[0]
        raise ModelError(
            "a model that returns a dict must hold 'logits' or exactly one floating tensor, "
            f"but got the keys {sorted(map(str, output))}."
        )
    if isinstance(getattr(output, "logits", None), torch.Tensor):
        return output_tensor(output.logits)
    if isinstance(output, (tuple, list)) and output:
        return output_tensor(output[0])
    raise ModelError(
        "a model must return a tensor, a dict with 'logits' or a tuple that starts with a tensor, "
        f"but got {type(output).__name__}."
    )
