"""What can be minimised or maximised: one file an objective, one line each in the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from autoopt.interfaces import Objective, load_class

OBJECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "quality": "quality:Quality",
        "latency": "latency:Latency",
        "latency_p95": "tail:p95",
        "latency_p99": "tail:p99",
        "throughput": "throughput:Throughput",
        "server": "server:Server",
        "prompt_tokens": "decoding:PromptTokens",
        "decode_tokens": "decoding:DecodeTokens",
        "first_token": "decoding:FirstToken",
        "size": "size:Size",
        "parameters": "extent:Parameters",
        "multiply_adds": "extent:MultiplyAdds",
        "memory": "memory:Memory",
        "device_memory": "device_memory:DeviceMemory",
        "build_time": "build_time:BuildTime",
        "energy": "energy:Energy",
    }
)
"""Name to ``"module:Class"`` in this package, or to a function that returns an objective."""


def load_objective(name: str) -> Objective:
    """Return the objective of a name.

    Raises
    ------
    UnknownNameError
        If there is none; the known ones are listed.
    """
    return cast("Objective", load_class("objective", __name__, OBJECTIVES, name)())


__all__ = ["OBJECTIVES", "load_objective"]
