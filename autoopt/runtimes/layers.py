"""Layers of a network whose weights can be quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization
    from autoopt.task import Task


def refuse_layers(request: Quantization, task: Task) -> str | None:
    """Say that a request leaves no layer of the task's model to quantize, or None."""
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    count = sum(isinstance(module, kinds) for module in task.model.modules())
    if request.name not in {"static", "weight_only"}:
        return None
    if not count:
        return "the model has no linear layer and no convolution whose weights could be quantized."
    if request.name == "static" and request.keep == "first_last" and count <= 2:
        return (
            f"the model has {count} layers with weights, so keeping the first and the last in "
            "float leaves none to quantize; ask for keep='none'."
        )
    return None
