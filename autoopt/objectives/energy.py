"""Energy of one request, as the processor counts it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from autoopt.devices import PlacedDeployment
from autoopt.errors import RefusedError
from autoopt.interfaces import Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives.timing import warmed_up

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the counters of Intel's and AMD's processors (RAPL)."""

PACKAGES = "intel-rapl:[0-9]*"
ROUNDS = 5
"""Counts that the interval comes from."""


@dataclass(frozen=True)
class Energy:
    """Joules that the processor packages take while one request is answered.

    All that the packages do meanwhile is counted, what other processes do and what they would take
    idle as well: it is the energy of serving on this machine, not of the arithmetic alone.

    Attributes
    ----------
    root
        Folder of the counters.
    """

    root: Path = POWERCAP
    name: str = "energy"
    unit: str = "J"
    direction: str = "minimize"
    exclusive: bool = True

    def refuse(self) -> str | None:
        """Say why this machine does not tell its energy, or None."""
        counters = self._counters()
        if not counters:
            return (
                f"no energy counters of a processor under {self.root} (RAPL): this machine, or the "
                "virtual machine or container that this process is in, does not show them."
            )
        unread = [path for path in counters if not os.access(path / "energy_uj", os.R_OK)]
        if unread:
            return (
                f"{unread[0] / 'energy_uj'} may not be read by this user; let an administrator "
                "allow it (chmod a+r)."
            )
        return None

    def measure(self, probe: Probe) -> Reading:
        """Count while requests are sent one after the other.

        Raises
        ------
        RefusedError
            If the machine does not tell, or not of what the candidate runs on.
        """
        if reason := self.refuse():
            raise RefusedError(f"energy cannot be measured here: {reason}")
        deployment, request = probe.deployment, probe.request
        if isinstance(deployment, PlacedDeployment):
            raise RefusedError(
                f"the counters are those of the processor, but this candidate runs on "
                f"{deployment.device!r}, whose energy they leave out."
            )
        steady = warmed_up(lambda: deployment(*request), probe.seconds)
        joules: list[float] = []
        requests = 0
        for _ in range(ROUNDS):
            count, before, begin = 0, self._read(), time.perf_counter()
            while time.perf_counter() < begin + probe.seconds / ROUNDS or not count:
                deployment(*request)
                count += 1
            joules.append(self._since(before) / count)
            requests += count
        protocol = {"seconds": probe.seconds, "requests": requests, "steady": steady}
        return Reading(_mean(joules, self.unit), samples={"joules": [joules]}, protocol=protocol)

    def _counters(self) -> list[Path]:
        """Return the folders of whole packages; what lies within one has two numbers."""
        found = sorted(self.root.glob(PACKAGES)) if self.root.is_dir() else []
        return [path for path in found if path.name.count(":") == 1]

    def _read(self) -> list[int]:
        """Return the microjoules of each package since some time."""
        return [int((path / "energy_uj").read_text()) for path in self._counters()]

    def _since(self, before: list[int]) -> float:
        """Return the joules since an earlier reading; a counter that ended begins at 0 again."""
        spent = 0
        for path, now, then in zip(self._counters(), self._read(), before, strict=True):
            turned = now < then
            spent += now - then + (int((path / "max_energy_range_uj").read_text()) if turned else 0)
        return spent / 1e6


def _mean(values: list[float], unit: str) -> Stat:
    """Return the mean with its 95 % interval (Student's t)."""
    import numpy as np
    from scipy import stats

    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1)) / count**0.5
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return Stat(mean, max(0.0, mean - half), mean + half, count, unit)
