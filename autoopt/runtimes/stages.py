"""Pipeline parallel: a graph cut into stages of about the same work, chunks streaming through."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from autoopt.errors import RefusedError
from autoopt.runtimes.graph_work import numbers_of, work_of

SLACK = 0.1
"""Share of a stage's work by which a cut may miss its place, to let less through it."""

Value = Tensor | int


@dataclass
class Stage:
    """The stage of one process.

    Attributes
    ----------
    rank, count
        Which it is, of how many.
    module
        Takes what came through the cut before it and gives what goes through the next one.
    """

    rank: int
    count: int
    module: GraphModule
    _forms: dict[tuple[bool, int], list[Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, program: Any, rank: int, count: int) -> Stage:
        """Keep one stage of a program.

        Raises
        ------
        RefusedError
            If the program cannot be cut into that many.
        """
        return cls(rank, count, cut_stage(program, rank, count))

    def run(self, chunks: Sequence[Sequence[Tensor]]) -> list[Tensor] | None:
        """Compute the stage for chunk after chunk, while others are at other chunks."""
        answers: list[Tensor] = []
        sent: list[Any] = []
        for chunk in chunks:
            size = len(chunk[0])
            values = self._receive(size) if self.rank else list(chunk)
            found = self.module(*values)
            if self.rank == self.count - 1:
                answers.append(found[0])
            else:
                sent += self._send(found, size)
        for work, _ in sent:
            work.wait()
        return answers if self.rank == self.count - 1 else None

    def _send(self, values: Sequence[Value], size: int) -> list[tuple[Any, Tensor]]:
        """Start sending tensors to the next stage; return what must live until that is done."""
        there = self.rank + 1
        if (True, size) not in self._forms:
            # What else than the tensors' contents goes through depends on the chunk's size alone.
            self._forms[True, size] = [_form(value) for value in values]
            dist.send_object_list([self._forms[True, size]], there)
        flat = [_bytes(value) for value in values if isinstance(value, Tensor)]
        return [(dist.isend(part, there), part) for part in flat if part.numel()]

    def _receive(self, size: int) -> list[Value]:
        """Wait for what the stage before gives for one chunk."""
        there = self.rank - 1
        if (False, size) not in self._forms:
            said: list[Any] = [None]
            dist.recv_object_list(said, there)
            self._forms[False, size] = said[0]
        values: list[Value] = []
        for form in self._forms[False, size]:
            if isinstance(form, int):
                values.append(form)
                continue
            shape, kind = form
            value = torch.empty(shape, dtype=kind)
            if value.numel():
                dist.recv(_bytes(value), there)
            values.append(value)
        return values


def _form(value: Value) -> Any:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else int(value)


def _bytes(value: Tensor) -> Tensor:
    """Return a tensor's memory as bytes: gloo does not know every element type."""
    return value.contiguous().reshape(-1).view(torch.uint8)


def cut_stage(program: Any, rank: int, count: int) -> GraphModule:
    """Return one stage of a program.

    Raises
    ------
    RefusedError
        If there is no place to cut.
    """
    nodes = [node for node in program.graph.nodes if node.op != "get_attr" and not _idle(node)]
    bounds = _bounds(nodes, count)
    before = _live(nodes, bounds[rank])
    after = _live(nodes, bounds[rank + 1])
    graph = Graph()
    copies: dict[Node, Node] = {node: graph.placeholder(node.name) for node in before}

    def copied(node: Node) -> Node:
        if node not in copies:
            # A weight, which every stage that needs it holds.
            copies[node] = graph.node_copy(node, copied)
        return copies[node]

    for node in nodes[bounds[rank] : bounds[rank + 1]]:
        if node.op == "output":
            graph.output(tuple(map(copied, node.all_input_nodes)))
        else:
            copied(node)
    if rank < count - 1:
        graph.output(tuple(map(copied, after)))
    return GraphModule(program, graph)


def _idle(node: Node) -> bool:
    """Say whether a node only checks inputs, which was done before they came here."""
    return node.op == "call_module" and not node.users


def _bounds(nodes: Sequence[Node], count: int) -> list[int]:
    """Return where stages begin and end: near equal work, where the fewest numbers go through."""
    done = list(itertools.accumulate(work_of(node) for node in nodes))
    first = sum(node.op == "placeholder" for node in nodes)
    traffic = _traffic(nodes, range(first + 1, len(nodes) - 1))
    total, bounds = done[-1], [0]
    for stage in range(1, count):
        wanted = total * stage / count
        # Something has to be done on both sides of a cut.
        free = [cut for cut in traffic if cut > bounds[-1] and 0 < done[cut - 1] < total]
        free = [cut for cut in free if done[cut - 1] > (done[bounds[-1] - 1] if bounds[-1] else 0)]
        if not free:
            raise RefusedError(
                f"this network cannot be cut into {count} stages: there are not as many operators "
                "in a row that hand over nothing but tensors; use fewer stages."
            )
        nearest = min(abs(done[cut - 1] - wanted) for cut in free)
        near = [c for c in free if abs(done[c - 1] - wanted) <= nearest + SLACK * total / count]
        bounds.append(min(near, key=lambda cut: traffic[cut]))
    return [*bounds, len(nodes)]


def _traffic(nodes: Sequence[Node], cuts: range) -> Mapping[int, int]:
    """Return the cuts that only tensors and numbers go through, and how many numbers that is."""
    found = {}
    for cut in cuts:
        values = [node.meta.get("val") for node in _live(nodes, cut)]
        if all(isinstance(value, Tensor | int | torch.SymInt) for value in values):
            found[cut] = sum(map(numbers_of, values))
    return found


def _live(nodes: Sequence[Node], cut: int) -> list[Node]:
    """Return what is made before a cut and used after it, in order."""
    if cut in (0, len(nodes)):
        return []
    later = set(nodes[cut:])
    return [node for node in nodes[:cut] if any(user in later for user in node.users)]
