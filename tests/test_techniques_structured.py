"""Structured pruning: what is cut is what was meant, and what matters least goes first."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoopt.errors import RefusedError
from autoopt.plan import Assign, Drop, Keep
from autoopt.replay import replay
from autoopt.techniques._allocation import Allocation
from autoopt.techniques._call_order import same_as_zeroed
from autoopt.techniques._channel_units import ChannelUnits
from autoopt.techniques._contributions import calibration_loss, contributions
from autoopt.techniques._feed_forward_units import FeedForwardUnits
from autoopt.techniques._head_units import HeadUnits
from autoopt.techniques._recurrent_units import RecurrentUnits
from autoopt.techniques._unit_scores import removal, unit_scores
from autoopt.techniques.block_pruning import BlockPruning
from autoopt.techniques.regrow import Regrow
from autoopt.techniques.stages import StagePruning
from autoopt.techniques.structured import (
    ChannelPruning,
    FeedForwardPruning,
    HeadPruning,
    RecurrentPruning,
)
from tests.hf_models import HF_NETS, hf_task
from tests.technique_models import HERE, task_of

# Norms over the channels of a group see other means when channels go: no equality there.
WITHOUT_NORMS = ["residual", "plain", "concat", "shared"]


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Heads(nn.Module):
    """An attention of plain layers that says how many heads it has."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        shape = (len(x), x.shape[1], 3, self.num_heads, self.head_dim)
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(q @ k.transpose(2, 3) / self.head_dim**0.5, dim=-1) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(len(x), x.shape[1], -1))
        return result


class HeadsNet(nn.Module):
    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.attention = Heads(32, heads)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Any:
        y = self.embed(x.flatten(1).view(len(x), 8, 8))
        return self.head((y + self.attention(y)).mean(dim=1))


@pytest.mark.parametrize("kind", WITHOUT_NORMS)
def test_cutting_channels_gives_what_zeroing_their_columns_gives(kind):
    task = task_of(kind)
    units = ChannelUnits(task.model, task)
    assert units.groups
    for group in units.groups:
        gone = range(1, group.size, 2)
        edits = units.edits({group.name: range(0, group.size, 2)})
        assert same_as_zeroed(task.model, task, group, edits, gone), group.name


