"""Measuring an export again, here and now, beside what its report says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.devices import CPU
from autoopt.errors import ArtifactError, RefusedError, UnknownNameError
from autoopt.measurement import Stat
from autoopt.objectives.timing import Clock, wall_seconds
from autoopt.runtimes.artifact import checksum

MEASURED = "measured.json"
FORMAT = 1
WARM_SECONDS = 0.2
MIN_BLOCKS = 8
MACHINE = ("processor", "architecture", "cores", "instruction_sets")
"""What of two machines must agree for their timings to be compared."""


@dataclass(frozen=True)
class Benchmark:
    """Latency of one request, measured here, beside that of the report.

    Attributes
    ----------
    samples
        Of the request.
    latency
        Median milliseconds with its 95 % interval.
    reported
        What the search measured, on its machine; None where the export does not say.
    differs
        What differs between this machine and that of the report, in words.
    reported_samples
        Of the requests that the report timed; None where it does not say.
    """

    samples: int
    latency: Stat
    reported: Stat | None
    differs: tuple[str, ...]
    reported_samples: int | None = None

    @property
    def ratio(self) -> float | None:
        """Times as long as reported; None where nothing was, or requests of another size."""
        if self.reported is None or self.reported_samples not in (None, self.samples):
            return None
        return self.latency.value / self.reported.value

    def __str__(self) -> str:
        """Show both figures, and why they may differ."""
        words = f"{self.samples} samples in {self.latency}"
        if self.reported is None:
            return f"{words}; the export does not say what was measured"
        if self.ratio is None:
            return (
                f"{words}; the report timed {self.reported_samples} samples a request "
                f"({self.reported}), so the two are not compared"
            )
        words += f", {self.ratio:.2f} times the reported {self.reported}"
        return f"{words} (another machine: {'; '.join(self.differs)})" if self.differs else words


def measured(folder: Path, expected: str | None = None) -> Mapping[str, Any]:
    """Return what an export says was measured; empty where it says nothing.

    Parameters
    ----------
    folder
        Of the export.
    expected
        The file's SHA-256, where the export lists it.

    Raises
    ------
    ArtifactError
        If the file is missing although it is listed, damaged, a link or of a newer format.
    """
    path = folder / MEASURED
    if path.is_symlink():
        raise ArtifactError(f"{str(path)!r} is a symbolic link; copy the export again.")
    if not path.is_file():
        if expected is not None:
            raise ArtifactError(f"the file {MEASURED!r} is missing in {str(folder)!r}; copy or "
                                "export it again.")  # fmt: skip
        return {}
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise ValueError(f"it is of format {version!r}, not {FORMAT}")
        if broken := _broken(found):
            raise ValueError(broken)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{str(path)!r} cannot be read ({error}); export again, or install a newer autoopt."
        ) from error
    if expected is not None and checksum(path) != expected:
        raise ArtifactError(
            f"the file {MEASURED!r} in {str(folder)!r} is not what was exported; copy or export it "
            "again."
        )
    return dict(found)


def _broken(found: Mapping[str, Any]) -> str | None:
    """Say which rule of `measured.json` is broken, or None."""
    size = found.get("request_size")
    if size is not None and (type(size) is not int or size < 1):
        return f"`request_size` must be a positive whole number, but got {size!r}"
    measurement = found.get("measurement")
    if measurement is None:
        return None
    if not isinstance(measurement, Mapping):
        return f"`measurement` must be an object, but got {measurement!r}"
    for name in ("stats", "environment"):
        if not isinstance(measurement.get(name, {}), Mapping):
            return f"`{name}` must be an object, but got {measurement[name]!r}"
    return _broken_latency(measurement.get("stats", {}).get("latency"))


def _broken_latency(stat: Any) -> str | None:
    """Say what is wrong with a latency, or None; there may be none."""
    if stat is None:
        return None
    try:
        latency = Stat(**stat)
        positive = all(0 < float(v) < math.inf for v in (latency.low, latency.value, latency.high))
    except (TypeError, ValueError) as error:
        return f"the latency is garbled ({error})"
    return None if positive else f"the latency must be positive, but got {stat!r}"


def reported_latency(found: Mapping[str, Any]) -> Stat | None:
    """Return the latency that an export reports, or None; `found` is what `measured` gave."""
    stat = ((found.get("measurement") or {}).get("stats") or {}).get("latency")
    return Stat(**stat) if stat else None


def machine_differs(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what differs between this machine and the one that an export was measured on."""
    from autoopt.targets import load_target

    measurement = found.get("measurement") or {}
    then: Mapping[str, Any] = measurement.get("environment") or {}
    if not then:
        return ()
    target = measurement.get("target") or CPU
    try:
        now = load_target(str(target)).describe()
    except (RefusedError, UnknownNameError) as error:
        return (str(error),)
    return tuple(
        f"{name.replace('_', ' ')} {_words(now.get(name))} instead of {_words(then[name])}"
        for name in MACHINE
        if name in then and then[name] != now.get(name)
    )


def time_call(call: Callable[[], object], *, seconds: float, clock: Clock = wall_seconds) -> Stat:
    """Return the median milliseconds of a call; blocks, not calls, are the observations.

    The interval is that of the median of block medians by order statistics (about 95 %).
    """
    end = time.perf_counter() + WARM_SECONDS
    call()
    while time.perf_counter() < end:
        call()
    medians: list[float] = []
    end = time.perf_counter() + seconds
    while len(medians) < MIN_BLOCKS or time.perf_counter() < end:
        medians.append(_block(call, seconds / 20, clock))
    medians.sort()
    count = len(medians)
    # Ranks n/2 ± 0.98 √n hold the median with 95 % (binomial, normal approximation).
    reach = 0.98 * math.sqrt(count)
    low = medians[max(0, math.floor(count / 2 - reach))]
    high = medians[min(count - 1, math.ceil(count / 2 + reach))]
    middle = _median(medians)
    return Stat(middle, min(low, middle), max(high, middle), count, "ms")


def _block(call: Callable[[], object], seconds: float, clock: Clock) -> float:
    timings: list[float] = []
    end = time.perf_counter() + seconds
    while not timings or time.perf_counter() < end:
        timings.append(clock(call) * 1e3)
    return _median(sorted(timings))


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
