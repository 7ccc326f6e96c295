"""Channels that are removed from the network: the second slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["PRUNING"]

PRUNING: Options = {
    "none": {},
    # The fraction of channels removed, those of least L2 norm in the whole network first. In
    # eighths: finer steps drown in noise, less than a quarter hardly shows in the latency.
    "magnitude": {"ratio": Choice([0.25, 0.375, 0.5, 0.625, 0.75], usual=0.5)},
}
