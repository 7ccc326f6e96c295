"""Known results of the field, reproduced in direction: each figure is a gain in points of accuracy.

Every figure is the lower bound of the 90 % interval of the paired differences over seeds; beside it
stand the mean gain and what the weaker way loses against the original. Those on text begin with
`text_`, all others are of digits. Only `int8_worst_drop` and `half_distilled_drop` are losses, of
the demo's network over five folds. Names given after `techniques` choose among the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from autoopt.techniques.recalibrate import Recalibrate
from autoopt.techniques.structured import ChannelPruning
from tests.benchmarks.demo_network import half_distilled_drop, int8_worst_drop
from tests.benchmarks.paired import Make, compare, convolution_task, perceptron_task
from tests.benchmarks.precision import mixed_over_uniform
from tests.benchmarks.progress import told
from tests.benchmarks.registry import Report
from tests.benchmarks.text import (
    text_activation_aware_over_plain,
    text_distil_gain,
    text_iterative_over_oneshot,
    text_mixed_over_uniform,
    text_taylor_over_random,
)
from tests.benchmarks.ways import Lessons, factors, schedules

LESSONS = Lessons(width=0.25, samples=100, epochs=30, rate=1e-2)


AT_MOST = {"int8_worst_drop": 0.5, "half_distilled_drop": 1.0}
"""Points that the demo's network may lose."""

FAIR = (3.0, 20.0)
"""Points that the weaker of two ways must lose: with less there is nothing to win, with more all is
lost."""

EXCEPT = 1
"""How many of the results on digits, and of those on text, may fail to show."""


def run(names: Sequence[str] = ()) -> Report:
    """Measure the figures named, or every one of the table, one after the other, on one thread.

    What was not shown, or not at a fair setting, is missed.

    Raises
    ------
    ValueError
        If a name is not in the table; the message lists the known ones.
    """
    known = {measure.__name__: measure for measure in FIGURES}
    if unknown := set(names) - set(known):
        raise ValueError(f"unknown figures {sorted(unknown)}; known: {', '.join(known)}")
    chosen = list(names) or list(known)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures: dict[str, float] = {}
        for name in told(chosen, chosen):
            figures |= known[name]()
        return Report(figures, missed=short(figures))
    finally:
        torch.set_num_threads(threads)


def short(figures: Mapping[str, float]) -> list[str]:
    """Say what falls short of what is promised."""
    gains = [name for name in figures if f"{name}_weaker_loses" in figures]
    said = [
        f"{name} is {figures[name]:.3g}, at most {most} is promised"
        for name, most in AT_MOST.items()
        if figures.get(name, 0.0) > most
    ]
    for on_text in (False, True):
        lost = [n for n in gains if n.startswith("text_") == on_text and figures[n] <= 0]
        if len(lost) > EXCEPT:
            said.append(f"not above zero: {', '.join(lost)}; all but {EXCEPT} are promised")
    for name in gains:
        loss = figures[f"{name}_weaker_loses"]
        if not FAIR[0] <= loss <= FAIR[1]:
            said.append(
                f"{name}: the weaker way loses {loss:.3g} points, "
                f"and {FAIR[0]:.0f} to {FAIR[1]:.0f} would be fair"
            )
    return said


def taylor_over_random() -> Mapping[str, float]:
    """Cut a quarter of all channels by first-order importance, and by chance; no training after.

    Batch norms are recalibrated in both.
    """

    def cut(importance: str) -> Make:
        pruning = ChannelPruning(0.25, importance, "uniform")  # type: ignore[arg-type]  # a literal
        return lambda model, task: Recalibrate().apply(pruning.apply(model, task), task)

    return compare(convolution_task, cut("taylor"), cut("random")).figures("taylor_over_random")


def iterative_over_oneshot() -> Mapping[str, float]:
    """Zero 90 % of the weights of perceptrons."""
    return compare(perceptron_task, *schedules(0.9)).figures("iterative_over_oneshot")


def activation_aware_over_plain() -> Mapping[str, float]:
    """Split layers of perceptrons at a ninth of their rank."""
    return compare(perceptron_task, *factors(0.11)).figures("activation_aware_over_plain")


def distil_gain() -> Mapping[str, float]:
    """Teach a perceptron a quarter as wide on a hundred images."""
    return compare(perceptron_task, *LESSONS.ways()).figures("distil_gain")


# One line a comparison; a new one is a function above and a line here.
FIGURES: Sequence[Callable[[], Mapping[str, float]]] = (
    taylor_over_random,
    iterative_over_oneshot,
    activation_aware_over_plain,
    distil_gain,
    mixed_over_uniform,
    text_taylor_over_random,
    text_iterative_over_oneshot,
    text_activation_aware_over_plain,
    text_distil_gain,
    text_mixed_over_uniform,
    int8_worst_drop,
    half_distilled_drop,
)
