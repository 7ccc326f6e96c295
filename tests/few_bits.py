"""Whether a network loses its answers by few bits alone, or an artefact does not say its bits."""

from __future__ import annotations

import copy
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn

from autoopt.errors import DisagreementError
from autoopt.interfaces import Parallel, Quantization
from autoopt.precision import quantizable
from autoopt.runtimes import load_runtime
from autoopt.runtimes.agreement import check_agreement
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layers import grid_of, layer_bits
from autoopt.task import Task

if TYPE_CHECKING:
    from autoopt.interfaces import Array

CHECK = "autoopt.runtimes.finish.check_agreement"


def lost_by_bits(network: nn.Module, request: Quantization, runtime: str, task: Task) -> str | None:
    """Say that a network with its weights in so few bits answers otherwise in torch too, or None.

    None as well where nothing is stored, or where the artefact disagrees with those weights: then
    the runtime is wrong, not the request.
    """
    if not request.stores or request.share:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # The build itself would refuse what it has made, and leave nothing to look at.
        with patch(CHECK, lambda *_, **__: {}):
            load_runtime(runtime).build(network, request, task, folder)
        realised = read_manifest(folder).realised
        rounded = on_grid(network, request, list(realised["layers"]))
        with closing(load_runtime(runtime).load(folder, Parallel(1))) as deployment:
            try:
                check_agreement(rounded, deployment, task, precision="float32")
            except DisagreementError:
                return None
    try:
        check_agreement(network, _served(rounded, task), task, precision=realised["precision"])
    except DisagreementError as loss:
        return f"too few bits for this network without training: {loss}"
    return None


def on_grid(network: nn.Module, request: Quantization, order: list[str]) -> nn.Module:
    """Return a copy whose weights are the nearest that a request has, layers in a given order."""
    rounded = copy.deepcopy(network)
    weights = quantizable(rounded)
    for name, bits in layer_bits(request, order).items():
        if bits < 32:
            weights[name].tensor.data = weights[name].on_grid(grid_of(request, bits))
    return rounded


def _served(network: nn.Module, task: Task) -> Any:
    """Return a network as something that is served: arrays in, an array out."""

    def answer(*arrays: Array) -> Array:
        with torch.no_grad():
            outputs = task.forward(network, tuple(torch.from_numpy(x) for x in arrays))
        found: Array = outputs.numpy()
        return found

    return answer
