"""An objective of the person's own: one function of a deployed candidate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from autoopt.errors import DivergedError
from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat

DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class GivenObjective:
    """Calls the function with the `Probe` of every candidate, while nothing else is measured.

    Attributes
    ----------
    function
        Returns a number; or a `Stat` or a `Reading`, which have an interval and raw samples.
    name
        Under which it is searched, constrained and shown.
    unit
        Of the number.
    direction
        ``"minimize"`` or ``"maximize"``.
    """

    function: Callable[[Probe], Any]
    name: str
    unit: str = ""
    direction: str = "minimize"
    exclusive: bool = True

    @classmethod
    def of(cls, function: Callable[[Probe], Any]) -> GivenObjective:
        """Return the objective of a function, named as it is.

        It is minimised and has no unit, unless the function has attributes ``direction`` and
        ``unit``.

        Raises
        ------
        ValueError
            If it has no name, or its direction is neither.
        """
        name = getattr(function, "__name__", "")
        if not name.isidentifier():
            raise ValueError(
                "an objective of your own must be a function with a name, which it is shown "
                f"under, but got {function!r}"
            )
        direction = getattr(function, "direction", "minimize")
        if direction not in DIRECTIONS:
            raise ValueError(
                f"the direction of an objective must be one of {', '.join(DIRECTIONS)}, but "
                f"{name!r} has {direction!r}"
            )
        return cls(function, name, str(getattr(function, "unit", "")), direction)

    def measure(self, probe: Probe) -> Reading:
        """Call the function.

        Raises
        ------
        TypeError
            If it gives none of what it may.
        DivergedError
            If the number is not finite.
        """
        found = self.function(probe)
        reading = found if isinstance(found, Reading) else Reading(self._stat(found))
        self._check(reading.stat.value)
        return replace(reading, stat=replace(reading.stat, unit=self.unit))

    def _stat(self, found: Any) -> Stat:
        if isinstance(found, Stat):
            return found
        try:
            value = float(found)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the objective {self.name!r} must give a number, a Stat or a Reading, but gave "
                f"{type(found).__name__}"
            ) from error
        self._check(value)
        return Stat.exact(value)

    def _check(self, value: float) -> None:
        if not math.isfinite(value):
            raise DivergedError(f"the objective {self.name!r} must be finite, but is {value}")
