"""Un-pruning gives back what was there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from autoopt.errors import ModelError
from autoopt.plan import Drop
from autoopt.regrowth import regrown
from autoopt.replay import replay
from autoopt.techniques.channel_pruning import MagnitudePruning
from tests.technique_models import NETS, task_of


def same(left: Any, right: Any) -> bool:
    return all(
        torch.equal(value, right.state_dict()[name]) for name, value in left.state_dict().items()
    )


@pytest.mark.parametrize("kind", NETS)
def test_without_training_un_pruning_gives_the_original_bit_for_bit(kind):
    task = task_of(kind)
    edits = MagnitudePruning(0.5).edits(task.model, task)
    pruned = replay(task.model, edits)
    grown = regrown(task.model, edits, pruned)
    assert same(grown, task.model)
    assert not any(
        grown.get_parameter(name) is parameter for name, parameter in task.model.named_parameters()
    )


def test_what_was_trained_keeps_its_new_weights_and_what_comes_back_has_its_old_ones():
    task = task_of("plain")
    edits = MagnitudePruning(0.5).edits(task.model, task)
    pruned = copy.deepcopy(replay(task.model, edits))
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter.add_(1)
    grown = regrown(task.model, edits, pruned)
    assert same(replay(grown, edits), pruned)
    moved = sum(
        int((value - task.model.state_dict()[name]).abs().gt(0.5).sum())
        for name, value in grown.named_parameters()
    )
    assert moved == sum(parameter.numel() for parameter in pruned.parameters())


def test_only_cuts_that_lead_to_the_network_can_be_undone():
    task = task_of("plain")
    with pytest.raises(ModelError, match="Only cuts of channels can be undone, but got Drop"):
        regrown(task.model, [Drop("3")], task.model)
    edits = MagnitudePruning(0.5).edits(task.model, task)
    with pytest.raises(ModelError, match="do not lead from the original"):
        regrown(task.model, edits, task.model)
