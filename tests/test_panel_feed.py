"""What goes from a search into its panel, told event by event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from autoopt.front import Front
from autoopt.handle import rows
from autoopt.handle.live import _Feed, _said
from autoopt.handle.rows import Marks, record_rows
from autoopt.handle.status import status_of
from autoopt.measurement import Measurement, Stat
from autoopt.panel import Panel
from autoopt.record import Record
from tests.record_builds import ORIGINAL, Story, failed, measured

if TYPE_CHECKING:
    from autoopt import Search

COUNT = 200


class Told(SimpleNamespace):
    """A search that is as far as a story was told."""

    def __init__(self) -> None:
        super().__init__(story=Story(), notes=(), folder="searches/told")
        self.story.record(measured(0, 0.99, 20.0, 3.0, reference_ms=20.0, role="original"))
        for number in range(1, COUNT):
            self.more(number)
        self.frozen = self.story.history.snapshot()

    def more(self, number: int, *, latency: float | None = None, reference_ms: float = 20.0):
        latency = 2.0 + number / 100 if latency is None else latency
        self.story.record(measured(number, 0.98, latency, 2.0, reference_ms=reference_ms))
        self.frozen = self.story.history.snapshot()

    def _known(self):
        return self.frozen

    @property
    def status(self):
        return status_of(self.frozen, alive=True, now=self.story.clock)


@pytest.fixture
def panel():
    made = Panel()
    yield made
    made.close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Recipes of the rows that were built."""
    recipes: list[object] = []
    real = rows._choices

    def counted(recipe):
        recipes.append(recipe)
        return real(recipe)

    monkeypatch.setattr(rows, "_choices", counted)
    return recipes


def feed_of(search: Told, panel: Panel) -> _Feed:
    return _Feed(cast("Search", search), panel)


def test_a_new_record_among_many_builds_its_own_row_alone(panel, built):
    search = Told()
    feed = feed_of(search, panel)
    feed.step()
    assert len(built) == len(panel.rows) == COUNT
    built.clear()
    search.more(COUNT)
    feed.step()
    assert len(built) == 1
    feed.step()
    assert len(built) == 1
    assert panel.rows == record_rows(search.frozen)


def test_the_row_that_a_new_record_takes_the_recommendation_from_is_built_with_it(panel, built):
    search = Told()
    feed = feed_of(search, panel)
    feed.step()
    built.clear()
    search.more(COUNT, latency=1.0)
    feed.step()
    # The new one, and the fastest before it, which it dominates.
    assert len(built) == 2
    assert panel.rows == record_rows(search.frozen)


def test_a_machine_that_drifts_moves_every_row(panel, built):
    search = Told()
    feed = feed_of(search, panel)
    feed.step()
    built.clear()
    for number in range(COUNT, 3 * COUNT):
        search.more(number, reference_ms=22.0)
    feed.step()
    assert len(built) == 3 * COUNT
    assert panel.rows == record_rows(search.frozen)


def test_who_is_best_is_found_once_a_record_and_not_at_every_look(panel, monkeypatch):
    asked = []
    search = Told()
    feed = feed_of(search, panel)
    real = Front.best

    def counted(front, objective):
        asked.append(objective)
        return real(front, objective)

    monkeypatch.setattr(Front, "best", counted)
    for _ in range(3):
        feed.step()
    assert len(asked) == 1
    search.more(COUNT)
    feed.step()
    assert len(asked) == 2


def test_a_record_whose_interval_alone_has_changed_is_news():
    marks = Marks(front=True, feasible=True, recommended=False)

    def said(low: float) -> tuple[object, ...]:
        stats = {"latency": Stat(2.0, low, 2.2, 8, "ms")}
        return _said(Record(1, ORIGINAL, "search", Measurement(stats)), marks)

    assert said(1.8) != said(1.9)
    assert said(1.8) == said(1.80001)
    assert said(1.8) != _said(failed(1), marks)
