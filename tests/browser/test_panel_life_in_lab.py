"""The life of a panel in a real JupyterLab: two views, a reload while it runs, a kernel restart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import LabNotebook
from tests.browser.test_panel_in_lab import BUSY, SHOW, click_mark, marks

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOW_BOTH = (
    SHOW.rstrip().removesuffix("panel")
    + """
def steer(kind, state):
    events.append(kind)
    panel.update(status={**panel.status, "state": state})
panel.on_command("pause", lambda: steer("pause", "paused"))
panel.on_command("go_on", lambda: steer("go_on", "running"))
panel.show()
"""
)
OTHER = """
other = Panel([unit("accuracy", "", "maximize"), unit("latency", "ms", "minimize")])
other.update(FIRST[:2], status("finished", 2, None))
other.show()
"""
FROM_PYTHON = """
panel.filter = {"bounds": {"latency": [None, 9.0]}}
panel.selected = 3
"""
BUSY_LONGER = BUSY.replace("range(70)", "range(130)")
# In the background, as a search is: long enough for a page to be loaded anew meanwhile.
FEED_ON = """
def feed_on():
    for number in range(35, 95):
        panel.update([later(number)], status("running", number + 1, 100.0))
        time.sleep(0.4)
threading.Thread(target=feed_on).start()
"""
REPORT = "print(events, panel.filter['bounds'], panel.selected)"


def test_a_panel_lives_through_views_reloads_and_a_kernel_restart(
    open_notebook: Callable[..., LabNotebook], axe: Callable[[Page], list[str]]
) -> None:
    notebook = open_notebook(
        [SHOW_BOTH, "panel", OTHER, FROM_PYTHON, BUSY_LONGER, FEED_ON, REPORT], height=1600
    )
    for cell in range(3):
        notebook.run(cell)
        expect(notebook.output(cell).locator(".ao-count")).to_contain_text("→", timeout=15_000)
    first, second, other = (notebook.output(n).locator(".autoopt-panel") for n in range(3))

    python_moves_both_views_and_not_the_other_search(notebook, first, second, other)
    one_view_moves_the_other_one(first, second)
    assert axe(notebook.page) == []
    a_pause_reaches_python_past_a_running_cell(notebook, first)
    a_reload_in_mid_search_comes_back_to_the_same_state(notebook, first)
    assert notebook.dialogs == []
    assert notebook.errors == []
    a_restarted_kernel_leaves_the_static_front(notebook, first)


def python_moves_both_views_and_not_the_other_search(
    notebook: LabNotebook, first: Locator, second: Locator, other: Locator
) -> None:
    notebook.run(3)
    for view in (first, second):
        expect(view.get_by_label("latency ≤")).to_have_value("9", timeout=10_000)
        expect(view.locator(".ao-count")).to_have_text("→ 3 strategies")
        expect(view.locator(".ao-card .ao-number")).to_have_text("#3")
    expect(other.get_by_label("latency ≤")).to_have_value("")
    expect(other.locator(".ao-count")).to_have_text("→ 2 strategies")


def one_view_moves_the_other_one(first: Locator, second: Locator) -> None:
    second.get_by_role("grid").focus()
    for key in ("Home", "Enter"):
        second.page.keyboard.press(key)
    number = second.locator(".ao-row[aria-selected=true] div").first.inner_text()
    expect(first.locator(".ao-card .ao-number")).to_have_text(f"#{number}")
    first.get_by_label("latency ≤").fill("12")
    first.page.keyboard.press("Enter")
    expect(second.get_by_label("latency ≤")).to_have_value("12")


def a_pause_reaches_python_past_a_running_cell(notebook: LabNotebook, panel: Locator) -> None:
    notebook.run(4)
    # The feed says "running" with every trial.
    expect(marks(panel)).to_have_count(33, timeout=20_000)
    panel.get_by_role("button", name="Pause").click()
    panel.get_by_role("button", name="Go on").click(timeout=10_000)
    expect(panel.get_by_role("button", name="Pause")).to_be_enabled(timeout=10_000)
    assert notebook.runs(4)


def a_reload_in_mid_search_comes_back_to_the_same_state(
    notebook: LabNotebook, panel: Locator
) -> None:
    page = notebook.page
    click_mark(panel, 24)
    expect(panel.locator(".ao-card .ao-number")).to_have_text("#24")
    notebook.wait_ready(60)
    notebook.run(5)
    # Without the saved output there would be no view to come back to.
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    notebook.open()
    expect(panel.get_by_label("latency ≤")).to_have_value("12", timeout=15_000)
    expect(panel.locator(".ao-card .ao-number")).to_have_text("#24")
    trials = panel.locator(".ao-header .ao-fact").first
    before = trials.inner_text()
    expect(trials).not_to_have_text(before, timeout=5_000)
    notebook.run(6)
    expect(notebook.output(6)).to_contain_text(
        "['pause', 'go_on'] {'latency': [None, 12.0]} 24", timeout=15_000
    )


def a_restarted_kernel_leaves_the_static_front(notebook: LabNotebook, panel: Locator) -> None:
    page = notebook.page
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    twin = notebook.output(0).locator(".autoopt-front")
    expect(twin).to_be_hidden()
    for key in ("Escape", "0", "0"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    # The page that was open all the time says so, too.
    expect(panel.locator(".ao-state")).to_have_text("Kernel gone", timeout=15_000)
    expect(panel.get_by_role("button", name="Pause")).to_be_hidden()
    expect(twin).to_be_visible()
    notebook.open()
    expect(twin).to_be_visible(timeout=15_000)
    expect(twin.locator("svg").first).to_be_visible()
