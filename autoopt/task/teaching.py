"""Teachers: networks that students learn from, and what they say about the train part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoopt.errors import ModelError
from autoopt.task.fingerprint import fingerprint, model_digest
from autoopt.task.foreign import shown_as
from autoopt.task.model import private_copy

if TYPE_CHECKING:
    from autoopt.task.checks import Trial
    from autoopt.task.layout import Inputs
    from autoopt.task.task import Task

FEWEST_IN_A_BATCH = 64


@torch.no_grad()
def outputs_on(task: Task, network: nn.Module) -> torch.Tensor:
    """Return a network's outputs on the train part, in order."""
    batches = task.train.batches(max(task.batch_size, FEWEST_IN_A_BATCH))
    return torch.cat([task.forward(network, inputs) for inputs, _ in batches])


def checked_teachers(
    teachers: Sequence[nn.Module], trial: Trial, run: Callable[[nn.Module, Inputs], torch.Tensor]
) -> tuple[nn.Module, ...]:
    """Return private copies of a person's teachers.

    Raises
    ------
    ModelError
        If one fails on the data, or does not give what the model gives.
    """
    return tuple(_checked(teacher, trial, run) for teacher in teachers)


@torch.no_grad()
def _checked(
    teacher: nn.Module, trial: Trial, run: Callable[[nn.Module, Inputs], torch.Tensor]
) -> nn.Module:
    own, name = private_copy(teacher).module, type(teacher).__name__
    with shown_as(lambda cause: ModelError(f"the teacher {name} failed on the data: {cause}")):
        outputs = run(own, trial.inputs)
    if outputs.shape == trial.outputs.shape and bool(outputs.isfinite().all()):
        return own
    raise ModelError(
        "a teacher must give finite outputs of the model's shape, "
        f"{tuple(trial.outputs.shape)}, but {name} gives {tuple(outputs.shape)}."
    )


def taught_by(task: Task, teachers: tuple[nn.Module, ...]) -> Task:
    """Return the task with teachers beside the model; it goes by another name then."""
    if not teachers:
        return task
    pieces = [task.fingerprint.encode(), *map(model_digest, teachers)]
    note = f"teachers: students learn from the mean of the model and {len(teachers)} more"
    return dataclasses.replace(
        task, teachers=teachers, fingerprint=fingerprint(pieces), notes=(*task.notes, note)
    )
