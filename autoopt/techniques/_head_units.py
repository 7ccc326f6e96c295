"""Attention heads: found by what projections are called, checked by cutting one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from autoopt.plan import Assign, Keep
from autoopt.techniques._call_order import MatrixLayer, called_layers, same_as_zeroed
from autoopt.techniques._units import FoundUnits, UnitGroup

if TYPE_CHECKING:
    from autoopt.plan import Edit
    from autoopt.task import Task

_SEPARATE = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("to_q", "to_k", "to_v"),
    ("q", "k", "v"),
    ("wq", "wk", "wv"),
)
_FUSED = ("c_attn", "qkv", "qkv_proj", "in_proj", "query_key_value")
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "heads", "nhead")
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
_WIDTHS = ("head_dim", "attention_head_size", "dim_head", "key_value_proj_dim", "head_size")
_TOTALS = ("all_head_size", "split_size", "inner_dim", "dim")
NO_HEADS = (
    "no attention was found whose heads could be cut: it takes linear layers named as usual "
    "(query, key and value; q_proj, k_proj and v_proj; c_attn; qkv) and the number of heads or "
    "their width as an attribute of their module"
)

PACKED_HEADS = (
    "the heads of {!r} (MultiheadAttention) cannot be cut: it insists on heads that are together "
    "as wide as its input; its feed-forward channels can be"
)

Indices = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Attention:
    """What of which layer belongs to a head, or to a group of heads that share one key."""

    name: str
    producers: tuple[tuple[MatrixLayer, Indices], ...]
    give: MatrixLayer
    columns: Indices
    numbers: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        return len(self.columns)

    def group(self) -> UnitGroup:
        return UnitGroup(
            self.name,
            self.size,
            tuple(layer.rows(indices) for layer, indices in self.producers),
            (self.give.columns(self.columns),),
            aligned=False,
        )

    def edits(self, kept: Sequence[int]) -> list[Edit]:
        outs: list[Edit] = [
            Keep(layer.name, "out", _flat(indices, kept)) for layer, indices in self.producers
        ]
        # Every number is a multiple of the heads that hold a key of their own.
        numbers: list[Edit] = [
            Assign(self.name, attribute, value // self.size * len(kept))
            for attribute, value in self.numbers
        ]
        return [*outs, Keep(self.give.name, "in", _flat(self.columns, kept)), *numbers]


class HeadUnits(FoundUnits):
    """The attention heads of a network; heads that share a key go together.

    Parameters
    ----------
    model
        Stays as it was.
    task
        Gives the example and runs the network.

    Raises
    ------
    RefusedError
        If there is no attention whose heads could be cut.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        packed = [n for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)]
        none = PACKED_HEADS.format(packed[0]) if packed else NO_HEADS
        super().__init__(_attentions(model, task), none)


def _attentions(model: nn.Module, task: Task) -> Iterator[_Attention]:
    layers = called_layers(model, task)
    for name, module in model.named_modules():
        for found in (*_separate(name, module, layers), *_fused(name, module, layers)):
            # A single head is never cut, but it counts.
            kept = range(1, found.size)
            if found.size == 1 or same_as_zeroed(
                model, task, found.group(), found.edits(kept), [0]
            ):
                yield found
                break


def _separate(name: str, module: nn.Module, layers: list[MatrixLayer]) -> Iterator[_Attention]:
    """Yield what three projections may mean."""
    by_name = {layer.name: place for place, layer in enumerate(layers)}
    for names in _SEPARATE:
        places = [by_name.get(f"{name}.{child}" if name else child) for child in names]
        if None in places:
            continue
        query, key, value = (layers[place] for place in places if place is not None)
        width = _head_width(module, query.given)
        give = _next(layers, max(place for place in places if place is not None), query.given)
        if width is None or give is None or key.given % width or query.given % key.given:
            continue
        heads, shared = key.given // width, query.given // key.given
        wide, narrow = _blocks(heads, width * shared), _blocks(heads, width)
        producers = ((query, wide), (key, narrow), (value, narrow))
        numbers = _numbers(module, heads * shared, heads, query.given)
        yield _Attention(name, producers, give, wide, numbers)


def _fused(name: str, module: nn.Module, layers: list[MatrixLayer]) -> Iterator[_Attention]:
    """Yield what one projection to query, key and value may mean: all of one, or head by head."""
    by_name = {layer.name: place for place, layer in enumerate(layers)}
    for child in _FUSED:
        place = by_name.get(f"{name}.{child}" if name else child)
        if place is None or layers[place].given % 3:
            continue
        fused, total = layers[place], layers[place].given // 3
        width, give = _head_width(module, total), _next(layers, place, total)
        if width is None or give is None:
            continue
        heads = total // width
        columns = _blocks(heads, width)
        parts = tuple(
            tuple(part * total + index for part in range(3) for index in own) for own in columns
        )
        numbers = _numbers(module, heads, heads, total)
        for rows in (parts, _blocks(heads, 3 * width)):
            yield _Attention(name, ((fused, rows),), give, columns, numbers)


def _head_width(module: Any, total: int) -> int | None:
    """Return the width of one head by the module's own attributes, or None."""
    for attribute in _WIDTHS:
        width = getattr(module, attribute, None)
        if type(width) is int and 0 < width <= total and total % width == 0:
            return width
    for attribute in _HEADS:
        heads = getattr(module, attribute, None)
        if type(heads) is int and 0 < heads <= total and total % heads == 0:
            return total // heads
    return None


def _numbers(module: Any, heads: int, keys: int, total: int) -> tuple[tuple[str, int], ...]:
    """Return the attributes that say how many heads there are, or how wide all are together."""
    wanted = [(name, heads) for name in _HEADS] + [(name, keys) for name in _KEY_HEADS]
    wanted += [(name, total) for name in _TOTALS]
    return tuple(
        (name, value)
        for name, value in wanted
        if type(getattr(module, name, None)) is int and getattr(module, name) == value
    )


def _next(layers: list[MatrixLayer], place: int, taken: int) -> MatrixLayer | None:
    """Return the layer called right after a place, if it takes what the heads give."""
    after = layers[place + 1 : place + 2]
    return after[0] if after and after[0].taken == taken else None


def _blocks(count: int, width: int) -> Indices:
    return tuple(tuple(range(unit * width, (unit + 1) * width)) for unit in range(count))


def _flat(indices: Indices, kept: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(place for unit in kept for place in indices[unit]))
