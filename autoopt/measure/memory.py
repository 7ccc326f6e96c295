"""Peak memory of a process that serves an artefact and does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autoopt.errors import RefusedError
from autoopt.interfaces import Array, Parallel
from autoopt.measurement import Stat
from autoopt.runtimes.artifact import NAME, needs_model, read_manifest

TIMEOUT_SECONDS = 120.0

_PROGRAM = """
import json, re, resource, sys
from pathlib import Path
import numpy as np
import psutil
from autoopt.interfaces import Parallel
from autoopt.runtimes.opening import open_own
job = json.load(sys.stdin)
inputs = [np.ones(shape, dtype) for shape, dtype in job["inputs"]]
deployment = open_own(Path(job["folder"]), Parallel(**job["parallel"]))
for _ in range(3):
    deployment(*inputs)
if sys.platform == "linux":
    # Not ru_maxrss, which begins with what the parent had at the time of the fork.
    kilobytes = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
    # Pages that replica processes share count once among them.
    for child in psutil.Process().children(recursive=True):
        kilobytes = int(kilobytes) + child.memory_full_info().pss // 1024
    print(int(kilobytes) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
device = getattr(deployment, "device", "")
if device.startswith("cuda"):
    import torch
    print(torch.cuda.max_memory_allocated(torch.device(device)))
else:
    print(-1)
"""


def serving_memory(folder: Path, parallel: Parallel, request: Sequence[Array]) -> Stat:
    """Return the peak resident memory, in MB, of a new process that answers three requests.

    Of processes that it starts in turn, their proportional share after the requests is added.

    Raises
    ------
    RefusedError
        If the artefact needs the model's own code, which a new process does not have.
    RuntimeError
        If the serving process fails; its last words are shown.
    subprocess.TimeoutExpired
        If it takes longer than `TIMEOUT_SECONDS`.
    """
    return Stat.exact(_served(folder, parallel, request)[0] / 1e6, "MB")


def serving_device_memory(
    folder: Path, parallel: Parallel, request: Sequence[Array]
) -> Stat | None:
    """Return the peak memory, in MB, that torch's allocator handed out on the device meanwhile.

    None where the artefact runs on the processor.

    Raises
    ------
    RefusedError, RuntimeError, subprocess.TimeoutExpired
        As `serving_memory`.
    """
    found = _served(folder, parallel, request)[1]
    return Stat.exact(found / 1e6, "MB") if found >= 0 else None


def _served(folder: Path, parallel: Parallel, request: Sequence[Array]) -> tuple[float, float]:
    """Return the peak bytes of a process that serves, and those on its device; -1 without one."""
    # What is no artefact at all, the process itself says.
    if (folder / NAME).is_file() and needs_model(read_manifest(folder)):
        raise RefusedError(
            "the memory of serving is that of a process that knows nothing of the model, but this "
            "artefact runs by the model's own code."
        )
    job = {
        "folder": str(folder.resolve()),
        "parallel": asdict(parallel),
        "inputs": [(array.shape, str(array.dtype)) for array in request],
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode:
        raise RuntimeError(f"serving in a new process failed: {done.stderr[-500:]}")
    resident, device = done.stdout.splitlines()[-2:]
    return float(resident), float(device)
