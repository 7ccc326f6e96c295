"""What became of one candidate: `Record` and `Failure`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autoopt.measurement import Measurement, Stat
from autoopt.recipe import Recipe

FailureKind = Literal[
    "refused", "over_cap", "stopped", "error", "diverged", "out_of_memory", "crashed", "timed_out"
]
PASSING = ("over_cap", "stopped", "out_of_memory", "crashed", "timed_out")
"""Kinds after which the recipe may well be built another time."""

Role = Literal["original", "baseline", "uniform", "given", "search"]


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no measurement.

    Attributes
    ----------
    stage
        ``"network"``, ``"artifact"`` or ``"deployment"``.
    kind
        ``"refused"`` (said beforehand), ``"over_cap"`` (breaks a cap whatever training makes of
        it, so it was not trained), ``"stopped"`` (given up while it was trained, because it could
        not matter any more), ``"error"`` (raised), ``"diverged"`` (not finite),
        ``"out_of_memory"``, ``"crashed"`` (the process died) or ``"timed_out"``.
    message
        The cause in one sentence.
    log
        Traceback or the last lines that the worker printed.
    slots
        Of a cap that is broken: the choices to blame, whatever the others are.
    """

    stage: str
    kind: FailureKind
    message: str
    log: str = ""
    slots: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Whether it tells of a search's thrift, or of a chance, and nothing of the recipe."""
        return self.kind in PASSING

    @property
    def bars_network(self) -> bool:
        """Whether the network itself failed, as it would in every other completion."""
        return self.stage == "network" and self.kind != "over_cap"

    def __str__(self) -> str:
        """Show stage, kind and message."""
        return f"{self.kind} in the {self.stage} stage: {self.message}"


@dataclass(frozen=True)
class Record:
    """One candidate and its outcome.

    Attributes
    ----------
    number
        Position in the search; 0 is the original.
    recipe
        The candidate.
    role
        ``"original"``, ``"baseline"`` (the original in another runtime), ``"uniform"`` (one
        technique at its usual setting), ``"given"`` (a recipe that the search was handed) or
        ``"search"``.
    outcome
        A `Measurement`, or the `Failure` that came instead.
    seconds
        Stage to wall-clock seconds that this candidate took.
    cached
        Stages whose result was found in the cache.
    artifact
        Key of the artefact in the cache; None where none was built.
    """

    number: int
    recipe: Recipe
    role: Role
    outcome: Measurement | Failure
    seconds: Mapping[str, float] = field(default_factory=dict)
    cached: tuple[str, ...] = ()
    artifact: str | None = None

    @property
    def measurement(self) -> Measurement | None:
        """The measurement, or None for a failure."""
        return self.outcome if isinstance(self.outcome, Measurement) else None

    @property
    def failure(self) -> Failure | None:
        """The failure, or None for a measurement."""
        return self.outcome if isinstance(self.outcome, Failure) else None

    def stat(self, objective: str) -> Stat | None:
        """Return the figure of one objective, or None where there is none."""
        return self.outcome.stats.get(objective) if isinstance(self.outcome, Measurement) else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        failed = isinstance(self.outcome, Failure)
        return {
            "number": self.number,
            "recipe": self.recipe.to_dict(),
            "role": self.role,
            "failure": asdict(self.outcome) if isinstance(self.outcome, Failure) else None,
            "measurement": None if failed else self.outcome.to_dict(),  # type: ignore[union-attr]
            "seconds": dict(self.seconds),
            "cached": list(self.cached),
            "artifact": self.artifact,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Build from what `to_dict` gave."""
        outcome: Measurement | Failure = (
            Failure(**{**data["failure"], "slots": tuple(data["failure"].get("slots", ()))})
            if data["failure"]
            else Measurement.from_dict(data["measurement"])
        )
        return cls(
            number=data["number"],
            recipe=Recipe.from_dict(data["recipe"]),
            role=data["role"],
            outcome=outcome,
            seconds=data["seconds"],
            cached=tuple(data["cached"]),
            artifact=data["artifact"],
        )
