"""Unstructured pruning, thresholds and grids, against their formulas."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoopt.errors import RefusedError
from autoopt.techniques._allocation import Allocation, cubic
from autoopt.techniques._contributions import Steadiness, contributions
from autoopt.techniques._sparse_layers import sparse_weights, weight_scores
from autoopt.techniques._zeros import HeldZeros
from autoopt.techniques.finetune import FineTune
from autoopt.techniques.rounded import RoundedWeights, rounded
from autoopt.techniques.soft_threshold import SoftThreshold, soft_threshold
from autoopt.techniques.sparse import PatternPruning, SparsePruning, n_of_m
from autoopt.zeros import zero_share
from tests.strategies import matrices
from tests.technique_models import HERE, task_of


def zeros_of(network: nn.Module) -> float:
    weights = sparse_weights(network).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@settings(max_examples=60, deadline=None)
@given(x=matrices(), a=st.floats(0, 3))
def test_the_soft_threshold_is_its_closed_form(x, a):
    array = x.numpy()
    wanted = np.where(np.abs(array) > np.float32(a), array - np.float32(a) * np.sign(array), 0)
    np.testing.assert_allclose(soft_threshold(x, a).numpy(), wanted, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(-4, 4), a=st.floats(0.01, 3))
def test_the_soft_threshold_minimises_the_penalised_distance(x, a):
    grid = np.linspace(-5, 5, 20_001)
    best = grid[np.argmin((grid - x) ** 2 / 2 + a * np.abs(grid))]
    found = float(soft_threshold(torch.tensor(x, dtype=torch.float64), a))
    assert found == pytest.approx(best, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(x=matrices(), bits=st.sampled_from([2, 3, 4, 6, 8]))
def test_a_dequantized_weight_is_within_half_a_step_of_what_it_was(x, bits):
    grid, steps = rounded(x, bits)
    assert bool(((grid - x).abs() <= steps[:, None] / 2 * (1 + 1e-4) + 1e-6).all())
    levels = (grid / steps[:, None]).round()
    assert int(levels.abs().max()) <= 2 ** (bits - 1) - 1


@settings(max_examples=60, deadline=None)
@given(x=matrices(columns=8), pattern=st.sampled_from([(2, 4), (1, 4), (4, 8)]))
def test_of_every_m_weights_the_n_largest_stay(x, pattern):
    kept, of = pattern
    pruned = n_of_m(x, kept, of)
    for row, before in zip(pruned.reshape(-1, of), x.reshape(-1, of), strict=True):
        stayed = row != 0
        assert int(stayed.sum()) <= kept
        assert torch.equal(row[stayed], before[stayed])
        assert float(row.abs().sum()) == pytest.approx(
            float(before.abs().sort(descending=True).values[:kept].sum()), rel=1e-5
        )


def test_the_pattern_runs_along_the_inputs_of_every_kind_of_layer():
    task = task_of("residual")
    network = PatternPruning("2:4").apply(task.model, task)
    weight = network.get_parameter("blocks.0.conv1.weight").detach()
    assert int((weight.reshape(16, 4, 4, 3, 3) != 0).sum(dim=2).max()) == 2
    transposed = nn.Sequential(nn.ConvTranspose2d(4, 2, 3))
    after: Any = PatternPruning().apply(transposed, task)
    assert bool(((after[0].weight != 0).sum(dim=0) == 2).all())
    reason = PatternPruning("4:8").refuse(task, HERE)
    assert reason is None
    with pytest.raises(RefusedError, match="no layer has a number of inputs that 4:8 divides"):
        PatternPruning("4:8").apply(nn.Sequential(nn.Linear(6, 3)), task)


@pytest.mark.parametrize(
    ("importance", "allocation"),
    [
        *((importance, "global") for importance in ("magnitude", "taylor", "stability", "random")),
        ("magnitude", "uniform"),
        ("magnitude", "sensitivity"),
    ],
)
def test_the_share_asked_for_becomes_zero_and_the_rest_stays_as_it_was(importance, allocation):
    task = task_of("plain")
    pruning = SparsePruning(0.6, importance, allocation)
    network = pruning.apply(task.model, task)
    assert zeros_of(network) == pytest.approx(0.6, abs=0.01)
    for name, weight in sparse_weights(network).items():
        before = task.model.get_parameter(name)
        assert torch.equal(weight[weight != 0], before[weight != 0])


def test_the_smallest_of_the_whole_network_go_first():
    task = task_of("plain")
    network = SparsePruning(0.5).apply(task.model, task)
    gone, left = [], []
    for name, weight in sparse_weights(network).items():
        before = task.model.get_parameter(name).detach().abs()
        gone.append(before[weight == 0])
        left.append(before[weight != 0])
    assert float(torch.cat(gone).max()) <= float(torch.cat(left).min())


@pytest.mark.parametrize("kind", ["plain", "residual", "lstm", "encoder"])
def test_zeros_stay_zero_under_recovery(kind):
    task = task_of(kind)
    network = SparsePruning(0.7).apply(task.model, task)
    trained = FineTune(epochs=2).apply(network, task)
    for name, weight in sparse_weights(trained).items():
        before = network.get_parameter(name)
        assert bool((weight[before == 0] == 0).all())
        assert not torch.equal(weight, before)


def test_a_weight_that_is_zero_throughout_is_free_to_learn():
    layer = nn.Linear(3, 3)
    nn.init.zeros_(layer.weight)
    zeros = HeldZeros(layer)
    layer.weight.data.fill_(1)
    zeros.hold()
    assert bool((layer.weight == 1).all())


def test_an_iterative_schedule_rises_as_a_cube_and_ends_at_the_share():
    rise = [cubic(step, 4, 0.8) for step in range(5)]
    assert rise[0] == 0
    assert rise[-1] == pytest.approx(0.8)
    assert rise[1] == pytest.approx(0.8 * (1 - 0.75**3))
    steps = np.diff(rise)
    assert all(later < earlier for earlier, later in pairwise(steps))
    task = task_of("plain")
    pruning = SparsePruning(0.8, schedule="iterative", epochs=2)
    assert pruning.trains
    assert zeros_of(pruning.apply(task.model, task)) == pytest.approx(0.8, abs=0.01)
    assert not SparsePruning().trains


def test_a_layer_with_a_share_of_its_own_rises_to_it_as_the_others_do(monkeypatch):
    shares = []

    def seen(network: nn.Module, task: Any) -> nn.Module:
        shares.append(float((network.get_parameter("3.weight") == 0).float().mean()))
        return network

    monkeypatch.setattr("autoopt.techniques.sparse.train_on", seen)
    task = task_of("plain")
    SparsePruning(0.5, layers="3=0.8", schedule="iterative", epochs=4).rewrite(task.model, task)
    assert shares == pytest.approx([cubic(step, 4, 0.8) for step in (1, 2, 3, 4)], abs=0.001)


def test_shrinking_and_training_in_turn_leaves_zeros():
    task = task_of("plain")
    network = SoftThreshold(1.0, epochs=2).apply(task.model, task)
    assert 0.2 < zeros_of(network) < 0.98
    assert zero_share(network) == pytest.approx(zeros_of(network))


def test_contributions_are_the_first_order_change_of_the_loss():
    task = task_of("plain")
    model = copy.deepcopy(task.model).double()
    x, y = next(iter(task.calibration.batches(16)))
    x = tuple(tensor.double() for tensor in x)

    def loss(network):
        with torch.no_grad():
            return float(task.loss(task.forward(network, x), y))

    task_d = _Double(task)
    found = next(iter(contributions(model, task_d, batch=16)))["3.weight"]  # type: ignore[arg-type]  # a double of it
    for row in (0, 7, 20):
        nearly = copy.deepcopy(model)
        with torch.no_grad():
            nearly.get_parameter("3.weight")[row] *= 1 - 1e-5
        rise = (loss(nearly) - loss(model)) / 1e-5
        assert rise == pytest.approx(-float(found[row].sum()), rel=1e-2, abs=1e-5)


class _Double:
    """The same task in float64, for finite differences."""

    def __init__(self, task):
        self._task = task
        self.loss = task.loss
        self.calibration = self

    def batches(self, size):
        for inputs, targets in self._task.calibration.batches(size):
            yield tuple(tensor.double() for tensor in inputs), targets

    def forward(self, model, inputs):
        return self._task.forward(model, inputs)


def test_units_that_always_rank_high_are_steadier_than_those_that_flip():
    steady = Steadiness()
    for values in ([3.0, 0.0, 1.0], [3.0, 2.0, 0.0], [3.0, 0.0, 1.0]):
        steady.add(torch.tensor(values))
    always, flips, _ = steady.value()
    assert float(always) == pytest.approx(1, abs=1e-3)
    assert flips < 0.6


def test_steadiness_is_of_the_rank_whatever_the_sign(monkeypatch):
    task = task_of("plain")
    batches = list(contributions(task.model, task))
    flipped = [
        {name: -value if number % 2 else value for name, value in found.items()}
        for number, found in enumerate(batches)
    ]
    scores = []
    for given_ in (batches, flipped):
        monkeypatch.setattr(
            "autoopt.techniques._sparse_layers.contributions", lambda *_, given_=given_: given_
        )
        scores.append(weight_scores(task.model, task, "stability"))
    assert len(batches) > 1
    assert all(torch.equal(value, scores[1][name]) for name, value in scores[0].items())


def test_random_importance_is_the_same_for_the_same_seed_and_tells_nothing_of_the_weights():
    task = task_of("plain")
    first, second = (weight_scores(task.model, task, "random") for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_that_cannot_be_zeroed_are_left_out_or_refused():
    embedding = nn.Embedding(5, 4)
    head = nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    model = nn.ModuleDict({"embedding": embedding, "head": head})
    assert not sparse_weights(model)
    complex_ = nn.Sequential(nn.Linear(4, 4, dtype=torch.complex64))
    task = task_of("plain")
    for technique in (SparsePruning(), PatternPruning(), SoftThreshold(), RoundedWeights()):
        with pytest.raises(RefusedError, match=r"no linear, convolutional.*with real weights"):
            technique.rewrite(complex_, task)


def test_gradients_that_do_not_flow_are_refused_with_the_reason():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 4)

        def forward(self, x):
            return self.layer(x.flatten(1)).detach()

    task = task_of("plain")
    with pytest.raises(RefusedError, match="needs gradients, and the network gives none"):
        SparsePruning(importance="taylor").rewrite(Cut(), task)


def test_layers_named_get_their_own_share_and_absent_ones_bring_the_nearest():
    task = task_of("residual")
    network = SparsePruning(0.5, layers="blocks.0=0, blocks.0.conv2=0.25").apply(task.model, task)
    zeros = {name: float((w == 0).float().mean()) for name, w in sparse_weights(network).items()}
    assert zeros["blocks.0.conv1.weight"] == 0
    assert zeros["blocks.0.conv2.weight"] == pytest.approx(0.25, abs=0.01)
    assert zeros["blocks.3.conv2.weight"] > 0.3
    reason = SparsePruning(0.5, layers="block.0.conv1=0.5").refuse(task, HERE)
    assert "no layer 'block.0.conv1'" in str(reason)
    assert "'blocks.0.conv1'" in str(reason)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    ratio=st.floats(0.05, 0.85),
    slope=st.floats(-1, 1),
)
def test_a_uniform_allocation_makes_up_its_ratio_and_tilts_with_the_slope(sizes, ratio, slope):
    scores = {str(number): torch.arange(float(size)) for number, size in enumerate(sizes)}
    shares = Allocation(ratio, "uniform", slope).shares(scores, lambda name, share: 0.0)
    total = sum(shares[name] * scores[name].numel() for name in scores)
    capped = any(share == 0.9 for share in shares.values()) or abs(slope) == 1
    if not capped:
        assert total == pytest.approx(ratio * sum(sizes), rel=1e-6)
    order = list(shares.values())
    assert order == sorted(order, reverse=slope < 0)


def test_a_sensitive_layer_is_spared():
    scores = {"a": torch.rand(50), "b": torch.rand(50)}
    rises = {"a": 4.0, "b": 0.1}
    shares = Allocation(0.5, "sensitivity").shares(scores, lambda name, share: rises[name])
    assert shares["a"] < 0.35 < 0.65 < shares["b"]
    assert shares["a"] + shares["b"] == pytest.approx(1)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(0, 10)), min_size=1, max_size=12),
    st.floats(0.01, 0.99),
)
def test_sensitive_layers_keep_more_and_none_is_emptied(layers, ratio):
    scores = {str(number): torch.arange(float(size)) for number, (size, _) in enumerate(layers)}
    rises = {str(number): rise for number, (_, rise) in enumerate(layers)}
    shares = Allocation(ratio, "sensitivity").shares(scores, lambda name, share: rises[name])
    total = sum(size for size, _ in layers)
    gone = sum(shares[name] * scores[name].numel() for name in scores)
    assert gone == pytest.approx(min(ratio, 0.9) * total, rel=1e-6)
    by_rise = sorted(scores, key=rises.__getitem__)
    assert all(shares[a] >= shares[b] - 1e-9 for a, b in pairwise(by_rise))
    kept = [1 - share for share in shares.values()]
    assert min(kept) >= max(0.1 - 1e-9, 0.25 * max(kept) - 1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, "must be above 0 and below 1, but got 1.0"),
        ({"sparsity": 0}, "must be above 0 and below 1, but got 0"),
        ({"importance": "size"}, "`importance` must be one of 'magnitude', .* but got 'size'"),
        ({"schedule": "often"}, "`schedule` must be one of 'one_shot', 'iterative', but got"),
        ({"allocation": "fair"}, "`allocation` must be one of 'global'"),
        ({"epochs": 0}, "`epochs` must be at least 1, but got 0"),
        (
            {"slope": 2.0, "allocation": "uniform"},
            "`slope` must be at least -1 and at most 1, but got 2",
        ),
        ({"slope": 0.5}, "`slope` tilts the allocation 'uniform' alone"),
        ({"layers": "stem"}, "`layers` must name layers or stages.* but got 'stem'"),
        ({"layers": "stem=2"}, "but got 'stem=2'"),
    ],
)
def test_settings_out_of_bounds_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SparsePruning(**settings)


def test_other_settings_out_of_bounds_are_named():
    with pytest.raises(ValueError, match="`pattern` must be one of '2:4', '1:4', '4:8', but got"):
        PatternPruning("3:4")  # type: ignore[arg-type]  # the error is the test
    with pytest.raises(ValueError, match="`strength` must be above 0 and finite, but got 0"):
        SoftThreshold(0)
    with pytest.raises(ValueError, match="`bits` must be one of 2, 3, 4, 6, 8, but got 5"):
        RoundedWeights(5)  # type: ignore[arg-type]  # the error is the test
