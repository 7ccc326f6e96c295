"""The panel of a real search: what Python and the page share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from autoopt.handle.live import _follow
from autoopt.handle.rows import status_message
from autoopt.panel import Panel
from tests.small_searches import finished_search, until

if TYPE_CHECKING:
    from autoopt import Search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def search():
    found = finished_search()
    yield found
    found.panel().close()


def test_the_panel_of_a_finished_search_knows_all_and_its_needs(search):
    panel = search.panel()
    until(lambda: panel.wait_settled(0.1), "settling")
    assert [row["number"] for row in panel.rows] == list(search.trials.index)
    original = search.pick(0)["accuracy"].value
    (low, high) = panel.needs["accuracy"]
    assert low == pytest.approx(original - 0.05)
    assert high is None
    assert panel.filter["bounds"] == panel.needs
    assert list(panel.notes) == list(search.notes)


def test_what_is_shown_follows_the_filter(search):
    until(lambda: search.panel().wait_settled(0.1), "settling")
    search.filter = {"choices": {"runtime": ["openvino"]}}
    assert set(search.shown.index) == {
        s.number for s in search.strategies if s.recipe["runtime"].option == "openvino"
    }
    search.filter = {"bounds": search.panel().needs, "front": True}
    assert list(search.shown.index) == list(search.front.index)


def test_selection_and_filter_can_be_observed(search):
    heard = []
    search.observe(lambda change: heard.append((change["name"], change["new"])), ["selected"])
    search.selected = 1
    assert heard == [("selected", 1)]
    assert search.selected == 1


def test_a_search_that_cannot_be_followed_keeps_what_was_counted(search):
    class Broken(SimpleNamespace):
        @property
        def status(self):
            raise OSError("the disk is gone")

    panel = Panel()
    try:
        panel.update(status=status_message(search.status))
        _follow(cast("Search", Broken(folder=search.folder)), panel)
        assert panel.status["state"] == "failed"
        assert "the disk is gone" in panel.status["message"]
        assert panel.status["trials"] == search.status.trials > 0
    finally:
        panel.close()


def test_a_search_that_ends_the_cell_of_its_panel_shows_no_second_front(search, monkeypatch):
    cells = [7, 7, 8]
    monkeypatch.setattr("autoopt.panel.widget.running_cell", lambda: cells[0])
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    panel = search.panel()
    panel.show()
    cells.pop(0)
    assert search._repr_html_() == f'<div class="{panel.name}"></div>'
    cells.pop(0)
    assert "<svg" in search._repr_html_()


def test_every_figure_is_drawn_of_a_real_search(search):
    pytest.importorskip("matplotlib")
    for draw in (
        search.plot_front,
        search.plot_parallel,
        search.plot_history,
        search.plot_importance,
    ):
        assert draw().axes


def test_a_choice_and_an_export_from_the_page_reach_the_search(search, tmp_path):
    panel = search.panel()
    panel.perform({"kind": "choose", "number": 0})
    assert search.chosen.number == 0
    panel.perform({"kind": "export", "number": 0, "folder": str(tmp_path / "deploy")})
    assert (tmp_path / "deploy" / "predict.py").exists()
