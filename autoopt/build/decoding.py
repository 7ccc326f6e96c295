"""Artefacts of language models that also run token after token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.devices import CPU

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Quantization
    from autoopt.task import Task

ON_CPU_ONLY = (
    "one token after the other is served on the processor only, but candidates run on {!r}; search "
    "for latency or throughput there."
)


def refuse_decoder(runtime: str, device: str = CPU) -> str | None:
    """Say that a runtime serves no cache of keys and values, or none on a device, or None."""
    if device != CPU:
        return ON_CPU_ONLY.format(device)
    from autoopt.runtimes.decoding import ELSEWHERE, RUNTIMES

    return None if runtime in RUNTIMES else ELSEWHERE.format(runtime)


def decoding(network: nn.Module, request: Quantization, task: Task, folder: Path) -> None:
    """Put the graphs for one token after the other beside an artefact that was just built.

    Parameters
    ----------
    network, request, task
        What the artefact was built from.
    folder
        Its files.

    Raises
    ------
    RefusedError
        If the model has no cache that can be traced.
    """
    from autoopt.runtimes.decoding import add_decoder
    from autoopt.runtimes.torch_files import realised_module

    module, _ = realised_module(network, request, task)
    add_decoder(module, task, folder)
