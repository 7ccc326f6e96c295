"""A CUDA device of this machine."""

from __future__ import annotations

from typing import Any

from autoopt.errors import RefusedError

TENSOR_CORES = {(7, 0): "fp16", (7, 5): "int8", (8, 0): "bf16", (8, 9): "fp8"}
"""Compute capability from which tensor cores take a precision (NVIDIA's programming guide)."""


class Cuda:
    """One CUDA device, described from what the driver says through torch.

    Parameters
    ----------
    index
        Number of the device.
    name
        Name of the target, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    RefusedError
        If there is no such device, with the reason.
    """

    def __init__(self, index: int = 0, name: str = "cuda") -> None:
        if reason := _missing(index):
            raise RefusedError(f"the target {name!r} cannot be used: {reason}")
        self.index = index
        self.name = name

    def describe(self) -> dict[str, Any]:
        """Return device, multiprocessors, memory in MB, and precisions of its tensor cores."""
        import torch

        found = torch.cuda.get_device_properties(self.index)
        capability = (found.major, found.minor)
        return {
            "name": self.name,
            "processor": found.name,
            "architecture": f"sm_{found.major}{found.minor}",
            "cores": found.multi_processor_count,
            "memory_mb": found.total_memory // 1_000_000,
            "instruction_sets": [
                f"tensor_cores_{kind}"
                for since, kind in TENSOR_CORES.items()
                if since <= capability
            ],
            "cuda": torch.version.cuda,
        }


def _missing(index: int) -> str | None:
    """Say why there is no device of that number, or None."""
    import torch

    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) was built without CUDA; install one with it."
    if not torch.cuda.is_available():
        return "torch finds no CUDA device; see whether nvidia-smi lists one."
    if index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} CUDA devices, counted from 0."
    return None
