"""What a person hands over as plain functions: students of her own, and a training of her own.

Both stand where a class of the table stands: they are called with the (empty) settings and give
the technique, which is themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from autoopt.errors import AutooptError, DivergedError, ModelError
from autoopt.task.foreign import shown_as
from autoopt.task.model import private_copy
from autoopt.task.randomness import seeded

if TYPE_CHECKING:
    from autoopt.interfaces import Target
    from autoopt.task import Task


@dataclass(frozen=True)
class GivenStudent:
    """A network of the person's own that takes over; it has to be trained.

    Attributes
    ----------
    func
        Makes it, untrained. Called again wherever the network is loaded, with the same seed.
    """

    slot: ClassVar[str] = "student"
    settings: ClassVar[dict[str, Any]] = {}
    needs_training: ClassVar[bool] = True
    func: Callable[[], nn.Module]

    def __post_init__(self) -> None:
        """Hold that it can be called."""
        if isinstance(self.func, nn.Module) or not callable(self.func):
            raise ValueError(
                "a student must be a function that makes a network, but got "
                f"{type(self.func).__name__}; for a network that you have, give `lambda: network`."
            )

    def __call__(self) -> GivenStudent:
        """Return itself: there are no settings."""
        return self

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say that it cannot be made, or does not give what the model gives, or None."""
        try:
            network = self.apply(task.model, task)
            with (
                torch.no_grad(),
                shown_as(lambda cause: ModelError(f"it failed on a request: {cause}")),
            ):
                found = task.forward(network, task.example)
        except AutooptError as error:
            return f"the student cannot serve: {error}"
        with torch.no_grad():
            expected = task.forward(task.model, task.example)
        if found.shape == expected.shape:
            return None
        return (
            f"the student must give outputs of the model's shape {tuple(expected.shape)}, but "
            f"gives {tuple(found.shape)}"
        )

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the student; of `model` nothing is left."""
        with (
            seeded(task.seed),
            shown_as(lambda cause: ModelError(f"the student cannot be made: {cause}")),
        ):
            network = self.func()
        return private_copy(network).module


@dataclass(frozen=True)
class GivenTraining:
    """A training of the person's own.

    Attributes
    ----------
    func
        ``func(network, task)`` gives the trained network, or None if it was trained in place.
    """

    slot: ClassVar[str] = "recovery"
    settings: ClassVar[dict[str, Any]] = {}
    func: Callable[[nn.Module, Task], nn.Module | None]

    def __post_init__(self) -> None:
        """Hold that it can be called."""
        if not callable(self.func):
            raise ValueError(
                "`train` must be a function (network, task) -> network or None, but got "
                f"{type(self.func).__name__}."
            )

    def __call__(self) -> GivenTraining:
        """Return itself: there are no settings."""
        return self

    def refuse(self, task: Task, target: Target) -> str | None:
        """Refuse nothing: what it can do is the person's to know."""
        return None

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy in eval mode.

        Raises
        ------
        ModelError
            If it fails, or gives something else than a network of the same weights.
        DivergedError
            If a weight is no longer finite.
        """
        network = copy.deepcopy(model)
        with (
            seeded(task.seed),
            shown_as(lambda cause: ModelError(f"your training failed: {cause}")),
        ):
            trained = self.func(network, task)
        trained = network if trained is None else trained
        if not isinstance(trained, nn.Module):
            raise ModelError(
                f"your training must give a network or None, but gave a {type(trained).__name__}."
            )
        shapes = {name: value.shape for name, value in model.state_dict().items()}
        if {name: value.shape for name, value in trained.state_dict().items()} != shapes:
            raise ModelError(
                "your training must keep the network's layers, but gave other ones; what changes "
                "them is a technique of its own (`techniques=`)."
            )
        for name, value in trained.named_parameters():
            if not bool(value.isfinite().all()):
                raise DivergedError(f"your training left {name!r} with NaN or infinity.")
        return trained.eval()
