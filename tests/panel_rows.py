"""Rows for the tests of the panel."""

from __future__ import annotations

import math
import random
from typing import Any

from autoopt.handle.rows import LONGEST_LOG
from autoopt.panel.messages import Objective, Row, shortened_log

OBJECTIVES: list[Objective] = [
    {
        "name": "accuracy",
        "label": "accuracy",
        "unit": "",
        "direction": "maximize",
        "points": True,
    },
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
        "choices": {"quantization": "float32", "runtime": "openvino"},
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
    failure = {"stage": "build", "kind": "out_of_memory", "message": "no memory left", "log": ""}
    changes = {"failure": failure, "front": False, "speedup": None, "values": {}, **changes}
    return make_row(number, state="failed", **changes)


def example_rows(count: int = 60, *, seed: int = 0) -> list[Row]:
    """Give trials that look like those of a search: the original, singles, then the search."""
    draw = random.Random(seed)
    rows = [
        _example(0, "original", "none", "float32", "eager", draw),
        *(
            _example(n + 1, "baseline", "none", "float32", runtime, draw)
            for n, runtime in enumerate(("onnxruntime", "openvino"))
        ),
        _example(3, "uniform", "none", "static_int8", "openvino", draw),
    ]
    for number in range(4, count):
        pruning = draw.choice(("none", "magnitude", "taylor"))
        quantization = draw.choice(("float32", "bfloat16", "static_int8", "weight_only"))
        runtime = draw.choice(("eager", "onnxruntime", "openvino"))
        rows.append(_example(number, "search", pruning, quantization, runtime, draw))
        if number % 17 == 9:
            log = 'Traceback (most recent call last):\n  File "worker", line 1\nMemoryError'
            note = {"stage": "artifact", "kind": "error", "message": HOSTILE, "log": log}
            rows[-1] = failed_row(number, failure=note, choices=rows[-1]["choices"])
    return rows[:count]


def wide_rows(count: int, *, seed: int = 0) -> list[Row]:
    """Give trials as they come in a search, failures among them, with hundreds on the front."""
    draw, rows = random.Random(seed), example_rows(count, seed=seed)
    for row in rows[4:]:
        if row["state"] == "failed":
            continue
        share, luck = draw.random(), draw.expovariate(2.5)
        latency, size = 15 * math.exp(-4 * share) * (1 + luck), 2.7 * draw.uniform(0.1, 1)
        accuracy = 0.9945 - 0.03 * share**2 - 0.002 / size - 0.01 * luck
        row["values"] = {
            "accuracy": [accuracy, accuracy - 0.006, accuracy + 0.005],
            "latency": [latency, latency * 0.96, latency * 1.05],
            "size": [size, size, size],
        }
        row["speedup"] = 15.2 / latency
    return rows


def trading_off(count: int) -> list[Row]:
    """Give trials on a plane between three objectives: none dominates another."""
    draw = random.Random(0)
    rows = []
    for number in range(count):
        loss, latency, size = (draw.expovariate(1) for _ in range(3))
        total = loss + latency + size
        figures = {"latency": 1 + latency / total, "size": 1 + size / total}
        rows.append(make_row(number, accuracy=1 - loss / total, **figures))
    return rows


def with_long_logs(rows: list[Row]) -> list[Row]:
    """Give each failure a log that is as long as a panel takes it from a search."""
    for row in rows:
        if row["failure"]:
            lines = (f'  File "worker", line {n}, in step_{n}\n' for n in range(4000))
            row["failure"]["log"] = shortened_log("".join(lines) + "MemoryError", LONGEST_LOG)
    return rows


_SPEED = {"eager": 1.0, "onnxruntime": 1.9, "openvino": 2.6}
_BITS = {"float32": 1.0, "bfloat16": 0.62, "static_int8": 0.3, "weight_only": 0.85}


def _example(
    number: int, role: str, pruning: str, quantization: str, runtime: str, draw: random.Random
) -> Row:
    keep = 1.0 if pruning == "none" else draw.choice((0.25, 0.5, 0.75))
    latency = 15.2 / _SPEED[runtime] * _BITS[quantization] * keep**1.3 * draw.uniform(0.9, 1.1)
    if role == "original":
        latency = 15.2
    loss = 0.012 * (1 - keep) ** 2 + (1 - _BITS[quantization]) ** 2 * 0.008
    accuracy = (
        round(360 * (0.9945 - loss - (0 if role == "original" else draw.uniform(0, 0.004)))) / 360
    )
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / 360)
    choices: dict[str, Any] = {"pruning": pruning, "quantization": quantization, "runtime": runtime}
    if pruning != "none":
        choices["pruning.keep"] = keep
    words = [f"{pruning} {keep}"] if pruning != "none" else []
    return make_row(
        number,
        accuracy=accuracy,
        latency=latency,
        size=2.71 * keep * {"float32": 1.0, "bfloat16": 0.5}.get(quantization, 0.26),
        role=role,
        front=False,
        choices=choices,
        summary=" · ".join([*words, quantization.replace("_", " "), runtime]),
        speedup=15.2 / latency,
        values={
            "accuracy": [accuracy, accuracy - half, min(1.0, accuracy + half)],
            "latency": [latency, latency * 0.96, latency * 1.05],
            "size": [2.71 * keep * {"float32": 1.0, "bfloat16": 0.5}.get(quantization, 0.26)] * 3,
        },
    )
