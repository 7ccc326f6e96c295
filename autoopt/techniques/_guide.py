"""Imitating what happens inside the original: layers of both networks, paired and compared.

The original runs beside the network on the same inputs; what its layers give in between is what
the network is guided by. Projections that bring the network's widths to the original's are trained
along and thrown away at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from autoopt.task import Task

POINTS = 4
"""Layers that are compared at most, evenly over the depth: more say much the same."""

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)


class Comparison(Protocol):
    """How two layers' outputs are compared."""

    def read(self, layer: nn.Module, output: Any) -> Tensor | None:
        """Return what counts of a layer's output, channels last, or None if nothing does."""

    def projection(self, student: Tensor, teacher: Tensor) -> nn.Module | None:
        """Return what brings the student's reading to the teacher's, or None if nothing can."""

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance of two readings of one shape, a scalar."""


@dataclass(frozen=True)
class Pair:
    """A layer of the network and the original's layer that it follows."""

    student: str
    teacher: str


@dataclass
class Guide:
    """Compares a network in training with the original, layer by layer.

    Attributes
    ----------
    task
        Gives the original and an example.
    comparison
        How layers are compared.
    """

    task: Task
    comparison: Comparison
    pairs: tuple[Pair, ...] = ()
    projections: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    _seen: dict[str, Tensor] = field(default_factory=dict, repr=False)
    _inputs: list[Any] = field(default_factory=list, repr=False)
    _teacher: nn.Module | None = field(default=None, repr=False)

    @contextmanager
    def attached(self, network: nn.Module) -> Iterator[Sequence[nn.Parameter]]:
        """Watch `network` for a while; gives the parameters of the projections."""
        with ExitStack() as stack:
            self._teacher = copy.deepcopy(self.task.model).eval()
            for watched in (network, self._teacher):
                stack.enter_context(_showing_attention(watched))
            self._prepare(network)
            self._watch(network, stack)
            try:
                yield list(self.projections.parameters())
            finally:
                self._seen.clear()
                self._inputs.clear()

    def fits(self, network: nn.Module) -> bool:
        """Say whether there is any pair of layers to compare."""
        with self.attached(copy.deepcopy(network)):
            return bool(self.pairs)

    def loss(self) -> Tensor:
        """Return the mean distance of all pairs in the network's latest call."""
        assert self._teacher is not None, "a guide must be attached before it can compare"
        args, kwargs = self._inputs[0]
        with torch.no_grad():
            wanted = _readings(
                self._teacher,
                [pair.teacher for pair in self.pairs],
                self.comparison,
                lambda: self._teacher(*args, **kwargs) if self._teacher else None,
            )
        distances = [
            self.comparison.loss(
                self.projections[str(number)](self._seen[pair.student]), wanted[pair.teacher]
            )
            for number, pair in enumerate(self.pairs)
        ]
        return torch.stack(distances).mean()

    def _prepare(self, network: nn.Module) -> None:
        assert self._teacher is not None, "a guide is prepared when it is attached"
        found = paired(network, self._teacher, self.task, self.comparison)
        self.pairs = tuple(pair for pair, _ in found)
        self.projections = nn.ModuleDict(
            {str(number): projection for number, (_, projection) in enumerate(found)}
        )

    def _watch(self, network: nn.Module, stack: ExitStack) -> None:
        def keep_inputs(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._inputs[:] = [(args, kwargs)]

        handle = network.register_forward_pre_hook(keep_inputs, with_kwargs=True)
        stack.callback(handle.remove)
        for pair in self.pairs:
            layer = network.get_submodule(pair.student)
            hook = _keeper(pair.student, self._seen, self.comparison)
            stack.callback(layer.register_forward_hook(hook).remove)


def paired(
    network: nn.Module, teacher: nn.Module, task: Task, comparison: Comparison
) -> list[tuple[Pair, nn.Module]]:
    """Return the layers to compare, with what projects one on the other.

    Layers of one name belong together; where too few names are left, as in a student of another
    make, those at the same share of the depth.
    """
    own, theirs = (_in_order(each, task, comparison) for each in (network, teacher))
    names = [name for name in own if name in theirs]
    if len(names) >= 2 or len(names) == len(own):
        candidates = [Pair(name, name) for name in names]
    else:
        keys = list(theirs)
        step = len(keys) / max(1, len(own))
        candidates = [Pair(name, keys[int(i * step)]) for i, name in enumerate(own)]
    fitting = [
        (pair, projection)
        for pair in candidates
        if (projection := comparison.projection(own[pair.student], theirs[pair.teacher]))
    ]
    if len(fitting) <= POINTS:
        return fitting
    return [fitting[(i + 1) * len(fitting) // POINTS - 1] for i in range(POINTS)]


def _in_order(network: nn.Module, task: Task, comparison: Comparison) -> dict[str, Tensor]:
    """Return the readings of all layers but the last, which gives the outputs, as they run."""
    was = network.training
    names = [name for name, module in network.named_modules() if name and _is_layer(module)]
    with torch.no_grad():
        network.eval()
        found = _readings(network, names, comparison, lambda: task.forward(network, task.example))
        network.train(was)
    # What is read of a layer that gives the outputs is compared by the soft targets.
    last = names[-1] if names else ""
    return {name: value for name, value in found.items() if name != last}


def _is_layer(module: nn.Module) -> bool:
    """Say whether a module has weights of its own, or computes attention."""
    matrices = any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
    return matrices or "Attention" in type(module).__name__


def _readings(
    network: nn.Module, names: Sequence[str], comparison: Comparison, run: Callable[[], Any]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in names:
            hook = _keeper(name, found, comparison)
            handle = network.get_submodule(name).register_forward_hook(hook)
            stack.callback(handle.remove)
        run()
    return found


def _keeper(
    name: str, kept: dict[str, Tensor], comparison: Comparison
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(layer: nn.Module, _: Any, output: Any) -> None:
        reading = comparison.read(layer, output)
        if reading is not None:
            kept[name] = reading

    return hook


@contextmanager
def _showing_attention(network: nn.Module) -> Iterator[None]:
    """Let a network of transformers compute attention in the way that shows its weights."""
    config = getattr(network, "config", None)
    switch = getattr(network, "set_attn_implementation", None)
    before = getattr(config, "_attn_implementation", None)
    if switch is None or before is None:
        yield
        return
    switch("eager")
    try:
        yield
    finally:
        switch(before)


def channels_last(layer: nn.Module, output: Any) -> Tensor | None:
    """Return a layer's output with its channels on the last axis, or None if it is no tensor."""
    found = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.ndim < 2:
        return None
    return found.movedim(1, -1) if isinstance(layer, _CHANNELS_FIRST) else found
