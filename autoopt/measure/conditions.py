"""What the machine was like while a measurement ran: load, frequency, heat, other users."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SHOWN = 5
"""Busy processes that are named, the busiest first."""

NOTABLE = 0.05
"""Share of a core from which on another process is worth a word."""

_THROTTLED = "cpu*/thermal_throttle/package_throttle_count"


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one moment; `since` gives what passed between two.

    Attributes
    ----------
    at
        Seconds, monotonic.
    used
        Process id and start to seconds of processor time, for all processes but this one and its
        children.
    names
        Their names, under the same keys.
    stolen
        Seconds that the host of this virtual machine gave to others, over all processors.
    throttled
        How often a processor was slowed down for heat; None where the kernel does not say.
    """

    at: float
    used: Mapping[tuple[int, float], float]
    names: Mapping[tuple[int, float], str] = field(repr=False)
    stolen: float
    throttled: int | None

    @classmethod
    def now(cls) -> Conditions:
        """Read the state of this machine."""
        used, names = {}, {}
        own = own_processes()
        for process in psutil.process_iter(["pid", "name", "cpu_times", "create_time"]):
            info = process.info
            if info["pid"] not in own and info["cpu_times"] is not None:
                key = (info["pid"], info["create_time"] or 0.0)
                used[key] = info["cpu_times"].user + info["cpu_times"].system
                names[key] = info["name"] or "?"
        stolen = getattr(psutil.cpu_times(), "steal", 0.0)
        return cls(time.monotonic(), used, names, stolen, _throttle_count())

    def since(self, before: Conditions) -> dict[str, Any]:
        """Return what there is to say about the time from `before` until now, as plain values.

        Returns
        -------
        dict
            ``load`` (one minute's average), ``frequency_mhz``, ``temperature_c``, ``throttled``
            (times; each None where the machine does not say), ``stolen_cores`` and ``other_cores``
            (processors that the host and that other processes took, on average), and ``others``
            (name and cores of the busiest).
        """
        seconds = max(self.at - before.at, 1e-9)
        # A process that is new has used all that it used meanwhile.
        cores = {
            key: (spent - before.used.get(key, 0.0)) / seconds for key, spent in self.used.items()
        }
        busy = sorted(cores, key=cores.__getitem__, reverse=True)[:SHOWN]
        throttled = None
        if self.throttled is not None and before.throttled is not None:
            throttled = self.throttled - before.throttled
        return {
            "seconds": round(seconds, 3),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "frequency_mhz": _frequency(),
            "temperature_c": _temperature(),
            "throttled": throttled,
            "stolen_cores": round(max(0.0, self.stolen - before.stolen) / seconds, 3),
            "other_cores": round(sum(cores.values()), 3),
            "others": [
                {"name": self.names[key], "cores": round(cores[key], 3)}
                for key in busy
                if cores[key] >= NOTABLE
            ],
        }


def own_processes() -> set[int]:
    """Return the ids of this process and of all below it."""
    return {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}


def _frequency() -> float | None:
    """Return the mean frequency of the processors in MHz, as their driver says."""
    with suppress(OSError, NotImplementedError, AttributeError):
        found = psutil.cpu_freq()
        return None if found is None else round(float(found.current), 1)
    return None


def _temperature() -> float | None:
    """Return the highest temperature of a sensor in degrees Celsius."""
    with suppress(OSError, AttributeError):
        groups = psutil.sensors_temperatures().values()
        readings = [reading.current for group in groups for reading in group]
        return max(readings, default=None)
    return None


def _throttle_count(root: Path = Path("/sys/devices/system/cpu")) -> int | None:
    with suppress(OSError, ValueError):
        counts = [int(path.read_text()) for path in root.glob(_THROTTLED)]
        return max(counts, default=None)
    return None
