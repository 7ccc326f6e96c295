"""Tensor parallel: each process holds a part of every layer, and they exchange what they compute.

A layer whose outputs only go through operators that treat channels one by one, into another layer,
is split with it: the first by its outputs, the second by its inputs, so that one sum over the
processes is all they exchange (Shoeybi et al., Megatron-LM, arXiv 1909.08053). Other layers are
split by their outputs, which are then gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.fx import GraphModule, Node

from autoopt.errors import RefusedError
from autoopt.runtimes.graph_work import kind_of, numbers_of, shape_of

LAYERS: Mapping[str, int] = {"linear": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}
"""Operators that are split, and the axis of their channels; weights are outputs first."""

GROUPS = 6
"""Place of the number of groups among a convolution's arguments."""

BY_ELEMENT = frozenset(
    {"relu", "relu_", "relu6", "relu6_", "gelu", "silu", "silu_", "hardswish", "hardswish_",
     "hardtanh", "hardtanh_", "sigmoid", "tanh", "leaky_relu", "leaky_relu_", "elu", "elu_",
     "mish", "mish_", "dropout", "clone", "contiguous", "alias", "detach"}
)  # fmt: skip
"""Operators between two layers that leave every number in its place."""

BY_CHANNEL = frozenset(
    {"max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
     "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d"}
)  # fmt: skip
"""Operators between two convolutions that treat every channel by itself."""

NORM = "batch_norm"
FEWEST = 256
"""Weights below which a layer that has to be gathered is computed by everybody."""


@dataclass(frozen=True)
class Shard:
    """The shard of one process: a whole graph of parts of layers.

    Attributes
    ----------
    rank
        Which it is; the first one has the answer.
    module
        Exchanges with the others while it runs.
    """

    rank: int
    module: GraphModule

    @classmethod
    def of(cls, program: Any, rank: int, count: int) -> Shard:
        """Keep one part of every layer of a program.

        Raises
        ------
        RefusedError
            If there is no layer that can be split into that many.
        """
        return cls(rank, split_layers(program, rank, count))

    def run(self, chunks: Sequence[Sequence[Tensor]]) -> list[Tensor] | None:
        """Compute all chunks together with the other shards."""
        answers = [_only(self.module(*chunk)) for chunk in chunks]
        return answers if self.rank == 0 else None


def split_layers(program: Any, rank: int, count: int) -> GraphModule:
    """Return a program whose layers hold one of `count` parts and exchange results.

    Raises
    ------
    RefusedError
        If there is no layer that can be split.
    """
    graph = program.graph
    cutter = _Cutter(program, rank, count)
    done: set[Node] = set()
    for node in list(graph.nodes):
        if node in done or not _can_split(node, 0, count):
            continue
        between = _way_to_partner(node, count)
        if between is not None:
            *middle, partner = between
            done |= {node, partner}
            cutter.by_outputs(node)
            for inner in middle:
                cutter.between(inner)
            cutter.by_inputs(partner)
        elif numbers_of(_held(node)) >= FEWEST:
            done.add(node)
            cutter.by_outputs(node)
            cutter.gather(node)
    if not done:
        raise RefusedError(
            f"no layer of this network can be split into {count} shards: there is no linear layer "
            f"or ungrouped convolution of {FEWEST} float weights or more whose channels {count} "
            "divides; use fewer shards, or replicas."
        )
    graph.eliminate_dead_code()
    # A new module takes only what its graph names: the whole weights go.
    return GraphModule(program, graph)


