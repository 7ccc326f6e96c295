"""Quantization-aware training: what comes back, and the quantization it decides."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from autoopt.errors import DivergedError
from autoopt.precision import Grid, on_range, quantizable, store
from autoopt.recipe import Recipe
from autoopt.task import make_task
from autoopt.techniques.qat import QuantizationAwareTraining, _RoundedInput
from autoopt.techniques.quantization import StaticInt8
from autoopt.techniques.quantization_stored import WeightOnly
from search_spaces import RECOVERY, SearchSpace, thorough
from tests.runtime_builds import tiny_task


@pytest.mark.parametrize(("bits", "scheme"), [(8, "symmetric"), (4, "affine"), (2, "symmetric")])
def test_the_weights_of_what_comes_back_lie_on_the_grid(bits, scheme):
    task = tiny_task("cnn")
    network = QuantizationAwareTraining(bits, scheme, epochs=1).apply(task.model, task)
    grid = Grid(bits, "symmetric" if bits == 8 else scheme)
    assert set(network.state_dict()) == set(task.model.state_dict())
    for name, weight in quantizable(network).items():
        rows = weight.rows()
        np.testing.assert_allclose(store(rows, grid).restored(), rows, rtol=1e-4, atol=1e-6)
        before = task.model.get_parameter(f"{name}.weight")
        assert not torch.equal(weight.tensor, before)
        assert len(np.unique(rows[0])) <= 2**bits
    assert not any(parametrize.is_parametrized(module) for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_gradients_pass_the_rounding_and_training_moves_the_weights_behind_it():
    task = tiny_task("mlp")
    technique = QuantizationAwareTraining(2, epochs=2, learning_rate=1e-2)
    trained = technique.apply(task.model, task)
    plain = {name: store(weight.rows(), Grid(2)).codes
             for name, weight in quantizable(task.model).items()}  # fmt: skip
    moved = {name: (store(weight.rows(), Grid(2)).codes != plain[name]).sum()
             for name, weight in quantizable(trained).items()}  # fmt: skip
    assert all(count > 0 for count in moved.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bits": 3}, r"`bits` must be one of 8, 4, 2, but got 3"),
        ({"scheme": "odd"}, "`scheme` must be one of .*, but got 'odd'"),
        ({"epochs": 0}, "`epochs` must be at least 1, but got 0"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        QuantizationAwareTraining(**settings)


@pytest.mark.parametrize("bits", [8, 4])
def test_torchs_own_attention_learns_with_its_projection_rounded(bits):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), nn.Flatten(),
        nn.Linear(32, 4),
    ).eval()  # fmt: skip
    x = torch.randn(60, 4, 8)
    task = make_task(network, (x, torch.arange(60) % 4), request_size=4, threads=1)
    trained = QuantizationAwareTraining(bits, epochs=1, learning_rate=1e-2).apply(network, task)
    rows = quantizable(trained)["0.self_attn"].rows()
    np.testing.assert_allclose(store(rows, Grid(bits)).restored(), rows, rtol=1e-4, atol=1e-6)
    assert rows.shape == (24, 8)
    assert not any(module._forward_pre_hooks for module in trained.modules())


def test_what_attention_projects_is_rounded_once_and_stays_one_tensor():
    attention, x = nn.MultiheadAttention(8, 2), torch.randn(3, 2, 8)
    mask = torch.zeros(3, 3).fill_diagonal_(-float("inf"))
    (query, key), named = _RoundedInput(True)(attention, (x, x), {"value": x, "attn_mask": mask})
    assert query is key is named["value"]
    assert named["attn_mask"] is mask
    torch.testing.assert_close(query, on_range(x, symmetric=True))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_activations_that_are_not_finite_have_diverged(wrong):
    with pytest.raises(DivergedError, match=r"must be finite, but reach from .* lower learning"):
        on_range(torch.tensor([0.5, wrong, -1.0]))


def test_training_in_eight_bits_that_runs_away_says_that_it_diverged():
    task = tiny_task("mlp")
    network = copy.deepcopy(task.model)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError):
        QuantizationAwareTraining(8, epochs=1).apply(network, task)


# ------------------------------------------------------------------ the slot that it fixes


def test_a_recipe_with_it_has_the_quantization_it_was_trained_for():
    eight = Recipe.of({
        "recovery": ("qat", {"bits": 8, "scheme": "affine"}), "quantization": ("bfloat16", {}),
    })  # fmt: skip
    assert eight["quantization"].option == "calibrated_int8"
    request = StaticInt8(**eight["quantization"].settings).request()
    assert (request.name, request.activations, request.share) == ("static", "affine", 0)
    two = Recipe.of({"recovery": ("qat", {"bits": 2, "scheme": "symmetric", "epochs": 4})})
    assert two["quantization"].option == "packed"
    stored = WeightOnly(**two["quantization"].settings).request()
    assert (stored.bits, stored.scheme, stored.granularity) == (2, "symmetric", "per_channel")
    assert two["recovery"].option == "qat"
    assert not two.is_original
    assert two.replaced(quantization=("float32", {})) == two


def test_its_quantization_lies_in_the_space_that_offers_it():
    space: SearchSpace = thorough(2)
    for bits in RECOVERY["qat"]["bits"]:
        for scheme in RECOVERY["qat"]["scheme"]:
            settings = {"bits": bits, "scheme": scheme, "epochs": 4, "learning_rate": 1e-3}
            recipe = Recipe.of({"recovery": ("qat", settings)})
            point = {slot: recipe.point()[slot] for slot in ("quantization", "recovery")}
            usual: dict[str, Any] = {slot: (option, {}) for slot, option in
                     {"student": "none", "pruning": "none", "factorization": "none",
                      "runtime": "eager", "parallel": "default"}.items()}  # fmt: skip
            assert space.contains({**usual, **point})
