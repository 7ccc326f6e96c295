"""Peak memory of a device while it serves."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.errors import RefusedError
from autoopt.interfaces import Probe, Reading


@dataclass(frozen=True)
class DeviceMemory:
    """Peak memory of the device, in MB (10⁶ bytes), that torch's allocator hands out in serving.

    Of a fresh process that holds the runtime alone. What CUDA itself takes for its context, some
    hundreds of MB, is the same for every candidate and not in it.
    """

    name: str = "device_memory"
    unit: str = "MB"
    direction: str = "minimize"
    exclusive: bool = True

    def refuse(self) -> str | None:
        """Say that this machine has no device with memory of its own, or None."""
        import torch

        if torch.cuda.is_available():
            return None
        return "there is no CUDA device; ask for 'memory', which is that of the process."

    def measure(self, probe: Probe) -> Reading:
        """Serve three requests in a new process and ask torch's allocator.

        Raises
        ------
        RefusedError
            If the candidate runs on the processor.
        """
        stat = probe.device_memory() if probe.device_memory is not None else None
        if stat is None:
            raise RefusedError(
                "this candidate runs on the processor, which has no memory of its own; ask for "
                "'memory', or for target='cuda'."
            )
        return Reading(stat)
