"""Workers that sleep instead of computing, and write down what they did when: real in all else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.executors import WorkerSetup
from autoopt.outcome import Built, Done, Outcome, Stage
from autoopt.recipe import Recipe
from search_spaces import quick
from tests.fakes import usual_answer

if TYPE_CHECKING:
    from autoopt.evaluate import Evaluator

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Slept:
    """One stage that a worker went through: what, for which key, from when to when."""

    stage: str
    key: str
    begin: float
    end: float
    pid: int


@dataclass(frozen=True)
class SleepingEvaluator:
    """Gives what the fake machine gives, after as long as a stage is said to take."""

    cache: Cache
    seconds: float

    def run(self, stage: Stage, recipe: Recipe, bar: float | None = None) -> Outcome:
        outcome = usual_answer(stage, recipe)
        if stage == "network" and isinstance(outcome, Done) and outcome.built is not None:
            return self._network(outcome.built)
        begin = time.time()
        with self._noted(stage, recipe.id):
            time.sleep({"artifact": 0.1, "deployment": 1.0}.get(stage, 0.0) * self.seconds)
        if isinstance(outcome, Done):
            return Done(time.time() - begin, outcome.built, outcome.measurement, outcome.memory)
        return outcome

    def _network(self, built: Built) -> Outcome:
        if not built.trained:
            return Done(0.0, built)
        with self.cache.lease("networks", built.key):
            if self.cache.whole("networks", built.key) is not None:
                return Done(0.0, Built(built.key, True, 10 * self.seconds, trained=True))
            begin = time.time()
            with self._noted("network", built.key), self.cache.write("networks", built.key):
                time.sleep(10 * self.seconds)
            spent = time.time() - begin
            return Done(spent, Built(built.key, False, spent, trained=True))

    @contextmanager
    def _noted(self, stage: str, key: str) -> Iterator[None]:
        begin = time.time()
        _append(self.cache.folder, stage=f"{stage} begins", key=key, begin=begin, end=begin)
        yield
        _append(self.cache.folder, stage=stage, key=key, begin=begin, end=time.time())


@dataclass(frozen=True)
class SleepingSetup(WorkerSetup):
    """The setup of workers that sleep.

    Attributes
    ----------
    seconds
        What measuring takes; training takes ten times as long.
    """

    seconds: float = 0.1

    def evaluator(self) -> Evaluator:
        return cast("Evaluator", SleepingEvaluator(Cache(self.cache), self.seconds))


def sleeping_setup(folder: Path, **changes: Any) -> SleepingSetup:
    """The setup of a search in a folder; its cache is there."""
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    usual: dict[str, Any] = {
        "payload": b"",
        "snapshot": folder,
        "cache": folder / "cache",
        "scope": "",
        "target": "cpu",
        "objectives": ("quality", "size"),
        "space": quick(2),
        "reference": original(),
        "measure_seconds": 0.1,
        "memory_limit": 0,
        "log": folder / "worker.log",
    }
    return SleepingSetup(**{**usual, **changes})


def slept(folder: Path, stage: str) -> list[Slept]:
    """What the workers of a search wrote down about a stage."""
    path = folder / "cache" / JOURNAL
    if not path.exists():
        return []
    found = [Slept(**json.loads(line)) for line in path.read_text().splitlines()]
    return sorted((item for item in found if item.stage == stage), key=lambda item: item.begin)


def overlapping(first: list[Slept], second: list[Slept]) -> list[tuple[Slept, Slept]]:
    """Pairs of stages that ran at the same time."""
    return [
        (one, other)
        for one in first
        for other in second
        if one is not other and one.begin < other.end and other.begin < one.end
    ]


def _append(folder: Path, **values: Any) -> None:
    line = json.dumps({**values, "pid": os.getpid()}) + "\n"
    file = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
