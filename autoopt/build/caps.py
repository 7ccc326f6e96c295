"""Hard caps that a network breaks whatever training makes of it: refused before it is trained.

A bound must hold for every artefact that could follow: it counts only what has to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from autoopt.constraint import Constraint
from autoopt.errors import OverCapError
from autoopt.extent import multiply_adds, parameter_count, read_by_data
from autoopt.precision import quantizable
from autoopt.recipe import STRUCTURAL_SLOTS
from autoopt.runtimes.compressed import FEWEST_ZEROS
from autoopt.zeros import zero_share

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization
    from autoopt.task import Inputs, Task

SAMPLES = 8
"""Samples at most that are looked at to see what depends on them."""

FEWEST_BITS: Mapping[str, int] = {"codebook": 1, "binary": 1}
"""Bits that a weight takes at least where they may be fewer than those asked for."""

KNOWN_REQUESTS = (
    "float32", "bfloat16", "float16", "static", "dynamic", "weight_only", "codebook", "binary",
    "fp8", "fp8_weights", "int4",
)  # fmt: skip


@dataclass(frozen=True)
class Extent:
    """What is known of all artefacts of a network and a precision.

    Attributes
    ----------
    objective
        What it bounds.
    least
        In the objective's unit.
    why
        How it comes to that, in words.
    slots
        Choices that it depends on; whatever the others are, it is the same.
    """

    objective: str
    least: Callable[[], float]
    why: str
    slots: tuple[str, ...]


def check_caps(
    caps: Sequence[Constraint], network: nn.Module, task: Task, request: Quantization
) -> None:
    """Refuse a network that no training can bring below a cap.

    Parameters
    ----------
    caps
        Bounds of the search.
    network
        With the shapes that it will have; stays as it was.
    task
        Gives the samples.
    request
        The precision that will be asked for.

    Raises
    ------
    OverCapError
        With the cap, and the least that the network comes to.
    """
    capped = {cap.objective: cap for cap in caps if cap.sense == "<="}
    for extent in _extents(network, task, request):
        cap = capped.get(extent.objective)
        if cap is None:
            continue
        least = extent.least()
        if least > cap.bound:
            raise OverCapError(
                f"{cap} was asked for, but this network comes to at least {least:.6g} "
                f"({extent.why}), so it is not trained; a smaller network"
                f"{' or fewer bits' if 'quantization' in extent.slots else ''} may keep the cap",
                extent.slots,
            )


def _extents(network: nn.Module, task: Task, request: Quantization) -> Iterator[Extent]:
    why, samples = "its shapes stay as they are in training", len(task.example[0])
    yield Extent("parameters", lambda: parameter_count(network) / 1e6, why, STRUCTURAL_SLOTS)
    yield Extent(
        "multiply_adds",
        lambda: multiply_adds(lambda: task.forward(network, task.example), samples) / 1e6,
        why,
        STRUCTURAL_SLOTS,
    )
    bits = least_bits(request)
    yield Extent(
        "size",
        lambda: least_bytes(network, task, request) / 1e6,
        f"{bits} bits for each weight of the layers that every runtime stores",
        (*STRUCTURAL_SLOTS, "quantization"),
    )


def least_bits(request: Quantization) -> int:
    """Return the fewest bits that any weight takes under a request; 0 for one that is unknown."""
    if request.name not in KNOWN_REQUESTS:
        return 0
    own = FEWEST_BITS.get(request.name, request.bits)
    raised = [request.raised] if request.share else []
    return min([own, *raised, *(bits for _, bits in request.layers)])


def least_bytes(network: nn.Module, task: Task, request: Quantization) -> float:
    """Return bytes that the files of every artefact of a network take at least.

    Counted are the weights of layers, each once, that the answer depends on and that multiply
    what depends on the samples: no runtime can leave these out. A network of many zeros, whose
    files may be compressed, has no bound.
    """
    if zero_share(network) >= FEWEST_ZEROS:
        return 0.0
    weights = [(weight.layer, weight.tensor) for weight in quantizable(network).values()]
    # A table that is looked up by what comes in is stored whole.
    weights += [(m, m.weight) for m in network.modules() if isinstance(m, nn.Embedding)]
    batches = _batches(task)
    if not weights or batches is None:
        return 0.0
    layers = list(dict.fromkeys(layer for layer, _ in weights))
    answers: list[Tensor] = []

    def answer(batch: Inputs) -> Callable[[], None]:
        return lambda: answers.append(task.forward(network, batch))

    with torch.enable_grad():
        runs = [answer(batch) for batch in batches]
        moving = dict(zip(layers, read_by_data(network, layers, runs), strict=True))
        kept = [tensor for layer, tensor in weights if moving[layer] and tensor.requires_grad]
        if not kept or not answers[0].requires_grad:
            return 0.0
        found = torch.autograd.grad(answers[0].sum(), kept, allow_unused=True)
    # Typed as if none could be absent.
    slopes = cast("tuple[Tensor | None, ...]", found)
    used = {_content(t): t.numel() for t, s in zip(kept, slopes, strict=True) if s is not None}
    return sum(used.values()) * least_bits(request) / 8


def _batches(task: Task) -> tuple[Inputs, Inputs] | None:
    """Return two batches of as many samples, or None where there are too few."""
    count = min(SAMPLES, len(task.calibration) // 2)
    if count < 1:
        return None
    inputs = task.calibration.inputs(2 * count)
    return tuple(x[:count] for x in inputs), tuple(x[count:] for x in inputs)


def _content(tensor: Tensor) -> str:
    """Return a name that tensors of equal content share: files may hold these once."""
    return hashlib.sha256(tensor.detach().contiguous().cpu().numpy().tobytes()).hexdigest()
