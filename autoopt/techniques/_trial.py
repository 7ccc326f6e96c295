"""Edits on trial: those with which the network still runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from autoopt.errors import RefusedError
from autoopt.replay import replay

if TYPE_CHECKING:
    from torch import nn

    from autoopt.plan import Edit
    from autoopt.task import Task

# What running a network with parts changed may raise; each is a reason to leave them as they are.
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

Change = TypeVar("Change", bound="Edit")


@torch.no_grad()
def output_shape(model: nn.Module, task: Task) -> tuple[int, ...]:
    """Return the shape of what a network answers to the example."""
    return tuple(task.forward(model, task.example).shape)


def failure(
    model: nn.Module, task: Task, edits: Sequence[Edit], *, expected: tuple[int, ...] = ()
) -> str | None:
    """Say what is wrong with the network after these edits, or None.

    Parameters
    ----------
    model
        Before the edits.
    task
        Gives the example.
    edits
        What to try.
    expected
        The model's `output_shape`, where it is known already.
    """
    try:
        expected = expected or output_shape(model, task)
        shape = output_shape(replay(model, edits).eval(), task)
    except BROKEN as error:
        return f"{type(error).__name__}: {error}"
    if shape != expected:
        return f"its output has the shape {shape}, where the original gives {expected}"
    return None


def runnable(model: nn.Module, task: Task, edits: Sequence[Change]) -> tuple[Change, ...]:
    """Return the edits, without those that alone leave a network that cannot run.

    Raises
    ------
    RefusedError
        If none is left, or the rest do not run together.
    """
    reason = failure(model, task, edits)
    if reason is None:
        return tuple(edits)
    left = tuple(edit for edit in edits if failure(model, task, [edit]) is None)
    if not left or failure(model, task, left) is not None:
        raise RefusedError(f"the network does not run with its layers changed: {reason}")
    return left
