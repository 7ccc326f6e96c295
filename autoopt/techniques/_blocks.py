"""Repeated blocks that give the shape they take, found by running the network once."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.plan import Drop
from autoopt.techniques._trial import failure, output_shape

if TYPE_CHECKING:
    from autoopt.task import Inputs, Task

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_SAMPLES = 64


def droppable(model: nn.Module, task: Task, *, most: int | None = None) -> list[str]:
    """Return the names of the blocks that could be left out, in the order in which they run.

    A block is called once, gives one tensor of the shape of the first that it takes (masks and
    positions may follow), holds weights, and has a sibling of its class. Of nested candidates the
    outer one counts, unless it only holds the inner ones; single layers count where there is
    nothing larger. The network must run without it.

    Parameters
    ----------
    model, task
        Where to look, and what to run it on.
    most
        Names that are enough, to ask whether there are any; each costs a run of the network.
    """
    order = _shape_preserving(model, task)
    repeated = {name for name in order if _is_repeated(model, name)}
    larger = {name for name in repeated if any(model.get_submodule(name).children())}
    candidates = larger or repeated
    picked = _outermost(model, candidates)
    shape = output_shape(model, task) if picked else ()
    running = (
        name
        for name in order
        if name in picked and failure(model, task, [Drop(name)], expected=shape) is None
    )
    return list(islice(running, most))


def changes(model: nn.Module, task: Task, names: Sequence[str]) -> dict[str, float]:
    """Return 1 − cosine similarity of each block's input and output, on calibration data."""
    found: dict[str, float] = {}

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        before, after = (_real(x).flatten(1) for x in (inputs[0], output))
        found[name] = 1 - float(F.cosine_similarity(before, after).mean())

    count = min(_SAMPLES, len(task.calibration))
    _run(model, task, task.calibration.inputs(count), names, look)
    return found


def _real(x: Tensor) -> Tensor:
    """Return complex numbers as pairs, which lie at the same angle to each other."""
    return torch.view_as_real(x) if x.is_complex() else x


def _shape_preserving(model: nn.Module, task: Task) -> list[str]:
    calls: dict[str, list[bool]] = defaultdict(list)

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        first, *others = inputs
        calls[name].append(
            isinstance(first, Tensor)
            and isinstance(output, Tensor)
            and first.shape == output.shape
            and first.dtype == output.dtype
            # What joins two of a kind is no block of either.
            and not any(isinstance(x, Tensor) and x.shape == first.shape for x in others)
        )

    names = [
        name
        for name, module in model.named_modules()
        if name and any(parameter.ndim > 1 for parameter in module.parameters())
    ]
    _run(model, task, task.example, names, look)
    return [name for name, fits in calls.items() if fits == [True]]


def _run(
    model: nn.Module,
    task: Task,
    inputs: Inputs,
    names: Sequence[str],
    look: Callable[[str, tuple[Any, ...], Any], None],
) -> None:
    """Run a copy in eval mode and show `look` what the named modules take and give."""
    network = copy.deepcopy(model).eval()

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            look(name, (*args, *kwargs.values()) or (None,), out)

        return hook

    with ExitStack() as stack, torch.no_grad():
        for name in names:
            module = network.get_submodule(name)
            handle = module.register_forward_hook(hook_for(name), with_kwargs=True)
            stack.callback(handle.remove)
        task.forward(network, inputs)


def _is_repeated(model: nn.Module, name: str) -> bool:
    parent, _, _ = name.rpartition(".")
    kinds = Counter(type(child) for child in model.get_submodule(parent).children())
    return kinds[type(model.get_submodule(name))] > 1


def _outermost(model: nn.Module, candidates: set[str]) -> set[str]:
    """Return the candidates that are not inside another block and do not just hold blocks."""

    def holds(name: str) -> bool:
        inner = any(other.startswith(f"{name}.") for other in candidates)
        return inner and isinstance(model.get_submodule(name), _CONTAINERS)

    blocks = {name for name in candidates if not holds(name)}
    return {name for name in blocks if not any(name.startswith(f"{other}.") for other in blocks)}
