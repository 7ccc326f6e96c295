"""The layers of a network that multiply with a matrix, in the order in which they are called."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.factors import is_transposed_linear
from autoopt.replay import replay
from autoopt.techniques._trial import BROKEN
from autoopt.techniques._units import Slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoopt.plan import Edit
    from autoopt.task import Task
    from autoopt.techniques._units import UnitGroup

# How far a cut network may be from the same network with zeros, as a share of the output's norm.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class MatrixLayer:
    """A linear layer, or the `Conv1D` of transformers, which is one stored the other way round.

    Attributes
    ----------
    name
        Dotted name.
    taken, given
        Widths of what goes in and comes out.
    transposed
        Whether the weight is (in, out).
    """

    name: str
    taken: int
    given: int
    transposed: bool

    def rows(self, units: tuple[tuple[int, ...], ...]) -> Slice:
        """Return where outputs lie, given the outputs of each unit."""
        return Slice(f"{self.name}.weight", int(self.transposed), units)

    def columns(self, units: tuple[tuple[int, ...], ...]) -> Slice:
        """Return where inputs lie, given the inputs of each unit."""
        return Slice(f"{self.name}.weight", int(not self.transposed), units)


def called_layers(model: nn.Module, task: Task) -> list[MatrixLayer]:
    """Return the matrix layers that are called exactly once and share no weight, in order.

    Raises
    ------
    RefusedError
        If the network does not run.
    """
    network = copy.deepcopy(model).eval()
    users = Counter(id(p) for _, p in network.named_parameters(remove_duplicate=False))
    calls: list[str] = []

    def hook_for(name: str) -> Callable[..., None]:
        return lambda *_: calls.append(name)

    with ExitStack() as stack, torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear) or is_transposed_linear(module):
                stack.callback(module.register_forward_hook(hook_for(name)).remove)
        try:
            task.forward(network, task.example)
        except BROKEN as error:
            raise RefusedError(f"the network does not run: {error}") from error
    times = Counter(calls)
    found = (_layer(network, name) for name in calls if times[name] == 1)
    return [
        layer
        for layer in found
        if layer is not None and users[id(network.get_parameter(f"{layer.name}.weight"))] == 1
    ]


def same_as_zeroed(
    model: nn.Module, task: Task, group: UnitGroup, edits: Sequence[Edit], gone: Sequence[int]
) -> bool:
    """Say whether cutting units gives what zeroing their columns gives: then the cut is right."""
    zeroed = copy.deepcopy(model).eval()
    for slice_ in group.consumers:
        slice_.zero(zeroed, gone)
    try:
        with torch.no_grad():
            expected = task.forward(zeroed, task.example)
            found = task.forward(replay(model, edits).eval(), task.example)
    except BROKEN:
        return False
    if found.shape != expected.shape:
        return False
    error = float((found - expected).norm())
    return error <= TOLERANCE * float(expected.norm()) + 1e-6


def _layer(network: nn.Module, name: str) -> MatrixLayer | None:
    module: Any = network.get_submodule(name)
    weight = module._parameters.get("weight")
    if weight is None or not weight.is_floating_point():
        return None
    transposed = is_transposed_linear(module)
    given, taken = weight.shape[::-1] if transposed else weight.shape
    return MatrixLayer(name, taken, given, transposed)