@pytest.mark.parametrize("kind", HF_NETS)
@pytest.mark.parametrize("make", [HeadUnits, FeedForwardUnits])
def test_heads_and_feed_forward_channels_of_transformers_are_found_and_cut_right(kind, make):
    task = hf_task(kind)
    units = make(task.model, task)
    assert len(units.groups) >= 2
    whole = {group.name: range(group.size) for group in units.groups}
    for group in units.groups:
        edits = units.edits({**whole, group.name: range(group.size // 2)})
        gone = range(group.size // 2, group.size)
        assert same_as_zeroed(task.model, task, group, edits, gone), group.name


def test_heads_that_share_a_key_go_together():
    task = hf_task("llama")
    sizes = [group.size for group in HeadUnits(task.model, task).groups]
    assert sizes == [2, 2]
    network, edits = HeadPruning(0.5).rewrite(task.model, task)
    keeps = {edit.module: len(edit.indices) for edit in edits if isinstance(edit, Keep)}
    queries = [keeps[name] for name in keeps if name.endswith("q_proj")]
    keys = [keeps[name] for name in keeps if name.endswith("k_proj")]
    assert [2 * width for width in keys] == queries
    assert weights(network) < weights(task.model)


def test_numbers_that_a_module_keeps_of_its_heads_are_set():
    task = hf_task("gpt2")
    network, edits = HeadPruning(0.5, allocation="uniform").rewrite(task.model, task)
    numbers = {edit.attribute: edit.value for edit in edits if isinstance(edit, Assign)}
    assert numbers == {"num_heads": 2, "split_size": 16}
    with torch.no_grad():
        assert task.forward(network, task.example).isfinite().all()


@pytest.mark.parametrize("pruning", [HeadPruning(0.5), FeedForwardPruning(0.5)], ids=str)
@pytest.mark.parametrize("kind", HF_NETS)
def test_pruned_transformers_learn_on(pruning, kind):
    task = hf_task(kind)
    network, _ = pruning.rewrite(task.model, task)
    loss = task.loss(task.forward(network, task.example), next(iter(task.train.batches(4)))[1])
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]  # type: ignore[redundant-expr]  # unused ones are None
    assert found
    assert all(bool(gradient.isfinite().all()) for gradient in found)


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_fused_projection_is_read_in_either_order(interleaved):
    class Interleaved(Heads):
        def forward(self, x: Tensor) -> Tensor:
            shape = (len(x), x.shape[1], self.num_heads, 3, self.head_dim)
            q, k, v = self.qkv(x).view(shape).permute(3, 0, 2, 1, 4)
            mixed = torch.softmax(q @ k.transpose(2, 3), dim=-1) @ v
            result: Tensor = self.out(mixed.transpose(1, 2).reshape(len(x), x.shape[1], -1))
            return result

    task, model = task_of("plain"), HeadsNet()
    if interleaved:
        model.attention = Interleaved(32, 4)
    (group,) = HeadUnits(model, task).groups
    assert group.size == 4
    assert group.consumers[0].indices[1] == tuple(range(8, 16))
    network: Any = HeadPruning(0.5).apply(model, task)
    assert (network.attention.num_heads, network.attention.head_dim) == (2, 8)
    assert network.attention.qkv.out_features == 48


def test_one_head_has_to_stay():
    task = task_of("plain")
    network: Any = HeadPruning(0.99).apply(HeadsNet(), task)
    assert network.attention.num_heads == 1
    with pytest.raises(RefusedError, match="removes nothing here"):
        HeadPruning(0.5).rewrite(HeadsNet(heads=1), task)


def test_channels_that_never_end_are_refused_in_time():
    task = hf_task("llama")
    reason = str(ChannelPruning().refuse(task, HERE))
    assert "more than 10,000 steps" in reason
    assert "`heads`, `feed_forward` and `recurrent` cut inside" in reason


def test_what_has_no_units_of_a_kind_is_refused_in_words():
    for kind in ("residual", "lstm"):
        task = task_of(kind)
        assert "no attention was found" in str(HeadPruning().refuse(task, HERE))
        assert "no hidden layer" in str(FeedForwardPruning().refuse(task, HERE))
    reason = str(HeadPruning().refuse(task_of("encoder"), HERE))
    assert "'encoder.layers.0.self_attn' (MultiheadAttention) cannot be cut" in reason
    assert "'lstm' (LSTM) cannot be cut" in str(ChannelPruning().refuse(task_of("lstm"), HERE))


class TwoRecurrent(nn.Module):
    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.first = kind(8, 16, batch_first=True, **options)
        ways = 2 if options.get("bidirectional") else 1
        self.second = kind(16 * ways, 24, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.second(self.first(x[:, 0])[0])[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_hidden_units_of_recurrent_layers_are_cut_right(kind, options):
    task, model = task_of("lstm"), TwoRecurrent(kind, **options).eval()
    units = RecurrentUnits(model, task)
    assert [group.name for group in units.groups] == ["first", "second"]
    network: Any = RecurrentPruning(0.5, "taylor", "uniform").apply(model, task)
    assert (network.first.hidden_size, network.second.hidden_size) == (8, 16)
    assert weights(network) < 0.6 * weights(model)


def test_feed_forward_channels_of_a_fused_encoder_layer_are_cut():
    task = task_of("encoder")
    network: Any = FeedForwardPruning(0.5).apply(task.model, task)
    assert network.encoder.layers[0].linear1.out_features == 8


@pytest.mark.parametrize("kind", ["plain", "residual", "concat"])
def test_taylor_importance_is_the_change_of_the_loss_by_finite_differences(kind):
    task = task_of(kind)
    model = copy.deepcopy(task.model)
    group = ChannelUnits(model, task).groups[-1]
    found = next(iter(contributions(model, task, batch=16)))
    expected = removal(group, found)
    inputs, targets = next(iter(task.calibration.batches(16)))

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            return float(task.loss(task.forward(network, inputs).double(), targets))

    step = 1e-2
    for unit in range(0, group.size, 5):
        sides = []
        for sign in (1, -1):
            scaled = copy.deepcopy(model)
            with torch.no_grad():
                for slice_ in group.consumers:
                    weight = scaled.get_parameter(slice_.parameter)
                    places = torch.tensor(slice_.indices[unit])
                    weight.index_copy_(
                        slice_.axis,
                        places,
                        weight.index_select(slice_.axis, places) * (1 + sign * step),
                    )
            sides.append(loss(scaled))
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(
            float(expected[unit]), rel=0.02, abs=2e-4
        )


@pytest.mark.parametrize("importance", ["l1", "l2"])
def test_norms_are_sums_over_rows_and_columns(importance):
    task = task_of("plain")
    group = next(g for g in ChannelUnits(task.model, task).groups if g.name == "6")
    power = {"l1": 1, "l2": 2}[importance]
    rows = task.model.get_parameter("6.weight").detach().abs() ** power
    columns = task.model.get_parameter("8.weight").detach().abs() ** power
    wanted = (rows.sum(dim=1) + columns.sum(dim=0)) / 2
    found = unit_scores(task.model, task, [group], importance)[group.name]
    torch.testing.assert_close(found, wanted / wanted.mean())


@pytest.mark.parametrize(
    ("importance", "allocation"),
    [
        *((importance, "global") for importance in ("l1", "l2", "taylor", "stability", "random")),
        ("l2", "uniform"),
        ("l2", "sensitivity"),
    ],
)
def test_every_importance_and_allocation_removes_about_the_ratio(importance, allocation):
    task = task_of("residual")
    pruning = ChannelPruning(0.5, importance, allocation)
    before = sum(group.size for group in pruning.units(task.model, task).groups)
    network, edits = pruning.rewrite(task.model, task)
    left = sum(group.size for group in pruning.units(network, task).groups)
    assert 0.3 < left / before < 0.75
    assert weights(network) < 0.7 * weights(task.model)
    assert pruning.rewrite(task.model, task)[1] == edits


def test_a_unit_that_does_nothing_goes_first_whatever_its_norm():
    task = task_of("plain")
    model: Any = copy.deepcopy(task.model)
    with torch.no_grad():
        model[6].weight[:24] *= 10
        model[8].weight[:, :24] = 0
    _, edits = ChannelPruning(0.5, "taylor", layers="1=0, 3=0, 6=0.75").rewrite(model, task)
    (edit,) = [e for e in edits if isinstance(e, Keep) and (e.module, e.axis) == ("6", "out")]
    assert edit.indices == tuple(range(24, 32))
    assert not [e for e in edits if isinstance(e, Keep) and (e.module, e.axis) == ("3", "out")]


def test_iterative_pruning_trains_between_its_steps_and_ends_at_the_ratio():
    task = task_of("plain")
    once = ChannelPruning(0.5, allocation="uniform")
    often = ChannelPruning(0.5, allocation="uniform", schedule="iterative", epochs=2)
    assert (once.trains, often.trains) == (False, True)
    network, edits = often.rewrite(task.model, task)
    assert weights(network) == weights(once.apply(task.model, task))
    again = replay(task.model, edits)
    assert not torch.equal(
        next(iter(again.parameters())).detach(), next(iter(network.parameters())).detach()
    )


@pytest.mark.parametrize("steps", [2, 4, 8])
@pytest.mark.parametrize(
    "own",
    [
        {"ratio": 0.25, "layers": "1=0.5"},
        {"ratio": 0.5, "layers": "1=0.25"},
        {"ratio": 0.5, "layers": "1=0"},
        {"ratio": 0.5, "layers": "3=0.25, 6=0.75"},
        {"ratio": 0.5, "slope": 0.5},
        {"ratio": 0.7, "slope": -1.0},
    ],
    ids=str,
)
def test_however_many_steps_the_widths_in_the_end_are_those_of_one_cut(own, steps):
    task = task_of("plain")

    def widths(**schedule: Any) -> dict[str, int]:
        pruning = ChannelPruning(**{"allocation": "uniform", **own, **schedule})
        network = pruning.apply(task.model, task)
        return {group.name: group.size for group in pruning.units(network, task).groups}

    assert widths(schedule="iterative", epochs=steps) == widths()


@pytest.mark.parametrize("allocation", ["global", "sensitivity"])
def test_in_steps_a_ratio_counts_the_layers_alone_that_have_no_share_of_their_own(allocation):
    task = task_of("plain")
    pruning = ChannelPruning(0.5, "l2", allocation, layers="1=0", schedule="iterative", epochs=4)
    network = pruning.apply(task.model, task)
    left = {group.name: group.size for group in pruning.units(network, task).groups}
    assert left.pop("1") == 32
    assert sum(left.values()) == pytest.approx(32, abs=8)


def test_the_most_that_goes_of_a_layer_is_of_what_it_had_at_first():
    whole = {"a": 100, "b": 100}
    now = {"a": torch.zeros(20), "b": torch.arange(100.0) + 1}
    shares = Allocation(0.5, most=0.9).shares(now, lambda name, share: 0.0, whole=whole)
    assert shares["a"] == pytest.approx(0.5)
    assert Allocation(0.1).shares(now, lambda name, share: 0.0, whole=whole) == {"a": 0, "b": 0}


def test_late_stages_lose_more_where_the_slope_says_so():
    task = task_of("residual")

    def kept(slope: float) -> dict[str, int]:
        _, edits = StagePruning(0.5, slope).rewrite(task.model, task)
        return {
            edit.module: len(edit.indices)
            for edit in edits
            if isinstance(edit, Keep) and edit.axis == "out"
        }

    late, early = kept(0.9), kept(-0.9)
    assert late["blocks.3.conv1"] < early.get("blocks.3.conv1", 32)
    assert late.get("blocks.0.conv1", 16) > early["blocks.0.conv1"]


def test_layers_that_do_not_exist_bring_the_nearest():
    reason = str(ChannelPruning(layers="blocks.0.conv9=0.5").refuse(task_of("residual"), HERE))
    assert "no layer 'blocks.0.conv9'" in reason
    assert "'blocks.0.conv1'" in reason


@pytest.mark.parametrize("importance", ["loss", "similarity", "random"])
def test_blocks_are_left_out_but_one_always_stays(importance):
    task = task_of("residual")
    edits = BlockPruning(0.4, importance).edits(task.model, task)
    assert len(edits) == 1
    assert len(BlockPruning(0.99, importance).edits(task.model, task)) == 2
    assert all(isinstance(edit, Drop) for edit in edits)


def test_the_block_without_which_the_loss_is_least_goes():
    task = task_of("residual")
    names = ["blocks.0", "blocks.1", "blocks.3"]
    losses = [calibration_loss(replay(task.model, [Drop(name)]).eval(), task) for name in names]
    best = names[losses.index(min(losses))]
    assert BlockPruning(0.3, "loss").edits(task.model, task) == (Drop(best),)


def test_regrowth_ends_at_the_part_that_is_not_put_back():
    task = task_of("plain")
    network, edits = Regrow(0.75, 0.5, epochs=1).rewrite(task.model, task)
    smaller = ChannelPruning(0.75).apply(task.model, task)
    assert weights(smaller) < weights(network) < weights(task.model)
    assert edits
    whole, none = Regrow(0.5, 1.0, epochs=1).rewrite(task.model, task)
    assert none == ()
    assert weights(whole) == weights(task.model)
    # Half of the channels are as they were, the others have been trained.
    before, after = (m.get_parameter("6.weight") for m in (task.model, whole))
    same = (before == after).all(dim=1)
    assert 0 < int(same.sum()) < len(same)


class Squared(torch.autograd.Function):
    """A custom function: the trace does not know it, and it has its own gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Any:
        return self.head(Squared.apply(self.up(x.flatten(1))))


@pytest.mark.parametrize(
    "pruning", [ChannelPruning(importance="taylor"), FeedForwardPruning()], ids=str
)
def test_a_custom_autograd_function_is_cut_right_or_refused(pruning):
    task, model = task_of("plain"), Own()
    try:
        network, edits = pruning.rewrite(model, task)
    except RefusedError as error:
        pytest.fail(f"an elementwise function of its own was refused: {error}")
    (group,) = pruning.units(model, task).groups
    kept = next(e.indices for e in edits if isinstance(e, Keep) and e.module == "up")
    gone = sorted(set(range(32)) - set(kept))
    assert same_as_zeroed(model, task, group, edits, gone)
    assert weights(network) < weights(model)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Linear(64, 32, dtype=torch.complex64)
        self.up = nn.Linear(32, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        return self.head(torch.relu(self.up(self.turn(x.flatten(1).to(torch.complex64)).abs())))


@pytest.mark.parametrize("pruning", [ChannelPruning(importance="taylor"), FeedForwardPruning()])
def test_complex_weights_are_left_alone_and_real_ones_beside_them_cut(pruning):
    model = Complex()
    network, edits = pruning.rewrite(model, task_of("plain"))
    assert {edit.module for edit in edits} == {"up", "head"}
    assert torch.equal(network.get_parameter("turn.weight"), model.turn.weight)


@pytest.mark.parametrize("kind", ["plain", "attention"])
def test_integer_weights_are_left_alone(kind):
    task = task_of(kind)
    model = copy.deepcopy(task.model)
    model.register_parameter("table", nn.Parameter(torch.arange(4), requires_grad=False))
    pruning = FeedForwardPruning(importance="taylor")
    if pruning.refuse(task, HERE) is None:
        network, _ = pruning.rewrite(model, task)
        assert torch.equal(network.get_parameter("table"), torch.arange(4))


@pytest.mark.parametrize("value", [0, 1, -1, float("nan")])
def test_ratios_out_of_bounds_are_named(value):
    for make in (ChannelPruning, HeadPruning, FeedForwardPruning, BlockPruning, Regrow):
        with pytest.raises(ValueError, match="`ratio` must be above 0 and below 1, but got"):
            make(value)
    with pytest.raises(ValueError, match="`back` must be above 0 and at most 1, but got 0"):
        Regrow(back=0)
    with pytest.raises(ValueError, match=r"`importance` must be one of 'l1', 'l2', .*got 'size'"):
        ChannelPruning(importance="size")  # type: ignore[arg-type]  # the error is the test
