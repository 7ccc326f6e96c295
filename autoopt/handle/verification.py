"""How far a front was measured again, and how much better it looked at first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from autoopt.controller.second_look import WANTED
from autoopt.history import History
from autoopt.measurement import Axis


@dataclass(frozen=True)
class Verification:
    """What measuring again said about a front.

    Attributes
    ----------
    members
        Members of the front.
    verified
        Members that were measured at least `WANTED` times.
    further
        Further measurements, of candidates that are no members too.
    optimism
        Objective to the share by which what was first reported was better than what was measured
        again, on average over all candidates that were; negative where it was worse.
    """

    members: int
    verified: int
    further: int
    optimism: Mapping[str, float]

    def __str__(self) -> str:
        """Say it in a sentence; empty where nothing was measured again."""
        if not self.further:
            return ""
        said = (
            f"{self.verified} of {self.members} strategies of the front were measured at least "
            f"{WANTED} times"
        )
        found = ", ".join(f"{name} {share:+.1%}" for name, share in self.optimism.items())
        return f"{said}; first reports were too good by {found}" if found else said


def verification(history: History) -> Verification:
    """Return what the log says about measuring again."""
    axes = history.settings.axes if history.settings else ()
    members = [record.number for record in history.front.members]
    counts = [1 + len(history.again.get(number, ())) for number in members]
    gaps = {axis.name: _gaps(history, axis) for axis in axes[1:]}
    return Verification(
        members=len(members),
        verified=sum(count >= WANTED for count in counts),
        further=sum(map(len, history.again.values())),
        optimism={name: fmean(found) for name, found in gaps.items() if any(found)},
    )


def _gaps(history: History, axis: Axis) -> list[float]:
    """Return by how much each candidate's first figure was better than the mean of the others."""
    found = []
    for number in history.again:
        measured = [m.stats.get(axis.name) for m in history.measurements(number)]
        figures = [stat.value for stat in measured if stat is not None and stat.value > 0]
        if len(figures) > 1:
            first, *later = map(math.log, figures)
            found.append(math.expm1(axis.sign * (fmean(later) - first)))
    return found
