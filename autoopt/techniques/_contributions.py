"""First-order importance: what each weight contributes to the loss on calibration data."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError

if TYPE_CHECKING:
    from autoopt.task import Task

SAMPLES = 256
# Small batches: what speaks for one class and against another cancels in large ones. On the
# digits, 4 samples rank channels almost as well as single ones do, 16 hardly better than chance.
BATCH = 4


def contributions(
    model: nn.Module, task: Task, *, batch: int = BATCH
) -> Iterator[Mapping[str, Tensor]]:
    """Yield w · ∂loss/∂w of every parameter, for one calibration batch after another.

    To first order, setting weights to zero changes the loss by minus the sum of theirs
    (Molchanov et al. 2019, arXiv 1906.10771).

    Raises
    ------
    RefusedError
        If the network gives no gradients.
    """
    network = copy.deepcopy(model).eval()
    named = {name: p for name, p in network.named_parameters() if p.is_floating_point()}
    for parameter in named.values():
        parameter.requires_grad_(True)
    seen = 0
    for inputs, targets in task.calibration.batches(batch):
        try:
            with torch.enable_grad():
                loss = task.loss(task.forward(network, inputs), targets)
                # A parameter that the loss does not depend on has None.
                found: tuple[Tensor | None, ...] = torch.autograd.grad(
                    loss, list(named.values()), allow_unused=True
                )
        except (RuntimeError, NotImplementedError) as error:
            raise RefusedError(
                f"this importance needs gradients, and the network gives none ({error}); use l1 "
                "or l2"
            ) from error
        yield {
            name: torch.zeros_like(p) if gradient is None else p.detach() * gradient
            for (name, p), gradient in zip(named.items(), found, strict=True)
        }
        seen += len(targets)
        if seen >= SAMPLES:
            return


@torch.no_grad()
def calibration_loss(model: nn.Module, task: Task) -> float:
    """Return the mean loss on at most `SAMPLES` calibration samples, in eval mode."""
    total, seen = 0.0, 0
    for inputs, targets in task.calibration.batches(SAMPLES):
        total += float(task.loss(task.forward(model, inputs), targets)) * len(targets)
        seen += len(targets)
        if seen >= SAMPLES:
            break
    return total / seen


class Steadiness:
    """How steadily units matter from batch to batch: mean less spread of their relative ranks.

    A unit that ranks high in every batch scores close to 1; one that flips between the ends, or
    always ranks low, scores low. It is a steadiness of rank alone: callers give amounts, so a unit
    whose removal helps one batch and harms the next as much counts as steady.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Count one batch: values of any shape, the higher the more a unit mattered."""
        flat = values.flatten()
        ranks = torch.empty_like(flat, dtype=torch.float32)
        order = flat.argsort(stable=True)
        ranks[order] = torch.arange(1, len(flat) + 1, dtype=torch.float32) / len(flat)
        ranks = ranks.reshape(values.shape)
        if self._sum is None or self._squares is None:
            self._sum, self._squares = torch.zeros_like(ranks), torch.zeros_like(ranks)
        self._count += 1
        self._sum += ranks
        self._squares += ranks.square()

    def value(self) -> Tensor:
        """Return the score of each unit, from −0.5 to 1."""
        assert self._sum is not None
        assert self._squares is not None
        mean = self._sum / self._count
        spread = (self._squares / self._count - mean.square()).clamp_min(0).sqrt()
        return mean - spread
