"""The processor of this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from search_spaces.cores import usable_cores

# How the kernel spells what decides which precision is fast.
INSTRUCTION_SETS = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx_vnni": "avx_vnni",
    "amx_tile": "amx",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "asimd": "neon",
    "asimddp": "neon_dotprod",
    "i8mm": "neon_i8mm",
    "bf16": "neon_bf16",
}


class Cpu:
    """The processor of this machine, described from what its kernel says.

    Parameters
    ----------
    cpuinfo
        File to read the description from.
    """

    name = "cpu"

    def __init__(self, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
        self._cpuinfo = cpuinfo

    def describe(self) -> dict[str, Any]:
        """Return model, cores that this process may use, memory in MB and instruction sets."""
        fields = self._fields()
        flags = (fields.get("flags") or fields.get("Features") or "").split()
        model = fields.get("model name") or platform.processor() or platform.machine()
        return {
            "name": self.name,
            "processor": model,
            "architecture": platform.machine(),
            "cores": usable_cores(),
            "memory_mb": _memory_mb(),
            "instruction_sets": [
                INSTRUCTION_SETS[flag] for flag in INSTRUCTION_SETS if flag in flags
            ],
        }

    def _fields(self) -> dict[str, str]:
        """Return the first processor's block; empty where there is no such file."""
        if not self._cpuinfo.is_file():
            return {}
        fields: dict[str, str] = {}
        for line in self._cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
        return fields


def _memory_mb() -> int | None:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000
