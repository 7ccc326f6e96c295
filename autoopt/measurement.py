"""Values with their uncertainty: `Axis`, `Stat` and `Measurement`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Axis:
    """One objective as an axis: its name, unit and which way is better."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]

    @property
    def sign(self) -> int:
        """1 where less is better, -1 where more is."""
        return 1 if self.direction == "minimize" else -1

    @property
    def in_points(self) -> bool:
        """Whether differences are told in percentage points: of a share, not of any score."""
        return self.name == "accuracy"

    @property
    def column(self) -> str:
        """Name of its column in a table, unit included: ``latency_ms``."""
        return f"{self.name}_{_COLUMN_UNITS.get(self.unit, self.unit)}".rstrip("_")


_COLUMN_UNITS = {"MB": "mb", "1/s": "per_s"}


@dataclass(frozen=True)
class Stat:
    """One measured figure.

    Attributes
    ----------
    value
        The estimate (a median for timings, a score for quality).
    low, high
        Bounds of the 95 % confidence interval, ``low <= value <= high``; equal to `value` for
        what is known exactly (bytes on disk).
    n
        Number of independent observations behind it.
    unit
        ``"ms"``, ``"s"``, ``"MB"``, ``"1/s"``, ``"J"``, ``""``, or one of a person's own.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str = ""

    def __post_init__(self) -> None:
        """Hold the order of the bounds."""
        if not self.low <= self.value <= self.high:
            raise ValueError(
                "`low <= value <= high` must hold, "
                f"but got (low={self.low}, value={self.value}, high={self.high})."
            )

    @classmethod
    def exact(cls, value: float, unit: str = "") -> Stat:
        """Return a figure that has no uncertainty."""
        return cls(value, value, value, 1, unit)

    def scaled(self, factor: float) -> Stat:
        """Return this figure times a positive factor, interval included."""
        if not (factor > 0 and math.isfinite(factor)):
            raise ValueError(f"`factor` must be positive and finite, but got {factor}.")
        return Stat(self.value * factor, self.low * factor, self.high * factor, self.n, self.unit)

    def overlaps(self, other: Stat) -> bool:
        """Say whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        """Show value, unit and half width of the interval."""
        unit = f" {self.unit}" if self.unit else ""
        half = (self.high - self.low) / 2
        return f"{self.value:.4g}{unit}" + (f" ± {half:.2g}" if half else "")


@dataclass(frozen=True)
class Measurement:
    """What was measured of one artefact in one deployment.

    Attributes
    ----------
    stats
        Objective name to figure; what the search selects on (validation part).
    test
        The same quality on the test part, which the selection never sees; None where unknown.
    speedup
        Latency of the original in eager float32 over this one's, timed side by side.
    reference_ms
        Median latency of that original during this measurement, in milliseconds.
    samples
        Raw timings in milliseconds: ``{"candidate": [[...], ...], "reference": [[...], ...]}``,
        one inner list a block.
    realised
        What the runtime really did with the request (precisions, layers left, storage only).
    target
        Name of the target.
    environment
        Processor, cores, operating system and its settings, versions, variables, load: what is
        needed to judge it, and to set the same place up again.
    protocol
        Objective to how it was measured: time, rounds, steadiness, share of outliers, and the
        ``conditions`` of the machine meanwhile. ``deployment`` to what was measured: parallel
        configuration, request, checksums of the files, and of the ``task`` its seed, the
        fingerprint of model and data, and the samples of each part. Older records lack some.
    """

    stats: Mapping[str, Stat]
    test: Stat | None = None
    speedup: Stat | None = None
    reference_ms: float | None = None
    samples: Mapping[str, list[list[float]]] = field(default_factory=dict)
    realised: Mapping[str, Any] = field(default_factory=dict)
    target: str = "cpu"
    environment: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """Build from what `to_dict` gave."""
        values = dict(data)
        values["stats"] = {name: Stat(**stat) for name, stat in values["stats"].items()}
        for name in ("test", "speedup"):
            values[name] = Stat(**values[name]) if values.get(name) else None
        return cls(**values)
