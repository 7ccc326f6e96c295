"""How much a network loses when one of its layers is quantized: the order of mixed precision.

One layer at a time is rounded to the numbers that it would have, and the outputs on calibration
data are compared with those of the untouched network (as HAWQ and ZeroQ, arXiv 2001.00281, do
without training): the Kullback–Leibler divergence where outputs are classes, otherwise the mean
squared difference over the mean square.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.precision import Grid, Weight, on_range, quantizable

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization
    from autoopt.task import Inputs, Task

SAMPLES = 256
BATCH = 64


def profile_kind(request: Quantization) -> list[Any]:
    """Return what of a request a profile depends on: the rest leaves the order as it is."""
    static = request.name == "static"
    return [static, request.bits, request.scheme, request.granularity, request.group]


def sensitivity(network: nn.Module, task: Task, request: Quantization) -> dict[str, float]:
    """Return the divergence of the outputs for each layer that is quantized on its own.

    Parameters
    ----------
    network
        In float32; stays as it was.
    task
        Gives the calibration samples and says what outputs mean.
    request
        Weights are rounded to its bits; where it is static, the layer's outputs are too.
    """
    network = copy.deepcopy(network).eval()
    batches = list(_batches(task))
    expected = _outputs(network, task, batches)
    granularity: Any = request.granularity
    scheme: Any = request.scheme
    grid = Grid(request.bits, scheme, granularity, request.group)
    losses: dict[str, float] = {}
    static = request.name == "static"
    for name, weight in quantizable(network).items():
        if static and weight.recurrent:
            continue
        with _rounded(weight, grid, outputs=static):
            losses[name] = _divergence(task, expected, _outputs(network, task, batches))
    return losses


def _batches(task: Task) -> Iterator[Inputs]:
    inputs = task.calibration.inputs(min(SAMPLES, len(task.calibration)))
    for start in range(0, len(inputs[0]), BATCH):
        yield tuple(x[start : start + BATCH] for x in inputs)


@torch.no_grad()
def _outputs(network: nn.Module, task: Task, batches: list[Inputs]) -> Tensor:
    return torch.cat([task.forward(network, inputs).float() for inputs in batches])


@contextmanager
def _rounded(weight: Weight, grid: Grid, *, outputs: bool) -> Iterator[None]:
    """Round a layer's weights, and its outputs if asked, for a while."""
    kept = weight.tensor.data
    weight.tensor.data = weight.on_grid(grid)
    hook = weight.layer.register_forward_hook(_round_outputs) if outputs else None
    try:
        yield
    finally:
        weight.tensor.data = kept
        if hook is not None:
            hook.remove()


def _round_outputs(layer: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Round to 8 bits between the least and the largest value; of attention what it gives on."""
    if isinstance(outputs, tuple):
        return (on_range(outputs[0]), *outputs[1:])
    return on_range(outputs)


def _divergence(task: Task, expected: Tensor, found: Tensor) -> float:
    axis = task.form.axis
    if axis is None:
        scale = float(expected.square().mean()) or 1.0
        return float((found - expected).square().mean()) / scale
    wanted, got = (F.log_softmax(x, dim=axis) for x in (expected, found))
    return float(F.kl_div(got, wanted, reduction="none", log_target=True).sum(dim=axis).mean())
