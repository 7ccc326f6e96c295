"""Low-rank factors against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoopt.errors import ModelError
from autoopt.factors import as_matrix, factored, is_transposed_linear, largest_rank, unfit
from tests.strategies import factorable_layers


def product(pair: Any, scheme: str) -> Tensor:
    """What the two layers multiply with, computed from their weights."""
    right, left = pair[0].weight.detach(), pair[1].weight.detach()
    if scheme == "spatial":
        right, left = right.flatten(1), left.squeeze(2).permute(0, 2, 1).flatten(0, 1)
    result: Tensor = left.flatten(1) @ right.flatten(1)
    return result


@settings(max_examples=40, deadline=None)
@given(case=factorable_layers(), share=st.floats(0.05, 1))
def test_the_squared_error_is_the_sum_of_the_squared_discarded_singular_values(case, share):
    layer, scheme, _ = case
    matrix = as_matrix(layer, scheme)
    rank = max(1, round(share * min(matrix.shape)))
    error = (matrix - product(factored(layer, rank, scheme), scheme)).double().square().sum()
    discarded = torch.linalg.svdvals(matrix.double())[rank:].square().sum()
    scale = float(matrix.square().sum())
    assert float(error) == pytest.approx(float(discarded), rel=1e-3, abs=1e-6 * scale)


@settings(max_examples=40, deadline=None)
@given(case=factorable_layers())
def test_at_full_rank_the_two_layers_compute_what_the_one_did(case):
    layer, scheme, x = case
    pair = factored(layer, min(as_matrix(layer, scheme).shape), scheme)
    with torch.no_grad():
        torch.testing.assert_close(pair(x), layer(x), rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(case=factorable_layers())
def test_up_to_the_largest_rank_the_factors_are_smaller_and_above_it_not(case):
    layer, scheme, _ = case
    most, full = largest_rank(layer, scheme), min(as_matrix(layer, scheme).shape)
    weights = layer.weight.numel()
    count: list[int] = [
        sum(parameter.numel() for parameter in factored(layer, rank, scheme).parameters())
        - (0 if layer.bias is None else layer.bias.numel())
        for rank in (most, most + 1)
        if 1 <= rank <= full
    ]
    if most >= 1:
        assert count[0] < weights
    if most + 1 <= full:
        assert count[-1] >= weights


@pytest.mark.parametrize(
    ("layer", "scheme", "reason"),
    [
        (nn.ReLU(), "channel", "ReLU is no linear layer"),
        (nn.Conv2d(8, 8, 3, groups=2), "channel", "2 groups"),
        (nn.Conv2d(8, 8, 1), "spatial", "no two sides"),
        (nn.Conv2d(8, 8, 3, padding="same"), "spatial", "cannot be separated"),
        (nn.Conv1d(8, 8, 3), "spatial", "no two sides"),
        (nn.Linear(4, 4, dtype=torch.complex64), "channel", "only real floating numbers"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), "channel", "no linear layer"),
    ],
)
def test_what_cannot_be_split_says_why(layer, scheme, reason):
    assert reason in str(unfit(layer, scheme))
    with pytest.raises(ModelError, match=reason):
        factored(layer, 1, scheme)


@pytest.mark.parametrize("rank", [0, -1, 4])
def test_a_rank_that_does_not_fit_is_named(rank):
    with pytest.raises(ModelError, match=f"within 1–3, but got {rank}"):
        factored(nn.Linear(5, 3), rank)


def test_a_frozen_layer_in_training_mode_stays_so():
    layer = nn.Linear(8, 8).train()
    layer.weight.requires_grad_(False)
    pair: Any = factored(layer, 2)
    assert pair.training
    assert not pair[0].weight.requires_grad
    assert pair[1].bias.requires_grad


def test_the_linear_layer_of_gpt_2_is_read_the_right_way_round():
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    layer, x = conv1d(12, 8), torch.randn(3, 8)
    assert is_transposed_linear(layer)
    assert not is_transposed_linear(nn.Conv1d(8, 8, 1))
    assert as_matrix(layer).shape == (12, 8)
    with torch.no_grad():
        torch.testing.assert_close(factored(layer, 8)(x), layer(x))
