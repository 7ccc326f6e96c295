"""Rows for the tests of the panel."""

from __future__ import annotations

from typing import Any

from autoopt.panel.messages import Objective, Row

OBJECTIVES: list[Objective] = [
    {"name": "accuracy", "label": "accuracy", "unit": "", "direction": "maximize"},
    {"name": "latency", "label": "latency", "unit": "ms", "direction": "minimize"},
    {"name": "size", "label": "size", "unit": "MB", "direction": "minimize"},
]
HOSTILE = "<img src=x onerror=alert(1)>"


def make_row(
    number: int,
    *,
    accuracy: float = 0.99,
    latency: float = 2.0,
    size: float = 1.0,
    **changes: Any,
) -> Row:
    """Give a row that was measured, changed as wanted."""
    row: dict[str, Any] = {
        "number": number,
        "role": "search",
        "state": "ok",
        "front": True,
        "feasible": True,
        "recommended": False,
        "summary": f"strategy {number}",
        "recipe": "runtime: openvino",
        "values": {
            "accuracy": [accuracy, accuracy - 0.01, accuracy + 0.01],
            "latency": [latency, latency * 0.9, latency * 1.1],
            "size": [size, size, size],
        },
        "speedup": 2.0,
        "failure": None,
    }
    row.update(changes)
    return row  # type: ignore[return-value]  # built from the same keys


def failed_row(number: int, **changes: Any) -> Row:
    """Give a row that failed."""
    failure = {"stage": "build", "kind": "out_of_memory", "message": "no memory left"}
    changes = {"failure": failure, "front": False, "speedup": None, "values": {}, **changes}
    return make_row(number, state="failed", **changes)
