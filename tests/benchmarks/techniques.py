"""Known results of the field, reproduced in direction: each figure is a gain in points of accuracy.

Every figure is the lower bound of the 90 % interval of the paired differences over the seeds of
`paired`; beside it stand the mean gain and what the weaker way loses against the original. Only
`int8_worst_drop` and `half_distilled_drop` are losses, of the demo's network over five folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from autoopt.techniques.finetune import FineTune
from autoopt.techniques.low_rank import ActivationSvd, Svd
from autoopt.techniques.recalibrate import Recalibrate
from autoopt.techniques.sparse import SparsePruning
from autoopt.techniques.structured import ChannelPruning
from tests.benchmarks.demo_network import half_distilled_drop, int8_worst_drop
from tests.benchmarks.distil_gain import distil_gain
from tests.benchmarks.paired import Make, compare, convolution_task, perceptron_task
from tests.benchmarks.precision import mixed_over_uniform

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task


def run() -> dict[str, float]:
    """Measure every figure of the table, one after the other, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures: dict[str, float] = {}
        for measure in FIGURES:
            figures |= measure()
        return figures
    finally:
        torch.set_num_threads(threads)


def taylor_over_random() -> Mapping[str, float]:
    """Cut a quarter of all channels by first-order importance, and by chance; no training after.

    Batch norms are recalibrated in both.
    """

    def cut(importance: str) -> Make:
        pruning = ChannelPruning(0.25, importance, "uniform")  # type: ignore[arg-type]  # a literal
        return lambda model, task: Recalibrate().apply(pruning.apply(model, task), task)

    return compare(convolution_task, cut("taylor"), cut("random")).figures("taylor_over_random")


def iterative_over_oneshot() -> Mapping[str, float]:
    """Zero 90 % of the weights in four steps or in one; four epochs of training for both."""
    epochs = 4

    def at_once(model: nn.Module, task: Task) -> nn.Module:
        pruned = SparsePruning(0.9, allocation="uniform").apply(model, task)
        return FineTune(epochs, 1e-3).apply(pruned, task)

    in_steps = SparsePruning(0.9, allocation="uniform", schedule="iterative", epochs=epochs)
    return compare(perceptron_task, in_steps.apply, at_once).figures("iterative_over_oneshot")


def activation_aware_over_plain() -> Mapping[str, float]:
    """Split layers at a ninth of their rank by their outputs, and by their weights alone."""
    fraction = 0.11
    aware, plain = ActivationSvd(fraction), Svd(fraction)
    return compare(perceptron_task, aware.apply, plain.apply).figures("activation_aware_over_plain")


# One line a comparison; a new one is a function above and a line here.
FIGURES: Sequence[Callable[[], Mapping[str, float]]] = (
    taylor_over_random,
    iterative_over_oneshot,
    activation_aware_over_plain,
    distil_gain,
    mixed_over_uniform,
    int8_worst_drop,
    half_distilled_drop,
)
