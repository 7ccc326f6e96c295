"""The same seed and the same order of results give the same search, whatever made that order."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoopt.controller import SearchController
from autoopt.log import Log
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.settings import SAMPLERS, Budget
from tests.fakes import history_of, is_executor, job, log_of, usual_answer

TRIALS = 22


@dataclass
class Due:
    """A stage whose outcome comes when its executor lets it."""

    executor: Shuffled | Replayed
    stage: Stage
    recipe: Recipe
    since: float = field(default_factory=time.monotonic)

    def poll(self, seconds: float) -> Outcome | None:
        if not self.executor.lets(self):
            time.sleep(min(seconds, 0.001))
            return None
        return usual_answer(self.stage, self.recipe)

    def cancel(self) -> None:
        """Nothing runs."""


@dataclass
class Shuffled:
    """Every stage takes some time by chance, so that results arrive in any order."""

    width: int
    apart: bool
    chance: random.Random
    note: str = ""
    delays: dict[int, float] = field(default_factory=dict)

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Due:
        due = Due(self, stage, recipe)
        self.delays[id(due)] = self.chance.random() * (0.05 if stage == "network" else 0.01)
        return due

    def lets(self, due: Due) -> bool:
        return time.monotonic() - due.since >= self.delays[id(due)]

    def close(self) -> None:
        """Nothing is left to end."""


@dataclass
class Replayed:
    """Gives outcomes in the order in which the log of another run has them."""

    width: int
    apart: bool
    recorded: list[tuple[str, str]]
    log: Log
    note: str = ""

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Due:
        return Due(self, stage, recipe)

    def lets(self, due: Due) -> bool:
        done = events(self.log)
        # The survey comes before the first, and the second look after the last.
        if due.stage == "survey" or len(done) == len(self.recorded):
            return True
        # What differs from the record never comes: the test then runs into its time limit.
        return self.recorded[: len(done) + 1] == [*done, (due.stage, due.recipe.id)]

    def close(self) -> None:
        """Nothing is left to end."""


def events(log: Log) -> list[tuple[str, str]]:
    """What was begun and which stages ended, in order."""
    recipes: dict[int, str] = {}
    found = []
    for event in log.read():
        if event.kind == "started":
            recipes[event.payload["number"]] = Recipe.from_dict(event.payload["recipe"]).id
            found.append(("started", recipes[event.payload["number"]]))
        elif event.kind == "stage" and event.payload["stage"] != "memory":
            found.append((event.payload["stage"], recipes[event.payload["number"]]))
    return found


def searched(folder: Path, executor: Any, log: Log, sampler: str) -> list[tuple[str, str]]:
    wanted = job(folder, budget=Budget(trials=TRIALS), sampler=sampler, seed=3)
    SearchController(wanted, is_executor(executor), log).run()
    history = history_of(log)
    assert sorted(history.raw) == list(range(TRIALS))
    assert len({record.recipe.id for record in history.records}) == TRIALS
    return events(log)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("width", "apart"), [(1, False), (3, False), (2, True), (4, True)])
def test_results_in_the_recorded_order_give_the_same_sequence(
    width: int, apart: bool, sampler: str, tmp_path: Path
) -> None:
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    chance = random.Random(width)
    first = searched(
        tmp_path / "first", Shuffled(width, apart, chance), log_of(tmp_path / "first"), sampler
    )
    log = log_of(tmp_path / "again")
    again = searched(tmp_path / "again", Replayed(width, apart, first, log), log, sampler)
    assert again == first
