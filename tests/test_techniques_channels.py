from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.plan import Keep
from autoopt.replay import replay
from autoopt.task import Task
from autoopt.techniques._channel_groups import ChannelGraph, aligned, refusal
from autoopt.techniques.channel_pruning import MagnitudePruning
from autoopt.techniques.students import WidthStudent
from tests.architectures import untrained_task
from tests.technique_models import HERE, NETS, UNTRACEABLE, task_of


def keeps(student: WidthStudent, model: nn.Module, task: Task) -> list[Keep]:
    """The edits, all of which cut channels here."""
    edits = student.edits(model, task)
    kept = [edit for edit in edits if isinstance(edit, Keep)]
    assert len(kept) == len(edits)
    return kept


CUTS: list[WidthStudent | MagnitudePruning] = [
    WidthStudent(0.5),
    WidthStudent(0.25),
    MagnitudePruning(0.3),
    MagnitudePruning(0.7),
]


def pruned_by_the_library(task, edits):
    """Cut a scratch copy with Torch-Pruning itself, one group after the other."""
    graph = ChannelGraph(task.model, task)
    by_name = {edit.module: edit for edit in edits if edit.axis == "out"}
    scratch = graph._traced
    for group in graph.groups:
        edit = by_name.get(group.root)
        if edit is not None:
            graph.removed(group.root, edit.indices).prune()
    return scratch.eval()


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("kind", NETS)
def test_replaying_gives_bit_for_bit_what_torch_pruning_itself_makes(kind, cut):
    task = task_of(kind)
    edits = cut.edits(task.model, task)
    x = task.validation.inputs()
    with torch.no_grad():
        replayed = task.forward(replay(task.model, edits), x)
        expected = task.forward(pruned_by_the_library(task, edits), x)
    assert torch.equal(replayed, expected)
    assert edits


@pytest.mark.parametrize("kind", NETS)
def test_half_the_width_leaves_a_multiple_of_eight_channels_and_a_quarter_of_the_weights(kind):
    task = task_of(kind)
    edits = keeps(WidthStudent(0.5), task.model, task)
    assert all(len(edit.indices) % 8 == 0 for edit in edits)
    count = [
        sum(p.numel() for p in m.parameters()) for m in (task.model, replay(task.model, edits))
    ]
    assert count[1] < 0.5 * count[0]


@pytest.mark.parametrize("kind", NETS)
def test_the_last_layer_keeps_its_width(kind):
    task = task_of(kind)
    for cut in CUTS:
        edits = cut.edits(task.model, task)
        last = [name for name, m in task.model.named_modules() if isinstance(m, nn.Linear)][-1]
        kept = [edit for edit in edits if isinstance(edit, Keep)]
        assert not [edit for edit in kept if edit.module == last and edit.axis == "out"]


def test_heads_of_a_fixed_size_stay_whole_and_the_rest_is_cut():
    task = task_of("attention")
    edits = {(edit.module, edit.axis): edit for edit in keeps(WidthStudent(0.5), task.model, task)}
    assert ("blocks.0.query", "out") not in edits
    assert len(edits["blocks.0.up", "out"].indices) == 64


def test_channels_of_small_weights_go_first():
    task = task_of("plain")
    model: Any = copy.deepcopy(task.model)
    with torch.no_grad():
        for layer in (model[1], model[6]):
            layer.weight[4:28] *= 1e-3
    (edit,) = [
        edit
        for edit in keeps(WidthStudent(0.25), model, task)
        if edit.module == "6" and edit.axis == "out"
    ]
    assert set(edit.indices) == {0, 1, 2, 3, 28, 29, 30, 31}


def test_magnitude_is_compared_over_the_whole_network_but_spares_a_tenth_of_each_layer():
    task = task_of("plain")
    model: Any = copy.deepcopy(task.model)
    with torch.no_grad():
        model[1].weight.mul_(torch.linspace(-3, 3, 32).pow(5)[:, None])
    kept = {
        edit.module: len(edit.indices)
        for edit in MagnitudePruning(0.3).edits(model, task)
        if edit.axis == "out"
    }
    assert kept["1"] < min(kept.get("3", 32), kept.get("6", 32))
    every = {
        edit.module: len(edit.indices)
        for edit in MagnitudePruning(0.99).edits(task.model, task)
        if edit.axis == "out"
    }
    assert min(every.values()) >= 4


