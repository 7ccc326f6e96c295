"""What a CUDA device was like while a measurement ran, as its driver says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ASKED: Mapping[str, str] = {
    "frequency_mhz": "clocks.sm",
    "memory_frequency_mhz": "clocks.mem",
    "highest_frequency_mhz": "clocks.max.sm",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "busy_percent": "utilization.gpu",
    "used_mb": "memory.used",
    "throttled": "clocks_throttle_reasons.active",
    "performance_state": "pstate",
    "driver": "driver_version",
}
"""Name in a record to what the driver's tool calls it."""

SECONDS = 10.0
UNKNOWN = ("[N/A]", "[Not Supported]", "N/A", "[Unknown Error]", "")

Ask = Callable[[Sequence[str]], str | None]


def device_conditions(device: str, ask: Ask | None = None) -> dict[str, Any]:
    """Return frequency, temperature, power, load and more of a device; empty where none are told.

    Parameters
    ----------
    device
        As torch names it: ``"cuda:0"``.
    ask
        Runs a command and returns what it prints, or None; that of the driver when absent.
    """
    identity = _identity(device)
    if identity is None:
        return {}
    fields = ",".join(ASKED.values())
    command = ["nvidia-smi", "-i", identity, f"--query-gpu={fields}",
               "--format=csv,noheader,nounits"]  # fmt: skip
    printed = (ask or _run)(command)
    values = [value.strip() for value in (printed or "").strip().split(",")]
    if len(values) != len(ASKED):
        return {}
    return {
        name: _number(value)
        for name, value in zip(ASKED, values, strict=True)
        if value not in UNKNOWN
    }


def _identity(device: str) -> str | None:
    """Return what the driver knows a device by: numbers are torch's own where some are hidden."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(torch.device(device))
    found = getattr(properties, "uuid", None)
    return None if found is None else f"GPU-{found}"


def _run(command: Sequence[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
