"""Hidden units of LSTMs, GRUs and plain recurrent layers, with all their gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from autoopt.plan import Keep
from autoopt.techniques._call_order import called_layers, same_as_zeroed
from autoopt.techniques._units import FoundUnits, Slice, UnitGroup

if TYPE_CHECKING:
    from autoopt.task import Task

NO_RECURRENT = (
    "the network has no recurrent layer whose hidden units go to one linear or recurrent layer "
    "alone"
)


@dataclass(frozen=True)
class _Recurrent:
    """A recurrent layer and the one layer that takes what it gives."""

    name: str
    size: int
    directions: int
    producers: tuple[Slice, ...]
    consumers: tuple[Slice, ...]
    taker: str

    def group(self) -> UnitGroup:
        return UnitGroup(self.name, self.size, self.producers, self.consumers)

    def edits(self, kept: Sequence[int]) -> list[Keep]:
        units = tuple(kept)
        taken = tuple(way * self.size + unit for way in range(self.directions) for unit in units)
        return [Keep(self.name, "out", units), Keep(self.taker, "in", taken)]


class RecurrentUnits(FoundUnits):
    """The hidden units of recurrent layers; all layers and directions of one keep the same.

    Parameters
    ----------
    model
        Stays as it was.
    task
        Gives the example and runs the network.

    Raises
    ------
    RefusedError
        If there is none that can be cut.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__(_recurrent(model, task), NO_RECURRENT)


def _recurrent(model: nn.Module, task: Task) -> Iterator[_Recurrent]:
    takers = list(_takers(model, task))
    users = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for name, module in model.named_modules():
        if not isinstance(module, nn.RNNBase) or module.proj_size or module.hidden_size < 2:
            continue
        if any(users[id(parameter)] > 1 for parameter in module.parameters(recurse=False)):
            continue
        width = module.hidden_size * (2 if module.bidirectional else 1)
        for taker, weights, taken in takers:
            if taken != width or taker == name:
                continue
            found = _described(name, module, taker, weights)
            odd, even = range(1, found.size, 2), range(0, found.size, 2)
            if same_as_zeroed(model, task, found.group(), found.edits(even), odd):
                yield found
                break


def _takers(model: nn.Module, task: Task) -> Iterator[tuple[str, tuple[tuple[str, int], ...], int]]:
    """Yield name, weights with the axis of their inputs, and width of what may take units."""
    for layer in called_layers(model, task):
        yield layer.name, ((f"{layer.name}.weight", int(not layer.transposed)),), layer.taken
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            first = [
                way for way in ("weight_ih_l0", "weight_ih_l0_reverse") if hasattr(module, way)
            ]
            yield name, tuple((f"{name}.{way}", 1) for way in first), module.input_size


def _described(
    name: str, module: Any, taker: str, weights: tuple[tuple[str, int], ...]
) -> _Recurrent:
    """Return where the units lie: rows of all gates, columns of what takes the hidden state."""
    size, ways = module.hidden_size, 2 if module.bidirectional else 1
    gates = module.weight_hh_l0.shape[0] // size
    rows = tuple(tuple(gate * size + unit for gate in range(gates)) for unit in range(size))
    inner = tuple((unit,) for unit in range(size))
    outer = tuple(tuple(way * size + unit for way in range(ways)) for unit in range(size))
    own = [n for n, p in module.named_parameters(recurse=False) if p.ndim > 1]
    columns = [Slice(weight, axis, outer) for weight, axis in weights]
    for weight in own:
        if weight.startswith("weight_hh"):
            columns.append(Slice(f"{name}.{weight}", 1, inner))
        elif not weight.startswith("weight_ih_l0"):
            columns.append(Slice(f"{name}.{weight}", 1, outer))
    producers = tuple(Slice(f"{name}.{weight}", 0, rows) for weight in own)
    return _Recurrent(name, size, ways, producers, tuple(columns), taker)
