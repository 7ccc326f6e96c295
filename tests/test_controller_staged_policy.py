"""The staged search at work in a real search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoopt.controller import staged_policy
from autoopt.controller.baselines import original
from autoopt.controller.staged_policy import PATIENCE, StagedPolicy
from autoopt.controller.study import Study
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.settings import Budget, Settings
from tests.fakes import AXES, record, settings, small_space


def policy(folder: Path, wanted: Settings) -> StagedPolicy:
    storage = f"sqlite:///{folder / 'study.sqlite'}"
    return StagedPolicy(
        wanted,
        lambda sampler: Study(wanted.space, AXES, sampler=sampler, storage=storage, name="mine"),
        lambda recipe: False,
    )


class Told:
    """A search whose candidates are measured at once."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.history = History(settings=settings(budget=Budget(trials=1000), **changes))
        assert self.history.settings is not None
        self.policy = policy(folder, self.history.settings)
        self.take(original())

    def take(self, recipe: Recipe) -> None:
        number = len(self.history.raw)
        self.history.started[number] = recipe
        self.history.raw[number] = record(number, recipe, "search" if number else "original")
        for name in ("records", "front"):
            self.history.__dict__.pop(name, None)
        self.policy.study.tell(self.history.record(number), ())

    def follow(self, count: int) -> int:
        """Take what is chosen until nothing is; return how many."""
        for taken in range(count):
            following = self.policy.next(self.history, 1e9)
            if following is None:
                return taken
            self.take(following)
        return count


def test_a_search_whose_front_cannot_grow_any_more_ends_and_says_why(tmp_path, monkeypatch) -> None:
    told = Told(tmp_path)
    monkeypatch.setattr(staged_policy, "PROMISE", 2.0)  # no gain is that large
    taken = told.follow(100)
    # What is tried before models decide promises an unknown gain.
    assert PATIENCE - 1 <= taken < 60
    assert "nothing promises a gain" in told.policy.exhausted(float("inf"))


def test_a_search_that_promises_gains_goes_on(tmp_path) -> None:
    assert Told(tmp_path).follow(30) == 30


def test_a_space_that_is_spent_is_said_to_be(tmp_path) -> None:
    told = Told(tmp_path, space=small_space(quantization=["float32", "bfloat16"]))
    assert told.follow(50) == 3
    assert "every point of the space" in told.policy.exhausted(float("inf"))
