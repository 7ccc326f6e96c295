"""Several workers: what is trained side by side, what is measured alone, and what is lost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autoopt.controller import SearchController
from autoopt.outcome import Built, Done, Outcome, Stage
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.settings import SAMPLERS, Budget
from tests.fakes import history_of, is_executor, job, log_of, usual_answer

TRAINING = 0.15


@dataclass
class Timed:
    """A stage that ends after some time."""

    outcome: Outcome
    end: float
    cancelled: bool = False

    def poll(self, seconds: float) -> Outcome | None:
        left = self.end - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        return self.outcome if time.monotonic() >= self.end else None

    def cancel(self) -> None:
        self.cancelled = True
        self.end = time.monotonic()


@dataclass
class TimedExecutor:
    """Training takes a while, everything else a moment; it knows what ran beside what."""

    lost: set[str] = field(default_factory=set)
    running: list[tuple[Stage, Recipe, Timed]] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    widest: int = 0
    width: int = 3
    training: float = TRAINING
    apart: bool = False
    note: str = ""
    beside_a_measurement: int = 0

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Timed:
        now = time.monotonic()
        self.running = [item for item in self.running if item[2].end > now]
        measured = stage == "deployment" or any(s == "deployment" for s, _, _ in self.running)
        self.beside_a_measurement += measured and bool(self.running)
        if len(self.running) >= self.width + self.apart:
            raise RuntimeError("more stages than workers")
        self.widest = max(self.widest, len(self.running) + 1)
        outcome, seconds = usual_answer(stage, recipe), 0.002
        if stage == "network" and isinstance(outcome, Done) and outcome.built is not None:
            built = outcome.built
            key = built.key
            if built.trained and key in self.trained:
                outcome = Done(0.0, Built(key, True, built.cost, trained=True))
            elif built.trained:
                self.trained.append(key)
                seconds = self.training
                if key in self.lost:
                    self.lost.remove(key)
                    self.trained.remove(key)
                    outcome = Failure(stage, "out_of_memory", "the worker was killed (SIGKILL)")
        self.running.append((stage, recipe, Timed(outcome, now + seconds)))
        return self.running[-1][2]

    @property
    def under_way(self) -> int:
        """How many stages run now."""
        return sum(item[2].end > time.monotonic() for item in self.running)

    def close(self) -> None:
        """Nothing is left to end."""


def run(folder: Path, executor: TimedExecutor, **changes):
    log = log_of(folder)
    reason = SearchController(job(folder, **changes), is_executor(executor), log).run()
    return history_of(log), reason


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_networks_are_trained_side_by_side_and_measured_alone(tmp_path, sampler: str) -> None:
    executor = TimedExecutor(training=0.6)
    history, reason = run(tmp_path, executor, workers=3, sampler=sampler, budget=Budget(trials=26))
    assert reason == "the budget in trials is spent"
    # TPE may not ask for a third network to train while two are under way.
    assert executor.widest == 3 or (sampler == "tpe" and executor.widest == 2)
    assert executor.beside_a_measurement == 0
    assert sorted(history.raw) == list(range(26))
    assert len({record.recipe.id for record in history.records}) == 26
    assert len(executor.trained) == len(set(executor.trained)) > 1
    assert not history.pending


def test_one_worker_trains_one_network_at_a_time(tmp_path) -> None:
    executor = TimedExecutor(width=1)
    run(tmp_path, executor, budget=Budget(trials=14))
    assert executor.widest == 1


def test_a_candidate_whose_worker_was_lost_is_taken_up_once_more(tmp_path) -> None:
    probe = TimedExecutor()
    (tmp_path / "probe").mkdir()
    run(tmp_path / "probe", probe, workers=3, budget=Budget(trials=16))
    lost = probe.trained[0]
    executor = TimedExecutor(lost={lost})
    (tmp_path / "search").mkdir()
    history, _ = run(tmp_path / "search", executor, workers=3, budget=Budget(trials=16))
    assert not executor.lost
    assert not any(record.failure for record in history.records)
    assert executor.trained.count(lost) == 1
    assert len(history.raw) == 16


def test_a_stop_abandons_all_that_is_under_way_and_a_resume_takes_it_up(tmp_path) -> None:
    log, executor = log_of(tmp_path), TimedExecutor(training=3.0)
    wanted = job(tmp_path, workers=3, budget=Budget(trials=16))
    controller = SearchController(wanted, is_executor(executor), log)
    thread = threading.Thread(target=controller.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while executor.under_way < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert executor.under_way >= 2
    log.append("command", {"command": "stop"})
    thread.join(30)
    stopped = history_of(log)
    assert set(stopped.started) == set(stopped.raw)
    history, _ = run(tmp_path, TimedExecutor(), workers=3, budget=Budget(trials=16))
    assert len({record.recipe.id for record in history.records}) == len(history.raw) == 16


def test_the_same_seed_gives_the_same_candidates_with_several_workers(tmp_path) -> None:
    orders = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        history, _ = run(tmp_path / name, TimedExecutor(width=2), budget=Budget(trials=20))
        orders.append({record.number: record.recipe.id for record in history.records})
    assert orders[0] == orders[1]


def test_a_budget_in_seconds_is_kept_with_several_workers(tmp_path) -> None:
    begun = time.monotonic()
    wanted = replace(job(tmp_path, workers=3, budget=Budget(seconds=3.0)), launched=time.time())
    SearchController(wanted, is_executor(TimedExecutor()), log_of(tmp_path)).run()
    assert time.monotonic() - begun < 3.0 * 1.05 + 1.0
