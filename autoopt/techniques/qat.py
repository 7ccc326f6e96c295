"""Quantization-aware training: the network learns with its weights rounded as they will be."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoopt.errors import DivergedError
from autoopt.precision import (
    Grid,
    Stored,
    Weight,
    as_rows,
    holders,
    on_range,
    quantizable,
    shaped,
    store,
)
from autoopt.precision.grids import nearest
from autoopt.techniques._bounds import check_choice
from autoopt.techniques._training import check_course, train

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.task import Inputs, Task

# What torch's own attention projects.
_PROJECTED = ("query", "key", "value")
# Steps between two searches for the best scale; weights move little in so few.
REFRESH = 16


@dataclass(frozen=True)
class QuantizationAwareTraining:
    """Train on with rounded weights (Jacob et al., arXiv 1712.05877).

    Gradients pass the rounding as if it were not there (the straight-through estimator, Bengio et
    al., arXiv 1308.3432). With 8 bits what comes into each layer is rounded too, because such a
    network will compute in integers. What comes back is a plain network in float32 whose weights
    lie on the grid; its recipe's quantization is the one it was trained for.

    Attributes
    ----------
    bits
        Bits a weight takes: 8, 4 or 2.
    scheme
        With 8 bits of the activations, otherwise of the weights: evenly about zero, or from the
        least to the largest value.
    epochs
        Passes over the train part at most; fewer when the original's quality is reached or
        the validation loss stagnates (half of the epochs, at least four).
    learning_rate
        The highest one of the schedule.
    """

    bits: Literal[8, 4, 2] = 8
    scheme: Literal["symmetric", "affine"] = "symmetric"
    epochs: int = 4
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_course(self.epochs, self.learning_rate)
        check_choice("bits", self.bits, (8, 4, 2))
        check_choice("scheme", self.scheme, ("symmetric", "affine"))

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that there is no layer to train rounded, or None."""
        if self._reached(task.model):
            return None
        return "the model has no layer whose weights could be rounded"

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy in eval mode, its weights on the grid.

        Raises
        ------
        DivergedError
            If the loss or a weight is no longer finite.
        """

        def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
            return task.loss(outputs, targets)

        rounded = self._rounded(copy.deepcopy(model))
        network = train(rounded, task, loss, epochs=self.epochs, learning_rate=self.learning_rate)
        return _plain(network)

    def _rounded(self, network: nn.Module) -> nn.Module:
        """Make layers round their weights, and with 8 bits their inputs, in place."""
        # Integers are multiplied with weights that lie evenly about zero, in every runtime.
        grid = Grid(self.bits, "symmetric" if self.bits == 8 else self.scheme)
        for weight in self._reached(network):
            layer, parameter = weight.layer, weight.parameter
            if parametrize.is_parametrized(layer, parameter):
                # Tied to one that came before.
                continue
            rounded = _RoundedWeight(grid, turned=weight.turned)
            for module, name in holders(network, weight):
                parametrize.register_parametrization(module, name, rounded)
            if self.bits == 8:
                rounding = _RoundedInput(self.scheme == "symmetric")
                layer.register_forward_pre_hook(rounding, with_kwargs=True)
        return network

    def _reached(self, network: nn.Module) -> list[Weight]:
        """Return what is rounded: no runtime multiplies recurrent matrices in int8."""
        found = quantizable(network).values()
        return [weight for weight in found if self.bits != 8 or not weight.recurrent]


class _RoundedWeight(nn.Module):
    """Gives the nearest weights on a grid, with the gradient of the identity.

    Parameters
    ----------
    grid
        Where weights lie.
    turned
        Whether output channels lie along their second axis.
    """

    def __init__(self, grid: Grid, *, turned: bool = False) -> None:
        super().__init__()
        self.grid, self.turned = grid, turned
        self._stored: Stored | None = None
        self._steps = 0

    def forward(self, weight: Tensor) -> Tensor:
        """Round; what is judged or kept is rounded with the best scale, not with a recent one."""
        rows = as_rows(weight, turned=self.turned)
        if not np.isfinite(rows).all():
            raise DivergedError(
                "A weight to be rounded is not finite: training diverged; a lower learning rate "
                "may help."
            )
        if not self.training or self._stored is None or self._steps % REFRESH == 0:
            self._stored = store(rows, self.grid)
            found = self._stored
        else:
            found = _again(rows, self._stored)
        self._steps += self.training
        rounded = shaped(found.restored(), weight, turned=self.turned)
        return weight + (rounded - weight).detach()


def _again(rows: Any, before: Stored) -> Stored:
    """Return weights on the grid that was found for them a few steps before."""
    codes = nearest(rows, before.scales, before.zeros, before.grid)
    return Stored(before.grid, before.bits, codes, before.scales, before.zeros, before.codebook)


@dataclass(frozen=True)
class _RoundedInput:
    """A hook that rounds what comes into a layer to 8 bits over the range of the batch."""

    symmetric: bool

    def __call__(
        self, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Round what the weight multiplies, with the gradient of the identity."""
        if not isinstance(layer, nn.MultiheadAttention):
            if inputs:
                return (self._rounded(inputs[0]), *inputs[1:]), named
            first = next(iter(named))
            return inputs, {**named, first: self._rounded(named[first])}
        # Where query, key and value are one tensor they must stay one: it is projected at once.
        given = {id(x): x for x in [*inputs[:3], *(named.get(name) for name in _PROJECTED)]}
        rounded = {key: self._rounded(x) for key, x in given.items() if x is not None}
        taken = (*(rounded[id(x)] for x in inputs[:3]), *inputs[3:])
        changed = {name: rounded[id(named[name])] for name in _PROJECTED if name in named}
        return taken, {**named, **changed}

    def _rounded(self, x: Any) -> Any:
        if not x.is_floating_point():
            return x
        rounded = on_range(x.detach().float(), symmetric=self.symmetric)
        return x + (rounded.to(x.dtype) - x).detach()


def _plain(network: nn.Module) -> nn.Module:
    """Make the rounded weights plain ones, in place."""
    for layer in list(network.modules()):
        for parameter, chain in list(getattr(layer, "parametrizations", {}).items()):
            # The person's own, such as a weight norm, stay.
            if isinstance(chain[0], _RoundedWeight):
                parametrize.remove_parametrizations(layer, parameter, leave_parametrized=True)
        hooks = layer._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if isinstance(hook, _RoundedInput)]:
            del hooks[key]
            layer._forward_pre_hooks_with_kwargs.pop(key, None)
        if isinstance(layer, nn.RNNBase):
            # It keeps a list of its weights, which are other ones now; converting renews it.
            layer.float()
    return network.eval()
