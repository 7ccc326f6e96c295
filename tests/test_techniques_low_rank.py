"""Factorization and sharing, against their formulas."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.factors import as_matrix
from autoopt.techniques._moments import second_moments
from autoopt.techniques.low_rank import ActivationSvd, Svd, SvdEnergy, whitened
from autoopt.techniques.tied import TiedLayers, distances
from tests.technique_models import HERE, task_of


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def correlated(count: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator) * torch.logspace(0, -2, width)
    return torch.randn(count, width, generator=generator) @ mixing


def output_error(x: torch.Tensor, wanted: torch.Tensor, left: Any, right: Any) -> float:
    return float((x @ (wanted - left @ right).T).double().square().sum(dim=1).mean())


def test_whitening_minimises_the_error_of_the_outputs_and_that_is_the_discarded_part():
    torch.manual_seed(0)
    x, weight = correlated(400, 12), torch.randn(10, 12)
    moment = (x.double().T @ x.double()) / len(x)
    error = output_error(x, weight, *whitened(weight, moment, 4))
    s = torch.linalg.cholesky(moment)
    discarded = torch.linalg.svdvals(weight.double() @ s)[4:].square().sum()
    assert error == pytest.approx(float(discarded), rel=0.02)
    u, values, v = torch.linalg.svd(weight, full_matrices=False)
    plain = output_error(x, weight, u[:, :4] * values[:4], v[:4])
    assert error < 0.8 * plain


def test_the_diagonal_alone_weighs_inputs_one_by_one():
    torch.manual_seed(0)
    weight, scales = torch.randn(6, 8), torch.logspace(0, -3, 8)
    x = torch.randn(500, 8) * scales
    moment = x.double().square().mean(dim=0)
    u, values, v = torch.linalg.svd(weight, full_matrices=False)
    plain = output_error(x, weight, u[:, :3] * values[:3], v[:3])
    assert output_error(x, weight, *whitened(weight, moment, 3)) < plain


@pytest.mark.parametrize("name", ["stem", "blocks.0.conv1", "blocks.2.conv1", "head"])
def test_moments_are_those_of_what_the_weight_multiplies(name):
    task = task_of("residual")
    seen: dict[str, Any] = {}

    def hook(module, args, output):
        seen["out"] = output

    model = task.model
    handle = model.get_submodule(name).register_forward_hook(hook)
    with torch.no_grad():
        task.forward(model, task.calibration.inputs(256))
    handle.remove()
    layer: Any = model.get_submodule(name)
    out = seen["out"] if layer.bias is None else _without(seen["out"], layer.bias.detach())
    energy = out.movedim(1, -1).flatten(0, -2).double().square().sum(dim=1).mean()
    matrix = as_matrix(layer).double()
    moment = second_moments(model, task, [name])[name]
    assert float(energy) == pytest.approx(float((matrix @ moment @ matrix.T).trace()), rel=1e-4)


def _without(out: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return out - bias.reshape(-1, *[1] * (out.ndim - 2))


def test_a_series_is_patched_like_an_image_of_one_row():
    task = task_of("plain")
    layer = nn.Conv1d(2, 3, 3, padding=1, stride=2, bias=False)

    class Series(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = layer

        def forward(self, x):
            return self.conv(x.flatten(1).view(len(x), 2, 32))

    model = Series()
    moment = second_moments(model, task, ["conv"])["conv"]
    with torch.no_grad():
        out = model(task.calibration.inputs(256)[0]).movedim(1, -1).flatten(0, 1)
    energy = out.double().square().sum(dim=1).mean()
    matrix = as_matrix(layer).double()
    assert float(energy) == pytest.approx(float((matrix @ moment @ matrix.T).trace()), rel=1e-4)


@pytest.mark.parametrize("technique", [Svd(0.25), Svd(0.25, "spatial"), ActivationSvd(0.25)])
@pytest.mark.parametrize("kind", ["residual", "concat", "separable", "attention", "plain"])
def test_factored_networks_are_smaller(technique, kind):
    task = task_of(kind)
    network, edits = technique.rewrite(task.model, task)
    assert weights(network) < weights(task.model)
    assert edits


def test_activation_aware_factors_keep_the_outputs_better_than_plain_ones():
    task = task_of("plain")
    x = task.calibration.inputs()
    with torch.no_grad():
        expected = task.forward(task.model, x)
        errors = [
            float((task.forward(technique.apply(task.model, task), x) - expected).square().mean())
            for technique in (ActivationSvd(0.2), Svd(0.2))
        ]
    assert errors[0] < errors[1]


def test_energy_keeps_more_of_layers_whose_weights_are_of_higher_rank():
    task = task_of("plain")
    model: Any = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 4))
    with torch.no_grad():
        model[1].weight.copy_(torch.outer(torch.ones(32), torch.arange(64.0)))
    ranks = {edit.module: edit.rank for edit in SvdEnergy(0.6).edits(model, task)}
    assert ranks["1"] == 1
    assert ranks.get("2", 32) > 4


def test_a_layer_that_would_grow_stays_and_where_all_would_it_is_refused():
    task = task_of("plain")
    edits = Svd(0.4).edits(task.model, task)
    assert all(edit.module in {"1", "3", "6"} for edit in edits)
    with pytest.raises(RefusedError, match="no layer of this network would get smaller"):
        Svd(0.9).edits(task.model, task)


def test_large_ranks_are_multiples_of_eight():
    task = task_of("plain")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.Linear(100, 4))
    (edit,) = Svd(0.3).edits(model, task)
    assert (edit.module, edit.rank) == ("1", 16)


def test_layers_that_share_a_weight_stay_whole():
    task = task_of("shared")
    names = {edit.module for edit in Svd(0.2).edits(task.model, task)}
    assert names
    assert not names & {"up", "down"}


def test_a_layer_that_must_stay_whole_does():
    task = task_of("encoder")
    # The fused kernel of TransformerEncoderLayer reads the weights of its linear layers itself.
    reason = Svd(0.2).refuse(task, HERE)
    if reason is None:
        with pytest.raises(RefusedError, match="does not run with its layers changed"):
            Svd(0.2).rewrite(task.model, task)


def test_networks_without_such_layers_are_refused():
    task = task_of("lstm")
    assert "no linear layer" in str(Svd().refuse(task, HERE))
    assert "no two layers" in str(TiedLayers().refuse(task, HERE))


def test_distances_are_relative_to_the_norms():
    table = distances([torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0]), torch.tensor([6.0, 0])])
    assert float(table[0, 1]) == pytest.approx(2**0.5)
    assert float(table[0, 2]) == pytest.approx(3 / 18**0.5)


def test_the_layers_that_are_most_alike_are_tied():
    task = task_of("attention")
    model: Any = task.model
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.blocks[1].query.weight.copy_(model.blocks[0].key.weight + 0.01)
    network: Any
    network, edits = TiedLayers(0.1).rewrite(model, task)
    assert {edit.modules for edit in edits} >= {("blocks.0.key", "blocks.1.query")}
    assert network.blocks[1].query.weight is network.blocks[0].key.weight
    assert network.blocks[0].up.weight is network.blocks[1].up.weight
    assert weights(network) < weights(task.model)


@pytest.mark.parametrize("value", [0, 1, -0.5, float("nan")])
def test_shares_out_of_bounds_are_named(value):
    for make in (Svd, SvdEnergy, ActivationSvd, TiedLayers):
        with pytest.raises(ValueError, match="must be above 0 and below 1, but got"):
            make(value)
    with pytest.raises(ValueError, match="`scheme` must be one of 'channel', 'spatial', but got"):
        Svd(scheme="rows")  # type: ignore[arg-type]  # the error is the test


def test_patches_cut_out_in_pieces_give_the_same_moments(monkeypatch):
    from autoopt.techniques import _moments

    task = task_of("residual")
    whole = second_moments(task.model, task, ["stem"])["stem"]
    monkeypatch.setattr(_moments, "MOST_VALUES", 1)
    torch.testing.assert_close(second_moments(task.model, task, ["stem"])["stem"], whole)
