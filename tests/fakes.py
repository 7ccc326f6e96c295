"""Stand-ins that behave like the real thing and can be told what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.controller.job import LOG, Job
from autoopt.executors import Executor, Pending
from autoopt.history import History
from autoopt.log import Log
from autoopt.measurement import Axis, Measurement, Stat
from autoopt.outcome import Built, Done, Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record, Role
from autoopt.settings import Budget, Limits, Settings
from search_spaces import SearchSpace, quick

AXES = (
    Axis("accuracy", "", "maximize"),
    Axis("latency", "ms", "minimize"),
    Axis("size", "MB", "minimize"),
)

SPEED = {"eager": 8.0, "onnxruntime": 2.0, "openvino": 1.0, "compiled": 4.0}
"""Milliseconds of the original in each runtime of the fake machine."""

Answer = Callable[[Stage, Recipe], "Outcome | None"]
"""What a stage gives; None for a stage that never ends."""


def measurement(accuracy: float = 0.9, latency: float = 8.0, size: float = 1.0) -> Measurement:
    values = {"accuracy": (accuracy, ""), "latency": (latency, "ms"), "size": (size, "MB")}
    return Measurement(
        stats={name: Stat(v, v * 0.99, v * 1.01, 8, unit) for name, (v, unit) in values.items()},
        test=Stat.exact(accuracy),
        speedup=Stat.exact(8.0 / latency),
        reference_ms=8.0,
    )


def fake_measurement(recipe: Recipe) -> Measurement:
    """What the fake machine measures: smaller networks and fewer bits are faster and worse."""
    fraction = recipe["student"].settings.get("fraction", 1.0)
    bits = {"static_int8": 8, "weight_only": 8, "bfloat16": 16}.get(
        recipe["quantization"].option, 32
    )
    drop = 0.02 * (1 - fraction) + 0.01 * (bits < 16)
    return measurement(
        0.95 - drop,
        SPEED[recipe["runtime"].option] * fraction * (bits / 32) ** 0.5,
        fraction * bits / 32,
    )


def usual_answer(stage: Stage, recipe: Recipe) -> Outcome:
    """Everything goes well; training takes as long as it has epochs."""
    epochs = recipe["recovery"].settings.get("epochs", 0)
    if stage == "network":
        key = recipe.stage_id("network")
        return Done(0.0, Built(key, recipe.is_original, float(epochs), trained=epochs > 0))
    if stage == "artifact":
        return Done(0.0, Built(recipe.stage_id("artifact"), False, 0.1))
    if stage == "deployment":
        return Done(0.0, measurement=fake_measurement(recipe))
    if stage == "memory":
        return Done(0.0, memory=Stat.exact(50.0, "MB"))
    return Done(0.0)


@dataclass
class FakePending:
    """A stage of `FakeExecutor`."""

    outcome: Outcome | None
    cancelled: bool = False

    def poll(self, seconds: float) -> Outcome | None:
        if self.outcome is None:
            time.sleep(min(seconds, 0.01))
        return self.outcome

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeExecutor:
    """Answers at once and remembers what it was asked for.

    Attributes
    ----------
    answer
        What a stage gives.
    asked
        Every stage that was started.
    bars
        Of every network, the quality that it must be able to reach.
    """

    answer: Answer = usual_answer
    asked: list[tuple[Stage, Recipe, float]] = field(default_factory=list)
    bars: list[tuple[Recipe, float | None]] = field(default_factory=list)
    pending: list[FakePending] = field(default_factory=list)
    closed: bool = False
    width: int = 1
    apart: bool = False
    note: str = ""

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        self.asked.append((stage, recipe, timeout))
        if stage == "network":
            self.bars.append((recipe, bar))
        self.pending.append(FakePending(self.answer(stage, recipe)))
        return self.pending[-1]

    def close(self) -> None:
        self.closed = True


def is_executor(value: Executor) -> Executor:
    """Let the type checker hold the fake to the protocol."""
    return value


@dataclass
class FakeDeployment:
    """Answers every request with a fixed function of its first input."""

    function: Callable[[np.ndarray], np.ndarray]
    closed: bool = False
    requests: list[int] = field(default_factory=list)

    def __call__(self, *inputs: Any) -> Any:
        self.requests.append(len(inputs[0]))
        return self.function(inputs[0])

    def close(self) -> None:
        self.closed = True


def settings(**changes: Any) -> Settings:
    """The settings of a search of the quick space, of at most ten candidates."""
    usual = Settings(
        fingerprint="f" * 64,
        stable=False,
        space=quick(2),
        axes=AXES,
        objectives=("quality", "latency", "size"),
        budget=Budget(trials=10),
        constraints={},
        max_drop=None,
        request_size=16,
        threads=2,
        seed=0,
        target="cpu",
        cache="nowhere",
        storage="sqlite://",
        limits=Limits(),
        notes=(),
    )
    return replace(usual, **changes)


def small_space(**slots: Any) -> SearchSpace:
    plain: Mapping[str, Any] = {
        "student": ["none"],
        "pruning": ["none"],
        "recovery": ["none"],
        "quantization": ["float32"],
        "runtime": ["eager", "openvino"],
        "parallel": ["default"],
    }
    return quick(2).narrow(**{**plain, **slots})


def job(folder: Path, launched: float | None = None, **changes: Any) -> Job:
    wanted = settings(cache=str(folder / "cache"), **changes)
    begun = time.time() if launched is None else launched
    return Job(folder, wanted, b"", folder / "snapshot", begun, "study")


def log_of(folder: Path) -> Log:
    return Log(folder / LOG, create=True)


def history_of(log: Log) -> History:
    found = History()
    found.add(log.read())
    return found


def record(
    number: int, recipe: Recipe, role: Role = "search", outcome: Measurement | Failure | None = None
) -> Record:
    return Record(number, recipe, role, fake_measurement(recipe) if outcome is None else outcome)
