"""What a call takes: by the clock on the wall, or by the events of a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU, PlacedDeployment
from autoopt.objectives.timing import Clock, wall_seconds

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Deployment


@dataclass(frozen=True)
class EventClock:
    """Times calls by events that the device itself notes as it comes to them.

    A call returns when its kernels are queued, not when they are done, so the clock on the wall
    would tell how fast they are queued. Between the events lies all that the device waits for: on
    an idle device that is launching as well.

    Attributes
    ----------
    event
        Makes an event: has ``record()``, ``synchronize()`` and ``elapsed_time(later)`` in
        milliseconds.
    synchronize
        Waits until the device is idle.
    """

    event: Callable[[], Any]
    synchronize: Callable[[], object]

    def __call__(self, call: Callable[[], object]) -> float:
        """Return the seconds that a call takes on the device, which is idle before and after."""
        begin, end = self.event(), self.event()
        self.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3


def clock_of(device: str) -> Clock:
    """Return what times calls on a device, as torch names it."""
    if device == CPU:
        return wall_seconds
    import torch

    place = torch.device(device)

    def event() -> Any:
        # An event belongs to the device that is current when it is first recorded.
        with torch.cuda.device(place):
            return _OnDevice(torch.cuda.Event(enable_timing=True), place)

    return EventClock(event, lambda: torch.cuda.synchronize(place))


@dataclass(frozen=True)
class _OnDevice:
    """An event that is recorded on the stream of its device, whatever device is current."""

    event: Any
    place: Any

    def record(self) -> None:
        import torch

        self.event.record(torch.cuda.current_stream(self.place))

    def synchronize(self) -> None:
        self.event.synchronize()

    def elapsed_time(self, later: _OnDevice) -> float:
        return float(self.event.elapsed_time(later.event))


def ready(deployment: Deployment, request: Sequence[Array]) -> tuple[Callable[[], object], Clock]:
    """Return a call that answers a request, and what times it.

    On a device the request is placed before: copies there and back are no part of the call.
    """
    if isinstance(deployment, PlacedDeployment):
        return deployment.placed(*request), clock_of(deployment.device)
    return lambda: deployment(*request), wall_seconds


def clock_name(clock: Clock) -> str:
    """Return the word for a clock that stands in a protocol."""
    return "device events" if isinstance(clock, EventClock) else "wall"
