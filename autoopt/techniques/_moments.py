"""What the inputs of layers look like on calibration data: their second moments."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from autoopt.task import Task

SAMPLES = 256
BATCH = 32
# Above this width a full matrix costs more than it tells; its diagonal stays.
WIDEST = 4096
MOST_VALUES = 1 << 22
"""Values of the patches that are cut out at a time: 32 MB in float64."""


def second_moments(model: nn.Module, task: Task, names: Iterable[str]) -> dict[str, Tensor]:
    """Return E[x xᵀ] of what each named layer multiplies its weight with, in float64.

    Shape (inputs, inputs) in the order of `as_matrix`, or (inputs,), the diagonal alone, of layers
    wider than `WIDEST`; of a convolution x is a patch. Layers that saw nothing, and convolutions
    whose patches cannot be cut out, are left out.
    """
    network = copy.deepcopy(model).eval()
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def hook_for(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            for part in _parts(module, (*args, *named.values())[0]):
                rows = _rows(module, part)
                if rows is None or not len(rows):
                    return
                rows = rows.double()
                total = rows.T @ rows if rows.shape[1] <= WIDEST else rows.square().sum(0)
                sums[name] = sums[name] + total if name in sums else total
                counts[name] = counts.get(name, 0) + len(rows)

        return hook

    with ExitStack() as stack, torch.no_grad():
        for name in names:
            layer = network.get_submodule(name)
            handle = layer.register_forward_pre_hook(hook_for(name), with_kwargs=True)
            stack.callback(handle.remove)
        seen = 0
        for inputs, _ in task.calibration.batches(BATCH):
            task.forward(network, inputs)
            seen += len(inputs[0])
            if seen >= SAMPLES:
                break
    return {name: total / counts[name] for name, total in sums.items()}


def _parts(module: Any, x: Tensor) -> Sequence[Tensor]:
    """Return the input in pieces along its first axis whose patches take bounded memory.

    A convolution's patches are as many times its input as its kernel has places.
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or not len(x):
        return (x,)
    each = x[0].numel() * math.prod(module.kernel_size)
    parts: Sequence[Tensor] = x.split(max(1, MOST_VALUES // max(1, each)))
    return parts


def _rows(module: Any, x: Tensor) -> Tensor | None:
    """Return the vectors that the weight multiplies, one a row."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return x.detach().reshape(-1, x.shape[-1])
    if isinstance(module, nn.Conv3d) or isinstance(module.padding, str):
        return None
    x = x.detach()
    sides = [module.kernel_size, module.dilation, module.padding, module.stride]
    if isinstance(module, nn.Conv1d):
        # A series is an image of one row.
        x = x.unsqueeze(-2)
        sides = [(first, *side) for first, side in zip((1, 1, 0, 1), sides, strict=True)]
    return F.unfold(x, *sides).transpose(1, 2).flatten(0, 1)
