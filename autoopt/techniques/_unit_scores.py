"""How much each unit of a group matters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoopt.task.randomness import seeded
from autoopt.techniques._contributions import Steadiness, calibration_loss, contributions

if TYPE_CHECKING:
    from autoopt.task import Task
    from autoopt.techniques._units import UnitGroup

IMPORTANCES = ("l1", "l2", "taylor", "stability", "random")


def unit_scores(
    model: nn.Module, task: Task, groups: Sequence[UnitGroup], importance: str
) -> dict[str, Tensor]:
    """Return group → importance of its units, comparable from group to group.

    ``"l1"``, ``"l2"``: norm of the unit's rows and columns (the square, for l2), mean over the
    weights, divided by the group's mean, since layers differ in scale; ``"taylor"``: |change of
    the loss| to first order when the unit is removed, Σ w · ∂loss/∂w over its columns, mean over
    calibration batches; ``"stability"``: how steadily it ranks high in that from batch to batch,
    whatever its sign; ``"random"``: a control.
    """
    if importance == "random":
        with seeded(task.seed):
            return {group.name: torch.rand(group.size) for group in groups}
    if importance in ("l1", "l2"):
        return {
            group.name: _norms(model, group, 1 if importance == "l1" else 2) for group in groups
        }
    sums = {group.name: torch.zeros(group.size) for group in groups}
    steady = {group.name: Steadiness() for group in groups}
    count = 0
    for found in contributions(model, task):
        count += 1
        for group in groups:
            change = removal(group, found).abs()
            sums[group.name] += change
            steady[group.name].add(change)
    if importance == "taylor":
        return {name: total / count for name, total in sums.items()}
    return {name: ranks.value() for name, ranks in steady.items()}


def removal(group: UnitGroup, found: Mapping[str, Tensor]) -> Tensor:
    """Return the first-order fall of the loss when each unit is removed, from contributions."""
    total = torch.zeros(group.size)
    for slice_ in group.consumers:
        total += slice_.totals(found[slice_.parameter])
    return total


def sensitivity(model: nn.Module, task: Task, group: UnitGroup, gone: Sequence[int]) -> float:
    """Return the rise of the loss on calibration data when these units alone are removed."""
    network = copy.deepcopy(model).eval()
    before = calibration_loss(network, task)
    if gone:
        for slice_ in group.consumers:
            slice_.zero(network, gone)
    return calibration_loss(network, task) - before


def _norms(model: nn.Module, group: UnitGroup, power: int) -> Tensor:
    slices = (*group.producers, *group.consumers)
    total = torch.zeros(group.size)
    for slice_ in slices:
        weight = model.get_parameter(slice_.parameter).detach()
        total += slice_.totals(weight.abs() ** power).float() / len(slices)
    return total / total.mean().clamp_min(1e-12)
