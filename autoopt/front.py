"""The Pareto front of the records known so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from autoopt.constraint import Constraint
from autoopt.errors import ConstraintError, UnknownNameError
from autoopt.measurement import Axis
from autoopt.record import Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BEYOND = 1.1
"""Where the corner of a scaled front lies, whose best is 0 and whose worst is 1."""

BEYOND_QUALITY = 2.0
"""The same of the quality."""


@dataclass(frozen=True)
class Front:
    """Records seen along the axes of the search.

    Attributes
    ----------
    records
        All records; failures are passed over.
    axes
        The objectives; the first is the quality.
    constraints
        Bounds that members of the front keep.
    """

    records: tuple[Record, ...]
    axes: tuple[Axis, ...]
    constraints: tuple[Constraint, ...] = ()

    @cached_property
    def measured(self) -> tuple[Record, ...]:
        """Records that hold a figure for every axis."""
        return tuple(
            record
            for record in self.records
            if all(record.stat(axis.name) is not None for axis in self.axes)
        )

    def violation(self, record: Record) -> float:
        """Return the largest relative violation of a constraint; zero or less is feasible."""
        return max(
            (
                constraint.violation(record) / max(abs(constraint.bound), 1e-12)
                for constraint in self.constraints
            ),
            default=0.0,
        )

    def feasible(self, record: Record) -> bool:
        """Say whether a record keeps every constraint."""
        return self.violation(record) <= 0

    @cached_property
    def members(self) -> tuple[Record, ...]:
        """The feasible records that no other feasible record dominates, fastest first.

        Of records with the very same figures the first measured stays.
        """
        from moocore import is_nondominated

        feasible = [record for record in self.measured if self.feasible(record)]
        if not feasible:
            return ()
        mask = is_nondominated(self._points(feasible), keep_weakly=False)
        last = self.axes[min(1, len(self.axes) - 1)]
        members = [record for record, kept in zip(feasible, mask, strict=True) if kept]
        return tuple(sorted(members, key=lambda record: last.sign * _value(record, last)))

    @cached_property
    def knee(self) -> Record | None:
        """The member nearest to the best of every axis, each axis scaled to the front's span."""
        if not self.members:
            return None
        return self.members[int((self._scaled() ** 2).sum(axis=1).argmin())]

    def by_contribution(self, free: Callable[[Record], bool]) -> tuple[Record, ...]:
        """Return the members, network by network, in the order in which they are worth trying.

        Networks that are `free`, as nothing is trained for them, come first; then always the one
        whose members together add most hypervolume to all before. Costs are seen as ratios, each
        axis is scaled to the front's span, and the volume is seen from a tenth beyond its worst;
        of the quality, whose members all keep the bounds, from as far again as the front spans.
        """
        from moocore import hypervolume

        corner = [BEYOND_QUALITY, *[BEYOND] * (len(self.axes) - 1)]

        points = self._scaled(ratios=True)
        groups: dict[str, list[int]] = {}
        for place, record in enumerate(self.members):
            key = "" if free(record) else record.recipe.stage_id("network")
            groups.setdefault(key, []).append(place)
        order: list[int] = []
        while groups:
            adds = {
                key: hypervolume(points[[*order, *places]], ref=corner)
                for key, places in groups.items()
            }
            rest = groups.pop("" if "" in groups else max(adds, key=adds.__getitem__))
            while rest:
                volumes = [hypervolume(points[[*order, place]], ref=corner) for place in rest]
                order.append(rest.pop(volumes.index(max(volumes))))
        return tuple(self.members[place] for place in order)

    def hypervolume(self, reference: Sequence[float]) -> float:
        """Return the volume between the front and a reference point in the axes' own units."""
        from moocore import hypervolume

        if not self.members:
            return 0.0
        signs = [axis.sign for axis in self.axes]
        corner = [value * sign for value, sign in zip(reference, signs, strict=True)]
        return float(hypervolume(self._points(self.members), ref=corner))

    def dominates(self, one: Record, two: Record) -> bool:
        """Say whether a measured record is nowhere worse than another and somewhere better."""
        gaps = [axis.sign * (_value(two, axis) - _value(one, axis)) for axis in self.axes]
        return min(gaps) >= 0 and max(gaps) > 0

    def best(self, objective: str) -> Record:
        """Return the member of the front that is best in one objective.

        Raises
        ------
        UnknownNameError
            If the objective is not searched; those that are, are listed.
        ConstraintError
            If no record is feasible; the message names the nearest one and what binds.
        """
        axes = {axis.name: axis for axis in self.axes}
        if objective not in axes:
            raise UnknownNameError("objective", objective, axes)
        if not self.members:
            raise ConstraintError(self.nothing())
        axis = axes[objective]
        # Of the members only: among equals in one objective the others decide.
        return min(self.members, key=lambda record: axis.sign * _value(record, axis))

    def nothing(self) -> str:
        """Say that nothing is feasible, what came nearest and which bound it breaks."""
        wanted = " and ".join(str(constraint) for constraint in self.constraints)
        if not self.measured:
            return f"no strategy was measured yet, so none satisfies {wanted or 'anything'}"
        nearest = min(self.measured, key=self.violation)
        figures = ", ".join(f"{axis.name} {nearest.stat(axis.name)}" for axis in self.axes)
        broken = [str(c) for c in self.constraints if c.violation(nearest) > 0]
        return (
            f"none of {len(self.measured)} measured strategies satisfies {wanted}; the nearest is "
            f"number {nearest.number} ({nearest.recipe.summary}: {figures}), which breaks "
            f"{' and '.join(broken)}. Loosen that bound or search longer."
        )

    def _scaled(self, *, ratios: bool = False) -> npt.NDArray[np.float64]:
        """Return one row a member, each axis from 0, the front's best, to 1, its worst.

        With `ratios` every axis but the quality is seen as its logarithm, where it is positive.
        """
        import numpy as np

        points = self._points(self.members)
        if not len(points):
            return points
        if ratios:
            for column in points.T[1:]:  # the quality has no scale
                # What is to be large was turned: all negative then.
                if (column > 0).all() or (column < 0).all():
                    column[:] = np.sign(column) * np.log(np.abs(column))
        low, span = points.min(axis=0), points.max(axis=0) - points.min(axis=0)
        span[span == 0] = 1.0
        scaled: npt.NDArray[np.float64] = (points - low) / span
        return scaled

    def _points(self, records: Sequence[Record]) -> npt.NDArray[np.float64]:
        """Return one row a record, every axis turned so that less is better."""
        import numpy as np

        return np.array(
            [[axis.sign * _value(record, axis) for axis in self.axes] for record in records]
        )


def _value(record: Record, axis: Axis) -> float:
    """Return the figure of a record that is known to have one."""
    stat = record.stat(axis.name)
    if stat is None:
        raise ValueError(f"record {record.number} has no {axis.name}")
    return stat.value
