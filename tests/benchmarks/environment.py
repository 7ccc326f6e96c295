"""Where a benchmark ran: without it a figure means nothing."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import psutil

from search_spaces.cores import usable_cores

LIBRARIES = (
    "autoopt",
    "torch",
    "optuna",
    "openvino",
    "nncf",
    "onnx",
    "onnxruntime",
    "torch-pruning",
    "numpy",
    "scikit-learn",
)


def describe() -> dict[str, str | int | float]:
    """Return the machine and the versions of the libraries that decide the figures.

    Versions are read from the installed metadata, so nothing heavy is imported;
    a library that is not installed is left out.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        **versions(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's name as Linux tells it, elsewhere what `platform` knows."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return library → version for those of `LIBRARIES` that are installed."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
