"""Where candidates run, by name, and what a deployment on such a device can do besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from autoopt.interfaces import Array

CPU = "cpu"
"""The processor: what has no device of its own."""


def device_of(target: str) -> str:
    """Return the device that a target's name means, as torch calls it: ``cuda`` is the first."""
    return "cuda:0" if target == "cuda" else target


def placement(target: str) -> dict[str, str]:
    """Return what a runtime's build is told of the device: nothing where it is the processor.

    What refuses all but the processor need not know of others.
    """
    device = device_of(target)
    return {} if device == CPU else {"device": device}


@runtime_checkable
class PlacedDeployment(Protocol):
    """A running artefact on a device with memory of its own."""

    device: str

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request: arrays in the processor's memory, there and back."""

    def placed(self, *inputs: Array) -> Callable[[], object]:
        """Bring a request to the device; return a call that answers it there, as often as wanted.

        The call may return before the device is done: who times it asks the device.
        """

    def close(self) -> None:
        """Give memory back."""
