"""A real search, on the quickstart's model, followed in a real JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.lab import LabNotebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 240_000
"""Milliseconds for what needs candidates to be built; the machine may be busy."""

MODEL = """
import time
import autoopt
from autoopt.demo.data import digits
from autoopt.demo.model import train_model
from search_spaces import quick

data = digits()
model, accuracy = train_model(epochs=2)
space = quick().narrow(student=["none"], pruning=["none"], recovery=["none"],
                       quantization=["float32", "static_int8"], runtime=["eager", "openvino"])

def start(folder):
    return autoopt.search(model, data, budget="10 min", space=space, request_size=16,
                          max_drop=0.05, folder=folder, cache="cache")
print("ready")
"""
SEARCH = """
begin = time.perf_counter()
search = start("search")
print(f"returned after {time.perf_counter() - begin:.2f} s")
"""
BUSY = """
for _ in range(2000):
    time.sleep(0.1)
    if len(search.strategies) >= 4: break
print("known here:", len(search.strategies) >= 4)
"""
CHOSEN = "print(search.chosen.number, search.status.state)"
WAIT = "search.wait()\nprint(search.status.state, '|', search.status.message)"
LOST = """
lost = start("lost")
lost._launched.kill()
lost.wait()
"""


def test_a_real_search_is_followed_chosen_from_and_stopped_in_jupyterlab(
    open_notebook: Callable[..., LabNotebook], artefacts: Path
) -> None:
    notebook = open_notebook([MODEL, SEARCH, BUSY, CHOSEN, WAIT, LOST], height=1300)
    notebook.run(0)
    expect(notebook.output(0)).to_contain_text("ready", timeout=PATIENCE)

    panel = the_call_returns_at_once_with_a_panel(notebook)
    points_appear_while_another_cell_runs(notebook, panel)
    a_choice_becomes_the_searchs_chosen_strategy(notebook, panel, artefacts)
    stop_ends_the_search_and_keeps_what_it_found(notebook, panel)
    the_front_is_there_once_as_long_as_the_panel_lives(notebook, artefacts)
    a_lost_search_says_so_in_its_header_and_in_wait(notebook, artefacts)
    assert notebook.dialogs == []
    assert notebook.errors == []
    the_saved_front_remains_without_the_kernel(notebook, artefacts)


def marks(panel: Locator) -> Locator:
    return panel.locator("[role=option]")


def the_call_returns_at_once_with_a_panel(notebook: LabNotebook) -> Locator:
    notebook.run(1)
    panel = notebook.output(1).locator(".autoopt-panel")
    expect(panel).to_be_visible(timeout=30_000)
    expect(notebook.output(1)).to_contain_text("returned after", timeout=30_000)
    seconds = re.search(r"returned after ([\d.]+) s", notebook.output(1).inner_text())
    assert seconds is not None
    assert float(seconds[1]) < 10
    return panel


def points_appear_while_another_cell_runs(notebook: LabNotebook, panel: Locator) -> None:
    assert marks(panel).count() == 0
    notebook.run(2)
    expect(marks(panel)).to_have_count(1, timeout=PATIENCE)
    assert notebook.runs(2)
    expect(panel.locator(".ao-state")).to_have_text("Running")
    expect(panel.get_by_label("Across")).to_have_value("latency")
    expect(notebook.output(2)).to_contain_text("known here: True", timeout=PATIENCE)
    expect(marks(panel).nth(3)).to_be_attached(timeout=10_000)


def a_choice_becomes_the_searchs_chosen_strategy(
    notebook: LabNotebook, panel: Locator, artefacts: Path
) -> None:
    panel.locator(".ao-canvas").focus()
    notebook.page.keyboard.press("Home")
    notebook.page.keyboard.press("Enter")
    number = panel.locator(".ao-card .ao-number").inner_text().removeprefix("#")
    panel.get_by_role("button", name=f"Choose #{number}").click()
    expect(panel.get_by_role("button", name="Chosen ✓")).to_be_disabled(timeout=15_000)
    notebook.run(3)
    expect(notebook.output(3)).to_contain_text(f"{number} running", timeout=15_000)
    panel.screenshot(path=artefacts / "search-running.png")


def stop_ends_the_search_and_keeps_what_it_found(notebook: LabNotebook, panel: Locator) -> None:
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator(".ao-state")).to_have_text("Finished", timeout=60_000)
    expect(panel.locator(".ao-status-message")).to_have_text("stopped on request")
    assert marks(panel).count() >= 4
    notebook.run(4)
    expect(notebook.output(4)).to_contain_text("finished | stopped on request", timeout=15_000)


def the_front_is_there_once_as_long_as_the_panel_lives(
    notebook: LabNotebook, artefacts: Path
) -> None:
    twin = notebook.output(1).locator(".autoopt-front")
    expect(twin).to_contain_text("Finished", timeout=10_000)
    expect(twin).to_be_hidden()
    notebook.cell(1).screenshot(path=artefacts / "search-light.png")


def a_lost_search_says_so_in_its_header_and_in_wait(notebook: LabNotebook, artefacts: Path) -> None:
    notebook.run(5)
    expect(notebook.output(5)).to_contain_text("SearchError", timeout=60_000)
    panel = notebook.output(5).locator(".autoopt-panel")
    expect(panel.locator(".ao-state")).to_have_text("Failed")
    expect(panel.locator(".ao-status-message")).to_contain_text("controller")
    panel.screenshot(path=artefacts / "search-failed.png")


def the_saved_front_remains_without_the_kernel(notebook: LabNotebook, artefacts: Path) -> None:
    page = notebook.page
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    notebook.lab.use_theme("JupyterLab Dark")
    notebook.open()
    panel = notebook.output(1).locator(".autoopt-panel")
    twin = notebook.output(1).locator(".autoopt-front")
    expect(panel.locator(".ao-state")).to_have_text("Finished", timeout=15_000)
    expect(twin).to_be_hidden()
    notebook.cell(1).screenshot(path=artefacts / "search-dark.png")
    for session in notebook.lab.request("api/sessions"):
        if session["path"] == notebook.name:
            notebook.lab.request(f"api/sessions/{session['id']}", method="DELETE")
    notebook.open()
    expect(twin).to_be_visible(timeout=15_000)
    expect(twin.locator("svg").first).to_be_visible()
    notebook.cell(1).screenshot(path=artefacts / "search-saved.png")
    notebook.lab.use_theme("JupyterLab Light")
