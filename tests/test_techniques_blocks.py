from __future__ import annotations

import pytest
import torch
from torch import nn

from autoopt.errors import RefusedError
from autoopt.plan import Drop
from autoopt.replay import replay
from autoopt.techniques._blocks import changes, droppable
from autoopt.techniques.students import DepthStudent
from tests.architectures import untrained_task
from tests.technique_models import HERE, Residual, task_of


def net_of(*blocks):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()


def test_blocks_that_change_the_shape_stay():
    task = task_of("residual")
    assert droppable(task.model, task) == ["blocks.0", "blocks.1", "blocks.3"]


def test_stages_only_hold_the_blocks_that_count():
    stages = [nn.Sequential(Residual(8, 8), Residual(8, 8)) for _ in range(2)]
    assert droppable(net_of(*stages), task_of("residual")) == ["1.0", "1.1", "2.0", "2.1"]


def test_layers_inside_a_block_are_no_blocks_of_their_own():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(Residual(8, 8), Residual(8, 8))

        def forward(self, x):
            return x + self.layers(x)

    assert droppable(net_of(Pair(), Pair()), task_of("residual")) == ["1", "2"]


def test_plain_layers_count_where_there_is_nothing_larger():
    task = task_of("plain")
    assert droppable(task.model, task) == ["3", "6"]


def test_a_block_that_is_called_twice_or_takes_two_tensors_stays():
    class Adding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, y):
            return self.layer(x) + y

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.adding = nn.ModuleList(Adding() for _ in range(2))
            self.again = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(2))
            self.first = nn.Linear(64, 4)

        def forward(self, x):
            y = self.first(x.flatten(1))
            for adding, again in zip(self.adding, self.again, strict=True):
                y = adding(again(again(y)), y)
            return y

    assert droppable(Odd(), task_of("plain")) == []


def test_the_block_that_changes_least_goes_and_the_rest_is_spread_evenly():
    torch.manual_seed(0)
    task, blocks = task_of("residual"), [Residual(8, 8) for _ in range(4)]
    model = net_of(*blocks)
    with torch.no_grad():
        for idle in (blocks[1], blocks[2]):
            idle.bn2.weight.zero_()
            idle.bn2.bias.zero_()
    change = changes(model, task, ["1", "2", "3", "4"])
    assert max(change["2"], change["3"]) < min(change["1"], change["4"])
    assert DepthStudent(0.5).edits(model, task) == (Drop("2"), Drop("3"))
    assert len(DepthStudent(0.75).edits(model, task)) == 1
    assert DepthStudent(1).edits(model, task) == ()


def test_a_network_without_repeated_blocks_is_refused():
    task = task_of("concat")
    assert "no repeated blocks" in str(DepthStudent(0.5).refuse(task, HERE))
    with pytest.raises(RefusedError, match="no repeated blocks"):
        DepthStudent(0.5).edits(task.model, task)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("vit", "vit.layers"),
        ("bert", "bert.encoder.layer"),
        ("gpt2", "transformer.h"),
        ("llama", "model.layers"),
    ],
)
def test_blocks_of_transformers_go_whole_though_they_take_masks_and_positions(name, blocks):
    task = untrained_task(name)
    assert droppable(task.model, task) == [f"{blocks}.{number}" for number in range(3)]
    network = replay(task.model, DepthStudent(0.5).edits(task.model, task)).eval()
    left = {key for key, _ in network.named_parameters() if key.startswith(blocks)}
    assert len({key.removeprefix(f"{blocks}.").partition(".")[0] for key in left}) == 1
    assert task.forward(network, task.example).isfinite().all()


def test_the_network_runs_once_a_block_and_no_more_than_are_asked_for(monkeypatch):
    task = task_of("residual")
    runs = []
    plain = type(task).forward

    def counted(self, network, inputs):
        runs.append(network)
        return plain(self, network, inputs)

    monkeypatch.setattr(type(task), "forward", counted)
    # One looks at the shapes, one at the output, and one is without each of the three.
    assert len(droppable(task.model, task)) == 3
    assert len(runs) == 5
    runs.clear()
    assert droppable(task.model, task, most=1) == ["blocks.0"]
    assert len(runs) == 3
