"""Where a measurement ran: all that is needed to judge it, and to set the same place up again."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoopt.devices import CPU, device_of
from autoopt.measure.device_conditions import device_conditions
from autoopt.runtimes.compiled import compiler
from autoopt.targets import load_target
from search_spaces.cores import usable_cores

LIBRARIES = (
    "autoopt", "torch", "openvino", "nncf", "onnxruntime", "onnx", "numpy", "torchao",
    "torch-pruning", "transformers", "safetensors",
)  # fmt: skip
"""Libraries whose versions stand in every measurement, where they are installed."""

VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES", "DNNL_MAX_CPU_ISA",
    "GOMP_SPINCOUNT", "KMP_AFFINITY", "KMP_BLOCKTIME", "MALLOC_ARENA_MAX", "MKL_NUM_THREADS",
    "MKL_THREADING_LAYER", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC", "OMP_NUM_THREADS", "OMP_PLACES",
    "OMP_PROC_BIND", "OMP_SCHEDULE", "OMP_WAIT_POLICY", "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA", "OPENBLAS_NUM_THREADS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
)  # fmt: skip
"""Environment variables that change how fast libraries compute; none holds a path or a secret."""

PRELOADED = "LD_PRELOAD"
"""Names libraries that replace others, such as an allocator; only their file names are noted."""

_SETTINGS: Mapping[str, str] = {
    "governor": "devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "boost": "devices/system/cpu/cpufreq/boost",
    "no_turbo": "devices/system/cpu/intel_pstate/no_turbo",
    "hyper_threading": "devices/system/cpu/smt/active",
    "huge_pages": "kernel/mm/transparent_hugepage/enabled",
    "clock": "devices/system/clocksource/clocksource0/current_clocksource",
}
_QUOTAS = ("fs/cgroup/cpu.max", "fs/cgroup/cpu/cpu.cfs_quota_us")


def environment_of(target: str) -> dict[str, Any]:
    """Return the machine, its settings, the versions of everything, the load and the time.

    Parameters
    ----------
    target
        Name of what is measured on.

    Returns
    -------
    dict
        What the target says of itself; a version for each of `LIBRARIES` that is installed and of
        ``python``; ``system`` (operating system, and how it runs its processors; of a device, the
        processor that drives it); ``variables`` (those of `VARIABLES` that are set); ``load`` and
        ``time``.
    """
    described = load_target(target).describe()
    system = system_settings()
    if (device := device_of(target)) != CPU:
        host = load_target(CPU).describe()
        system |= {"processor": host["processor"], "cores": host["cores"]}
        system |= device_settings(device)
    return {
        **described,
        **library_versions(),
        "python": platform.python_version(),
        "system": system,
        "variables": set_variables(os.environ),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "time": time.time(),
    }


def device_settings(device: str) -> dict[str, Any]:
    """Return what decides about the speed of a device besides itself: driver, limits, TF32."""
    import torch

    said = device_conditions(device)
    found = {
        "driver": said.get("driver"),
        "power_limit_w": said.get("power_limit_w"),
        "cudnn": torch.backends.cudnn.version(),
        # Products of float32 that tensor cores round to 10 bits, where they are allowed to.
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
    return {name: value for name, value in found.items() if value is not None}


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def set_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those variables that change how fast libraries compute, without paths."""
    found = {name: variables[name] for name in VARIABLES if name in variables}
    if preloaded := variables.get(PRELOADED):
        found[PRELOADED] = " ".join(Path(one).name for one in preloaded.replace(":", " ").split())
    return found


def system_settings(root: Path = Path("/sys")) -> dict[str, Any]:
    """Return operating system, kernel, C library, compiler, and how processors are run.

    Parameters
    ----------
    root
        Where the kernel shows its settings; what it does not show is left out.

    Returns
    -------
    dict
        ``affinity`` are the numbers of the processors that this process may use, ``quota`` how
        many of them its control group may keep busy, ``torch`` the instructions that its kernels
        are chosen for.
    """
    found: dict[str, Any] = {
        "system": platform.system(),
        "kernel": f"{platform.release()} {platform.version()}".strip(),
        "library": " ".join(platform.libc_ver()).strip(),
        "compiler": compiler_version(),
        "torch": _torch_capability(),
        "affinity": ranges_of(sorted(_affinity())),
        "quota": cpu_quota(root),
        "microcode": _microcode(),
        **{name: chosen(_text(root / path)) for name, path in _SETTINGS.items()},
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def cpu_quota(root: Path = Path("/sys")) -> float | None:
    """Return the processors that this process's control group may keep busy; None for no limit."""
    for place in _QUOTAS:
        words = (_text(root / place) or "").split()
        if len(words) == 1 and (period := _text((root / place).with_name("cpu.cfs_period_us"))):
            words.append(period)
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            return round(int(words[0]) / int(words[1]), 3)
    return None


@cache
def compiler_version() -> str | None:
    """Return what the compiler that torch calls says of itself, or None where there is none."""
    path = compiler()
    if path is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
        return (done.stdout.splitlines() or [""])[0].strip() or None
    return None


def ranges_of(numbers: list[int]) -> str:
    """Return ordered whole numbers as the kernel writes them: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def chosen(text: str | None) -> str | None:
    """Return the choice in brackets where the kernel lists all (``always [madvise] never``)."""
    if text and "[" in text:
        return text.partition("[")[2].partition("]")[0]
    return text


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(usable_cores()))


def _torch_capability() -> str | None:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


@cache
def _microcode(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    for line in (_text(cpuinfo) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "microcode":
            return value.strip()
    return None


def _text(path: Path) -> str | None:
    """Return what a file of the kernel's says, or None."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return None
