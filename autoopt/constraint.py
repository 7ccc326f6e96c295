"""Bounds on objectives."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from autoopt.errors import ConstraintError, UnknownNameError
from autoopt.measurement import Axis
from autoopt.record import Record

_TEXT = re.compile(r"\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*")


@dataclass(frozen=True)
class Constraint:
    """One objective must stay on one side of a bound.

    Attributes
    ----------
    objective
        Name of the objective.
    sense
        ``"<="`` or ``">="``.
    bound
        In the objective's unit.
    """

    objective: str
    sense: Literal["<=", ">="]
    bound: float

    def violation(self, record: Record) -> float:
        """Return by how much a record breaks the bound; zero or less keeps it.

        A record without that figure breaks it without limit.
        """
        stat = record.stat(self.objective)
        if stat is None:
            return float("inf")
        excess = stat.value - self.bound
        return excess if self.sense == "<=" else -excess

    def __str__(self) -> str:
        """Show it as it would be written."""
        return f"{self.objective} {self.sense} {self.bound:.6g}"


def parse_constraints(
    wanted: Mapping[str, float | str] | None, axes: Iterable[Axis]
) -> tuple[Constraint, ...]:
    """Read ``{"latency": 8, "size": "<= 20 MB", "accuracy": ">= 0.98"}``.

    A bare number bounds the objective on its worse side.

    Raises
    ------
    UnknownNameError
        If an objective is not searched.
    ConstraintError
        If a bound cannot be read.
    """
    known = {axis.name: axis for axis in axes}
    constraints = []
    for name, value in (wanted or {}).items():
        if name not in known:
            raise UnknownNameError("objective in `constraints`", name, known)
        sense: Literal["<=", ">="] = "<=" if known[name].direction == "minimize" else ">="
        if isinstance(value, str):
            match = _TEXT.fullmatch(value)
            if match is None:
                raise ConstraintError(
                    f"a constraint must read '<= number' or '>= number', but {name!r} has {value!r}"
                )
            if match[3] not in ("", known[name].unit):
                raise ConstraintError(
                    f"a bound of {name!r} must be in {known[name].unit or 'no unit'}, "
                    f"but got {value!r}"
                )
            sense = "<=" if match[1] == "<=" else ">="
            value = match[2]
        try:
            bound = float(value)
        except (TypeError, ValueError):
            bound = math.nan
        if not math.isfinite(bound):
            raise ConstraintError(
                f"the bound of a constraint must be a finite number, but {name!r} has {value!r}"
            )
        constraints.append(Constraint(name, sense, bound))
    return tuple(constraints)


def drop_constraint(axis: Axis, original: Record, max_drop: float) -> Constraint | None:
    """Return the bound that `max_drop` sets on the quality, or None before it is measured."""
    stat = original.stat(axis.name)
    if stat is None:
        return None
    bound = stat.value + axis.sign * max_drop
    # The score is a ratio of counts: without this slack a drop of exactly `max_drop` may fail.
    slack = 1e-9
    sense: Literal["<=", ">="] = "<=" if axis.direction == "minimize" else ">="
    return Constraint(axis.name, sense, bound + axis.sign * slack)
