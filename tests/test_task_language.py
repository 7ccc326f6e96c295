"""Causal language models are told from the data and a probe, and judged by perplexity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.errors import DataError
from autoopt.task import make_task
from autoopt.task.language import NextTokenLoss, Perplexity, next_token_shift

VOCABULARY = 11
TOKENS = torch.randint(0, VOCABULARY, (40, 6), generator=torch.Generator().manual_seed(0))


class Averaging(nn.Module):
    """Scores from the average of the tokens so far, or of all of them."""

    def __init__(self, *, causal: bool = True, outputs: int = VOCABULARY) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.head = nn.Linear(8, outputs)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        counts = torch.arange(1, x.shape[1] + 1)[:, None]
        mean = y.cumsum(1) / counts if self.causal else y.mean(1, keepdim=True).expand_as(y)
        scores: Tensor = self.head(mean + y)
        return scores


@pytest.mark.parametrize(
    ("targets", "shift"),
    [
        (TOKENS, 1),
        (torch.cat([TOKENS[:, 1:], TOKENS[:, :1]], dim=1), 0),
        (TOKENS.where(TOKENS != 3, -100), 1),
        (TOKENS.flip(1), None),
        (TOKENS.float(), None),
        (TOKENS[:, 0], None),
    ],
)
def test_the_next_tokens_are_told_from_the_targets(targets: Tensor, shift: int | None) -> None:
    assert next_token_shift((TOKENS,), targets, lambda batch: Averaging()(*batch)) == shift


def test_a_model_that_sees_the_future_foretells_nothing() -> None:
    run = Averaging(causal=False)
    assert next_token_shift((TOKENS,), TOKENS, lambda batch: run(*batch)) is None


def test_the_metric_is_said_aloud_and_is_better_when_smaller() -> None:
    task = make_task(Averaging().eval(), (TOKENS, TOKENS), threads=1)
    assert (task.metric.name, task.metric.direction) == ("perplexity", "minimize")
    assert task.loss == NextTokenLoss(1)
    assert task.form.axis == 2
    notes = [note for note in task.notes if note.startswith("metric")]
    expected = (
        "metric: perplexity, guessed because the model is causal and the targets are the input's "
        "own tokens: every output is compared with the token that follows"
    )
    assert notes == [expected]


def test_a_tagger_that_reads_forwards_keeps_its_accuracy() -> None:
    tags = TOKENS % 3
    task = make_task(Averaging(outputs=3).eval(), (TOKENS, tags), threads=1)
    assert task.metric.name == "accuracy"


def test_tokens_that_the_model_has_no_score_for_are_refused() -> None:
    with pytest.raises(DataError, match="classes from 0 to 6"):
        make_task(Averaging(outputs=7).eval(), (TOKENS, TOKENS), threads=1)


@given(st.integers(0, 10**6), st.sampled_from([0, 1]), st.booleans())
def test_perplexity_is_the_exponential_of_the_loss(seed: int, shift: int, padded: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(3, 5, 7, generator=generator)
    targets = torch.randint(0, 7, (3, 5), generator=generator)
    if padded:
        targets[:, 3:] = -100
    found = Perplexity(shift)(targets.numpy(), outputs.numpy())
    loss = NextTokenLoss(shift)(outputs, targets)
    assert found == pytest.approx(math.exp(float(loss)), rel=1e-5)


def test_the_loss_compares_each_output_with_the_token_after_it() -> None:
    outputs = torch.randn(2, 4, 5)
    targets = torch.randint(0, 5, (2, 4))
    by_hand = F.cross_entropy(outputs[:, :3].reshape(-1, 5), targets[:, 1:].reshape(-1))
    torch.testing.assert_close(NextTokenLoss(1)(outputs, targets), by_hand)


def test_equal_scores_are_as_perplexed_as_there_are_tokens() -> None:
    targets = TOKENS.numpy()
    assert Perplexity()(targets, np.zeros((*targets.shape, 13))) == pytest.approx(13)
