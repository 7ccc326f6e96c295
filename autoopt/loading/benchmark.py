"""Measuring an export again, here and now, beside what its report says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.errors import ArtifactError
from autoopt.measurement import Stat

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
    """

    samples: int
    latency: Stat
    reported: Stat | None
    differs: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        """Times as long as reported; None where nothing was."""
        return self.latency.value / self.reported.value if self.reported else None

    def __str__(self) -> str:
        """Show both figures, and why they may differ."""
        words = f"{self.samples} samples in {self.latency}"
        if self.reported is None:
            return f"{words}; the export does not say what was measured"
        words += f", {self.ratio:.2f} times the reported {self.reported}"
        return f"{words} (another machine: {'; '.join(self.differs)})" if self.differs else words


def measured(folder: Path) -> Mapping[str, Any]:
    """Return what an export says was measured; empty where it says nothing.

    Raises
    ------
    ArtifactError
        If the file is damaged, a link or of a newer format.
    """
    path = folder / MEASURED
    if path.is_symlink():
        raise ArtifactError(f"{str(path)!r} is a symbolic link; copy the export again.")
    if not path.is_file():
        return {}
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise ValueError(f"it is of format {version!r}, not {FORMAT}")
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{str(path)!r} cannot be read ({error}); export again, or install a newer autoopt."
        ) from error
    return dict(found)


def reported_latency(found: Mapping[str, Any]) -> Stat | None:
    """Return the latency that an export reports, or None."""
    stat = ((found.get("measurement") or {}).get("stats") or {}).get("latency")
    try:
        return Stat(**stat) if stat else None
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the reported latency is garbled ({error}); export again.") from error


def machine_differs(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what differs between this machine and the one that an export was measured on."""
    from autoopt.targets import load_target

    measurement = found.get("measurement") or {}
    then: Mapping[str, Any] = measurement.get("environment") or {}
    if not then:
        return ()
    now = load_target("cpu").describe()
    return tuple(
        f"{name.replace('_', ' ')} {_words(now.get(name))} instead of {_words(then[name])}"
        for name in MACHINE
        if name in then and then[name] != now.get(name)
    )


def time_call(call: Callable[[], object], *, seconds: float) -> Stat:
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
        medians.append(_block(call, seconds / 20))
    medians.sort()
    count = len(medians)
    # Ranks n/2 ± 0.98 √n hold the median with 95 % (binomial, normal approximation).
    reach = 0.98 * math.sqrt(count)
    low = medians[max(0, math.floor(count / 2 - reach))]
    high = medians[min(count - 1, math.ceil(count / 2 + reach))]
    middle = _median(medians)
    return Stat(middle, min(low, middle), max(high, middle), count, "ms")


def _block(call: Callable[[], object], seconds: float) -> float:
    timings: list[float] = []
    end = time.perf_counter() + seconds
    while not timings or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        timings.append((time.perf_counter() - start) * 1e3)
    return _median(sorted(timings))


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
