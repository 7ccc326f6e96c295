"""Known results on text: a GPT-2-like model foretells the next character of source text.

The text is that of Python's standard library; nothing is downloaded. Accuracy is the share of
characters foretold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from autoopt.task import Task, make_task
from autoopt.techniques.quantization_stored import MixedPrecision, WeightOnly
from autoopt.techniques.structured import FeedForwardPruning
from tests import language_data
from tests.architectures import gpt2
from tests.benchmarks.paired import Make, compare
from tests.benchmarks.precision import EqualSize
from tests.benchmarks.ways import Lessons, factors, schedules

SEEDS = tuple(range(5))
EPOCHS = 10
BATCH = 32
RATE = 5e-3
TRAIN, VALIDATION = 0.6, 0.2
LESSONS = Lessons(width=0.25, samples=100, epochs=20, rate=3e-3)
BY_GROUPS = EqualSize(
    WeightOnly(2, "affine", group=24), MixedPrecision(2, raised=8, scheme="affine", group=48)
)


def foretold(outputs: Any, targets: Any) -> float:
    """Return the share of characters that the outputs before them say."""
    return float((outputs[:, :-1].argmax(-1) == targets[:, 1:]).mean())


@cache
def language_task(seed: int) -> Task:
    """Return a language model trained on a split of the windows, weights and split by that seed."""
    tokens, _ = language_data.much_text()
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
    first, second = int(TRAIN * len(order)), int((TRAIN + VALIDATION) * len(order))
    parts = tuple(tokens[rows] for rows in (order[:first], order[first:second], order[second:]))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = _trained(parts[0])
    data = tuple((part, part.clone()) for part in parts)
    return make_task(model, data, metric=foretold, seed=seed, request_size=16, threads=1)


def _trained(tokens: Tensor) -> nn.Module:
    network = gpt2()
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    steps = EPOCHS * math.ceil(len(tokens) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    network.train()
    for _ in range(EPOCHS):
        for batch in tokens[torch.randperm(len(tokens))].split(BATCH):
            optimizer.zero_grad()
            logits = network(batch).logits[:, :-1]
            nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def text_taylor_over_random() -> Mapping[str, float]:
    """Cut three quarters of all feed-forward channels by first-order importance, and by chance."""

    def cut(importance: str) -> Make:
        return FeedForwardPruning(0.75, importance, "uniform").apply  # type: ignore[arg-type]  # a literal

    return _figures("text_taylor_over_random", cut("taylor"), cut("random"))


def text_iterative_over_oneshot() -> Mapping[str, float]:
    """Zero 90 % of the weights."""
    return _figures("text_iterative_over_oneshot", *schedules(0.9))


def text_activation_aware_over_plain() -> Mapping[str, float]:
    """Split layers at a fifth of their rank."""
    return _figures("text_activation_aware_over_plain", *factors(0.2))


def text_distil_gain() -> Mapping[str, float]:
    """Teach a model a quarter as wide inside on a few windows."""
    return _figures("text_distil_gain", *LESSONS.ways())


def text_mixed_over_uniform() -> Mapping[str, float]:
    """Store weights in two bits, or the most sensitive in eight, in as many bytes."""
    return _figures("text_mixed_over_uniform", *BY_GROUPS.ways())


def _figures(name: str, better: Make, weaker: Make) -> Mapping[str, float]:
    return compare(language_task, better, weaker, seeds=SEEDS).figures(name)
