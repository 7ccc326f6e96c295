"""Stages in the controller's own process: for tests and for debugging a technique."""

from __future__ import annotations

from autoopt.executors.interface import Pending, WorkerSetup
from autoopt.outcome import Outcome, Stage
from autoopt.recipe import Recipe


class _Finished:
    """An outcome that is already there."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def poll(self, seconds: float) -> Outcome | None:
        """Return the outcome."""
        return self._outcome

    def cancel(self) -> None:
        """Nothing is left to end."""


class InProcessExecutor:
    """No isolation and no time limit: a crash of a candidate is a crash of the search."""

    width = 1
    apart = False
    note = ""

    def __init__(self, setup: WorkerSetup) -> None:
        self._evaluator = setup.evaluator()

    def start(
        self, stage: Stage, recipe: Recipe, *, timeout: float, bar: float | None = None
    ) -> Pending:
        """Run the stage now; `timeout` cannot be kept without a process of its own."""
        return _Finished(self._evaluator.run(stage, recipe, bar))

    def close(self) -> None:
        """Nothing is left to end."""
