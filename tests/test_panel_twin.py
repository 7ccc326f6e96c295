from __future__ import annotations

from typing import Any

import IPython.display
import pytest

from autoopt.panel.messages import starting_status
from autoopt.panel.widget import Panel
from tests.panel_rows import OBJECTIVES, make_row

VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """Keeps what was displayed, as a notebook does."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}

    def display(self, bundle, *, raw, metadata=None, display_id=None, update=False):
        assert raw
        if update:
            self.outputs[self._places[display_id]] = bundle
            return
        if display_id is not None:
            self._places[display_id] = len(self.outputs)
        self.outputs.append(bundle)


@pytest.fixture
def page(monkeypatch):
    page = Page()
    monkeypatch.setattr(IPython.display, "display", page.display)
    return page


@pytest.fixture
def panel():
    panel = Panel()
    yield panel
    panel.close()


def test_a_shown_panel_is_a_view_with_text_and_a_static_twin_that_bears_its_name(panel, page):
    panel.show()
    view, twin = page.outputs
    assert view[VIEW]["model_id"] == panel.model_id
    assert "text/plain" in view
    assert "text/html" not in view
    assert f'class="{panel.name}"' in twin["text/html"]


def test_settling_writes_the_front_into_the_twin_and_not_beneath_it(panel, page):
    panel.show()
    panel.objectives = OBJECTIVES
    panel.update([make_row(3, recommended=True)], {**starting_status(), "state": "finished"})
    panel.settle()
    assert len(page.outputs) == 2
    assert "<b>Finished</b>" in page.outputs[1]["text/html"]
    assert "★ #3" in page.outputs[1]["text/plain"]
    assert panel.wait_settled(0)


def test_a_panel_that_was_never_shown_gets_no_twin(panel, page):
    panel.refresh_twin()
    panel.settle()
    assert page.outputs == []


def test_two_panels_have_twins_of_different_names(panel):
    other = Panel()
    assert panel.name != other.name
    other.close()
