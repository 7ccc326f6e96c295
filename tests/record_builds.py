"""Records, settings and logs made by hand for the tests of the third floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoopt.history import History
from autoopt.log import Event
from autoopt.measurement import Axis, Measurement, Stat
from autoopt.recipe import Recipe
from autoopt.record import Failure, Record, Role
from autoopt.settings import Budget, Limits, Settings
from search_spaces import quick

ACCURACY = Axis("accuracy", "", "maximize")
LATENCY = Axis("latency", "ms", "minimize")
SIZE = Axis("size", "MB", "minimize")
AXES = (ACCURACY, LATENCY, SIZE)

ORIGINAL = Recipe.of({})
SMALL = Recipe.of(
    {
        "student": ("width", {"fraction": 0.5}),
        "recovery": ("distill", {"epochs": 6, "temperature": 4.0, "learning_rate": 3e-3}),
        "quantization": ("static_int8", {"granularity": "per_channel", "keep": "first_last"}),
        "runtime": ("openvino", {}),
        "parallel": ("tuned", {"threads": 2, "replicas": 2, "batch": 8}),
    }
)


def measured(
    number: int,
    *figures: float,
    axes: tuple[Axis, ...] = AXES,
    recipe: Recipe = ORIGINAL,
    reference_ms: float | None = None,
    role: Role = "search",
) -> Record:
    stats = {
        axis.name: Stat.exact(value, axis.unit) for axis, value in zip(axes, figures, strict=True)
    }
    return Record(number, recipe, role, Measurement(stats, reference_ms=reference_ms))


def failed(number: int, recipe: Recipe = SMALL) -> Record:
    return Record(number, recipe, "search", Failure("artifact", "crashed", "killed by signal 9"))


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "fingerprint": "abc",
        "stable": True,
        "space": quick(2),
        "axes": AXES,
        "objectives": ("quality", "latency", "size"),
        "budget": Budget(seconds=300.0),
        "constraints": {},
        "max_drop": None,
        "request_size": 16,
        "threads": 2,
        "seed": 0,
        "target": "cpu",
        "cache": str(Path("cache")),
        "storage": None,
        "limits": Limits(),
        "notes": ("the metric is accuracy",),
    }
    return Settings(**{**values, **changes})


class Story:
    """A history told event by event; every event is one second after the one before."""

    def __init__(self, **changes: Any) -> None:
        self.history = History()
        self.clock = 100.0
        self.options = changes
        self.open()

    def tell(self, kind: Any, *, after: float = 1.0, **payload: Any) -> None:
        self.clock += after
        event = Event(self.history.last_id + 1, self.clock, kind, payload)
        self.history.add([event])

    def open(self, after: float = 1.0) -> None:
        launched = self.clock + after - 1
        self.tell("opened", after=after, settings=settings(**self.options).to_dict(),
                  launched=launched, pid=1, resumed=False, study="s")  # fmt: skip

    def record(self, record: Record) -> None:
        self.tell("started", number=record.number, recipe=record.recipe.to_dict(), role=record.role)
        self.tell("record", **record.to_dict())

    def stage(self, stage: str, key: str, **values: Any) -> None:
        payload = {"number": 0, "seconds": 1.0, "cached": False, "cost": 1.0, "trained": False}
        self.tell("stage", stage=stage, key=key, **{**payload, **values})