def test_a_second_cut_counts_in_what_the_first_left():
    task = task_of("residual")
    first = WidthStudent(0.5).edits(task.model, task)
    student = replay(task.model, first)
    second = MagnitudePruning(0.4).edits(student, task)
    both, after = replay(task.model, first + second), replay(student, second)
    x = task.example
    with torch.no_grad():
        assert torch.equal(task.forward(both, x), task.forward(after, x))


def test_shared_weights_stay_shared_after_the_cut():
    task = task_of("shared")
    network: Any = replay(task.model, WidthStudent(0.5).edits(task.model, task))
    assert network.down.weight is network.up.weight
    assert network.up.out_features == 16


@pytest.mark.parametrize("kind", UNTRACEABLE)
def test_what_cannot_be_traced_is_refused_with_its_name_and_reason(kind):
    task = task_of(kind)
    reason = MagnitudePruning(0.5).refuse(task, HERE)
    assert reason is not None
    assert {"lstm": "'lstm' (LSTM)", "encoder": "TransformerEncoderLayer"}[kind] in reason
    assert "`heads`, `feed_forward` and `recurrent`" in reason


def test_a_student_of_half_the_width_has_half_the_units_where_channels_cannot_be_followed():
    for name in ("gpt2", "llama", "lstm"):
        task = untrained_task(name)
        student = WidthStudent(0.5)
        assert student.refuse(task, HERE) is None
        network: Any = replay(task.model, student.edits(task.model, task)).eval()
        assert task.forward(network, task.example).isfinite().all()
        if name == "gpt2":
            assert network.transformer.h[0].attn.num_heads == 2
            assert network.transformer.h[2].mlp.c_fc.weight.shape == (48, 96)
        if name == "llama":
            assert network.model.layers[1].mlp.gate_proj.out_features == 48
            assert network.model.layers[1].self_attn.q_proj.out_features == 24
        if name == "lstm":
            original: Any = task.model
            assert network.recurrent.hidden_size * 2 == original.recurrent.hidden_size


def test_a_network_without_hidden_channels_is_refused():
    task = task_of("plain")
    with pytest.raises(RefusedError, match="no hidden channels"):
        WidthStudent(0.5).edits(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), task)
    assert "no convolution and no linear layer" in str(refusal(nn.Sequential(nn.Flatten())))
    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    assert "'0'" in str(refusal(nn.Sequential(parametrized)))


class Picky(nn.Module):
    """Runs at its own width only."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(64, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        y = self.up(x.flatten(1))
        if y.shape[1] != 32:
            raise RuntimeError("32 or nothing")
        return self.head(y)


def test_a_network_that_does_not_run_after_the_cut_is_refused_with_its_own_error():
    task = task_of("plain")
    with pytest.raises(RefusedError, match=r"does not run after the cut: .*32 or nothing"):
        MagnitudePruning(0.5).edits(Picky(), task)


@pytest.mark.parametrize(
    ("count", "rounded"), [(32, 32), (13, 16), (11, 8), (8, 8), (5, 5), (1, 4)]
)
def test_widths_are_rounded_to_eights_and_small_ones_to_four_at_least(count, rounded):
    assert aligned(count) == rounded


def test_settings_out_of_bounds_are_named():
    with pytest.raises(ValueError, match=r"`fraction` must be above 0.*got 0"):
        WidthStudent(0)
    with pytest.raises(ValueError, match=r"`ratio` must be at least 0.*got 1"):
        MagnitudePruning(1)


def test_nothing_to_cut_is_no_edit():
    task = task_of("plain")
    assert WidthStudent(1).edits(task.model, task) == ()
    assert MagnitudePruning(0).edits(task.model, task) == ()
