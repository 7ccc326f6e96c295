"""What a search was asked to do, as it stands in its log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from typing import Any

from autoopt.measurement import Axis
from search_spaces import SearchSpace

SAMPLERS = ("tpe", "staged")
"""Samplers that are known by name, the usual one first."""

FORMAT = 1
"""Version of the log's opening event."""

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
          "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """What a search may spend; whichever ends first ends it.

    Attributes
    ----------
    seconds
        Wall-clock seconds, or None.
    trials
        Candidates, baselines included, or None.
    """

    seconds: float | None = None
    trials: int | None = None

    def __post_init__(self) -> None:
        """Hold the bounds."""
        if self.seconds is None and self.trials is None:
            raise ValueError("a budget must have seconds or trials, but got neither")
        for name, value in (("seconds", self.seconds), ("trials", self.trials)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"`{name} > 0` must hold for a budget, and be finite, but got {value}"
                )

    @classmethod
    def parse(cls, value: float | str | timedelta | Budget) -> Budget:
        """Read seconds (``300``), a duration (``"5 min"``), or a count (``"60 trials"``).

        Raises
        ------
        ValueError
            If it is none of these, or not positive.
        """
        if isinstance(value, Budget):
            return value
        if isinstance(value, timedelta):
            return cls(seconds=value.total_seconds())
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(seconds=float(value))
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", str(value).lower())
        word = match[2] if match else ""
        # One letter has no plural: "5 ms" are not five minutes.
        word = word.removesuffix("s") if len(word) > 2 else word
        if match and word == "trial" and match[1].isdigit():
            return cls(trials=int(match[1]))
        unit = _UNITS.get(word)
        if not match or not unit:
            raise ValueError(
                "a budget must be seconds (300), a duration ('5 min', '1 h') or a number of "
                f"trials ('60 trials'), but got {value!r}"
            )
        return cls(seconds=float(match[1]) * unit)

    def extended(self, seconds: float | None, trials: int | None) -> Budget:
        """Return this budget and more; a bound that it does not have stays away."""
        return Budget(
            None if self.seconds is None else self.seconds + (seconds or 0.0),
            None if self.trials is None else self.trials + (trials or 0),
        )

    def __str__(self) -> str:
        """Show what it allows."""
        words = []
        if self.seconds is not None:
            words.append(f"{self.seconds:.0f} s")
        if self.trials is not None:
            words.append(f"{self.trials} trials")
        return " or ".join(words)


@dataclass(frozen=True)
class Limits:
    """Time and memory that one candidate may take.

    Attributes
    ----------
    network, artifact, deployment
        Seconds that the stage may take before it is killed.
    memory
        Bytes of private memory of a worker; None for four fifths of what is free at the start.
    """

    network: float = 3600.0
    artifact: float = 600.0
    deployment: float = 900.0
    memory: int | None = None

    def seconds(self, stage: str) -> float:
        """Return the limit of a stage."""
        return float(getattr(self, stage, self.deployment))


@dataclass(frozen=True)
class Settings:
    """All that decides about a search besides model and data.

    Attributes
    ----------
    fingerprint
        Of model and data; a resume with another one is refused.
    stable
        Whether the data's identity is known, so that the cache may be shared.
    axes
        Objectives in the order in which they are searched; the first is the quality.
    objectives
        Their names in the table of objectives, in the same order.
    bounded
        Further objectives that are measured for the sake of their bounds alone.
    constraints
        Objective to ``"<= bound"`` or ``">= bound"``, as given.
    max_drop
        How much worse than the original the quality may be; None for any.
    notes
        What was guessed about model and data, in sentences.
    task_options
        What was said about the task by name or number, so that a resume need not be told again.
    own_techniques
        Names of a person's own techniques, which a resume must be handed again.
    own_objectives
        Names of a person's own objectives, which a resume must be handed again as well.
    sampler
        One of `SAMPLERS`, or the name of a person's own, which a resume must be handed again.
    given
        Recipes, as `Recipe.to_dict` gives them, that are measured before anything is proposed.
    only_given
        Measure these and the original, and nothing else.
    workers
        Networks that may be trained at the same time.
    layers
        Name and kind of each layer of the original, so that another model's can be matched.
    class_axis
        Axis of the outputs that holds the classes; None without classes, and of older searches.
    """

    fingerprint: str
    stable: bool
    space: SearchSpace
    axes: tuple[Axis, ...]
    objectives: tuple[str, ...]
    budget: Budget
    constraints: Mapping[str, float | str]
    max_drop: float | None
    request_size: int
    threads: int
    seed: int
    target: str
    cache: str
    storage: str | None
    limits: Limits
    notes: tuple[str, ...]
    task_options: Mapping[str, Any] = field(default_factory=dict)
    own_techniques: tuple[str, ...] = ()
    own_objectives: tuple[str, ...] = ()
    bounded: tuple[Axis, ...] = ()
    measure_seconds: float = 1.0
    sampler: str = SAMPLERS[0]
    given: tuple[Mapping[str, Any], ...] = ()
    only_given: bool = False
    workers: int = 1
    layers: tuple[tuple[str, str], ...] = ()
    class_axis: int | None = None

    @property
    def bounded_axes(self) -> tuple[Axis, ...]:
        """Everything that may be bounded: the objectives, and what is measured beside them."""
        return (*self.axes, *self.bounded)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of all objectives that are measured, in the table of objectives."""
        return (*self.objectives, *(axis.name for axis in self.bounded))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            **values,
            "format": FORMAT,
            "space": self.space.to_dict(),
            "axes": [asdict(axis) for axis in self.axes],
            "bounded": [asdict(axis) for axis in self.bounded],
            "budget": asdict(self.budget),
            "limits": asdict(self.limits),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Build from what `to_dict` gave, as JSON keeps it.

        Raises
        ------
        ValueError
            If it was written by a newer version.
        """
        values = dict(data)
        if (written := values.pop("format", None)) != FORMAT:
            raise ValueError(
                f"this version of autoopt reads searches of format {FORMAT}, but got {written!r}: "
                "open it with the version that wrote it"
            )
        for name in ("objectives", "notes", "own_techniques", "own_objectives", "given"):
            values[name] = tuple(values.get(name, ()))
        values["layers"] = tuple((name, kind) for name, kind in values.get("layers", ()))
        values["space"] = SearchSpace.from_dict(values["space"])
        for name in ("axes", "bounded"):
            values[name] = tuple(Axis(**axis) for axis in values[name])
        values["budget"] = Budget(**values["budget"])
        values["limits"] = Limits(**values["limits"])
        return cls(**values)