@dataclass(frozen=True)
class _Cutter:
    """Changes layers of a graph to the part of one process."""

    program: Any
    rank: int
    count: int

    def by_outputs(self, node: Node) -> None:
        """Let a layer compute some of its outputs."""
        self._cut(node, 1, 0)
        if _bias(node) is not None:
            self._cut(node, 2, 0)

    def by_inputs(self, node: Node) -> None:
        """Let a layer compute from some of its inputs, and add up what all have computed."""
        self._cut(node, 1, 1)
        if self.rank and _bias(node) is not None:
            # Only one adds it.
            node.args = (*node.args[:2], None, *node.args[3:])
        self._after(node, summed)

    def between(self, node: Node) -> None:
        """Let a normalisation between two layers keep its part."""
        if kind_of(node) == NORM:
            for place in range(1, 5):
                if isinstance(node.args[place], Node):
                    self._cut(node, place, 0)

    def gather(self, node: Node) -> None:
        """Give every process the outputs of all."""
        self._after(node, gathered, LAYERS[kind_of(node)])

    def _after(self, node: Node, exchange: Callable[..., Tensor], *arguments: Any) -> None:
        graph = node.graph
        with graph.inserting_after(node):
            found = graph.call_function(exchange, (node, *arguments))
        node.replace_all_uses_with(found, delete_user_cb=lambda user: user is not found)

    def _cut(self, node: Node, place: int, axis: int) -> None:
        """Put one part of a stored tensor in its place among a node's arguments."""
        held = node.args[place]
        assert isinstance(held, Node)
        whole = _stored(self.program, str(held.target))
        size = whole.shape[axis] // self.count
        part = whole.detach().narrow(axis, self.rank * size, size).clone()
        name = f"part_{held.name}_{axis}"
        self.program.register_buffer(name, part)
        with node.graph.inserting_before(node):
            node.update_arg(place, node.graph.get_attr(name))


def summed(value: Tensor) -> Tensor:
    """Return the sum of what all processes have."""
    exact = value.contiguous()
    # Sums of few bits would lose some on the way, and gloo does not know all their types.
    wide = exact.float() if exact.element_size() < 4 else exact
    dist.all_reduce(wide)
    return wide.to(value.dtype)


def gathered(value: Tensor, axis: int) -> Tensor:
    """Return what all processes have, side by side along an axis."""
    own = value.contiguous()
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    # As bytes: gloo does not know every element type.
    dist.all_gather([_bytes(part) for part in parts], _bytes(own))
    return torch.cat(parts, axis)


def _bytes(value: Tensor) -> Tensor:
    return value.reshape(-1).view(torch.uint8)


def _only(output: Any) -> Tensor:
    """Return the one tensor of an output."""
    found: Tensor = output[0] if isinstance(output, tuple | list) else output
    return found


def _stored(program: Any, name: str) -> Tensor:
    value = program
    for part in name.split("."):
        value = getattr(value, part)
    tensor: Tensor = value
    return tensor


def _held(node: Node) -> Any:
    """Return the traced weights of a layer."""
    weights = node.args[1]
    return weights.meta.get("val") if isinstance(weights, Node) else None


def _bias(node: Node) -> Any:
    return node.args[2] if len(node.args) > 2 else None


def _can_split(node: Node, axis: int, count: int) -> bool:
    """Say whether a node is a layer with stored weights of which an axis can be divided."""
    kind = kind_of(node)
    if kind not in LAYERS or not _is_stored(node.args[1]):
        return False
    grouped = kind != "linear" and len(node.args) > GROUPS and node.args[GROUPS] != 1
    if grouped or not (_bias(node) is None or _is_stored(_bias(node))):
        return False
    return shape_of(_held(node))[axis] % count == 0


def _is_stored(node: Any) -> bool:
    return isinstance(node, Node) and node.op == "get_attr"


def _way_to_partner(node: Node, count: int) -> list[Node] | None:
    """Return the nodes from a layer to the one that can take its parts, or None."""
    family = "linear" if kind_of(node) == "linear" else "conv"
    way: list[Node] = []
    while len(node.users) == 1:
        before, node = node, next(iter(node.users))
        kind = kind_of(node)
        way.append(node)
        if not node.args or node.args[0] is not before:
            return None
        if kind.startswith(family) and _can_split(node, 1, count):
            return way
        passes = kind in BY_ELEMENT
        if family == "conv":
            passes = passes or kind in BY_CHANNEL or _plain_norm(node)
        if not passes:
            return None
    return None


def _plain_norm(node: Node) -> bool:
    """Say whether a node normalises with stored statistics."""
    if kind_of(node) != NORM or node.args[5] is not False:
        return False
    return all(_is_stored(held) for held in node.args[3:5]) and all(
        held is None or _is_stored(held) for held in node.args[1:3]
    )
