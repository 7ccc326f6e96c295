"""What a person tells the panel: needs typed and brushed, commands that wait; odd names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from autoopt.panel.filter import parse_filter
from tests.browser.bare import BarePanel, show_panel, watched_page
from tests.panel_rows import HOSTILE, OBJECTIVES, example_rows, make_row

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = example_rows(60)
MEASURED = [row for row in ROWS if row["state"] == "ok"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from watched_page(browser)


@pytest.fixture
def panel(page: Page) -> BarePanel:
    return show_panel(page, ROWS)


def need(panel: BarePanel, text: str, *, of: str = "latency ≤") -> Locator:
    """Type a need, and give its field."""
    field = panel.root.get_by_label(of)
    field.fill(text)
    panel.press("Enter")
    return field


# ------------------------------------------------------------------ typed needs


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("8", 8), ("0.5", 0.5), (".5", 0.5), ("1e3", 1000), ("1,000", 1000), ("12,345.5", 12345.5),
        ("1,234,567", 1234567), ("0,5", 0.5), ("0,125", 0.125), ("12,5", 12.5), ("8 ms", 8),
        ("8ms", 8), (" 1,000 MS ", 1000), ("-1", -1), ("−1", -1),
    ],
)  # fmt: skip
def test_a_need_is_read_as_the_panel_itself_writes_numbers(
    panel: BarePanel, text: str, bound: float
):
    field = need(panel, text)
    assert panel.saved("filter")["bounds"] == {"latency": [None, bound]}
    expect(field).to_have_attribute("aria-invalid", "false")
    expect(panel.root.locator(".ao-refusal")).to_be_hidden()


@pytest.mark.parametrize(("text", "bound"), [("98 %", 0.98), ("98.7%", 0.987), ("0,98", 0.98)])
def test_a_score_may_be_wanted_in_percent(panel: BarePanel, text: str, bound: float):
    need(panel, text, of="accuracy ≥")
    assert panel.saved("filter")["bounds"] == {"accuracy": [bound, None]}


@pytest.mark.parametrize(
    "text", ["fast", "8 s", "8 %", "1,00,0", "1.000.000", "8 ms ms", "1e999", "Infinity", "ms"]
)
def test_what_is_no_need_is_refused_with_the_reason_and_changes_nothing(
    panel: BarePanel, text: str
):
    field = need(panel, text)
    expect(field).to_have_attribute("aria-invalid", "true")
    said = panel.root.locator(".ao-refusal")
    expect(said).to_contain_text(f"latency: “{text}” is no number in ms; write it like 8, 0.5")
    assert field.get_attribute("aria-describedby") == said.get_attribute("id")
    assert panel.shown() == len(MEASURED)
    need(panel, "4")
    expect(said).to_be_hidden()
    assert panel.saved("filter")["bounds"] == {"latency": [None, 4]}


def test_a_refused_need_stays_while_trials_come_and_others_are_typed(panel: BarePanel):
    field = need(panel, "fast")
    need(panel, "2", of="size ≤")
    panel.send_rows(ROWS[:3])
    panel.settle()
    expect(field).to_have_value("fast")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(panel.root.locator(".ao-refusal")).to_contain_text("fast")


@pytest.mark.parametrize("by", ["clear", "python"])
def test_a_filter_from_elsewhere_takes_the_place_of_what_was_refused(panel: BarePanel, by: str):
    panel.root.get_by_role("searchbox").fill("int8")
    field = need(panel, "fast")
    if by == "clear":
        panel.root.get_by_role("button", name="Clear filter").click()
    else:
        panel.root.get_by_role("searchbox").focus()
        panel.update(filter=parse_filter({"bounds": {"latency": [None, 3]}}))
    expect(field).to_have_value("" if by == "clear" else "3")
    expect(field).to_have_attribute("aria-invalid", "false")
    expect(panel.root.locator(".ao-refusal")).to_be_hidden()


def test_a_field_that_is_written_in_is_left_alone_until_it_is_left(panel: BarePanel):
    field = need(panel, "fast")
    panel.update(filter=parse_filter({"bounds": {"latency": [None, 3]}}))
    panel.settle()
    expect(field).to_have_value("fast")
    panel.press("Tab")
    expect(field).to_have_value("3")
    expect(field).to_have_attribute("aria-invalid", "false")


def test_a_need_that_is_shown_shorter_than_it_is_stays_as_it_is(page: Page):
    bounds = {"accuracy": [0.98437512, None]}
    panel = show_panel(page, ROWS, filter=parse_filter({"bounds": bounds}))
    field = panel.root.get_by_label("accuracy ≥")
    expect(field).to_have_value("0.98438")
    field.press("Enter")
    need(panel, "4")
    assert panel.saved("filter")["bounds"] == {**bounds, "latency": [None, 4]}


def test_one_live_region_alone_speaks(panel: BarePanel):
    speaking = "[aria-live], [role=status], [role=alert], [role=log], [role=timer], output"
    expect(panel.root.locator(speaking)).to_have_count(1)
    expect(panel.root.locator(".ao-count")).to_contain_text("strategies")


# ------------------------------------------------------------------ brushed needs


def latency_axis(panel: BarePanel) -> tuple[float, float, float]:
    """Give where an axis lies: the middle across, its top and its height."""
    area = panel.root.locator(".ao-axis", has_text="latency").locator(".ao-hit")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"], box["height"]


class Finger:
    """A finger on the page, as the browser itself feels one."""

    def __init__(self, page: Page) -> None:
        self._client = page.context.new_cdp_session(page)

    def feel(self, kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in at]
        self._client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_a_touch_brushes_along_an_axis(panel: BarePanel):
    x, top, height = latency_axis(panel)
    finger = Finger(panel.page)
    finger.feel("touchStart", (x, top + height * 0.95))
    for share in (0.9, 0.8, 0.7, 0.6, 0.5):
        finger.feel("touchMove", (x, top + height * share))
    finger.feel("touchEnd")
    low, high = panel.saved("filter")["bounds"]["latency"]
    assert high is not None
    assert low is None or low < high


def test_a_touch_that_is_taken_away_leaves_no_brush_behind(page: Page):
    bounds = {"latency": [None, 5], "size": [None, 2.5]}
    panel = show_panel(page, ROWS, filter=parse_filter({"bounds": bounds}))
    x, top, height = latency_axis(panel)
    finger = Finger(page)
    finger.feel("touchStart", (x, top + height * 0.9))
    for share in (0.8, 0.7, 0.6):
        finger.feel("touchMove", (x, top + height * share))
    assert panel.saved("filter")["bounds"] != bounds
    finger.feel("touchCancel")
    assert panel.saved("filter")["bounds"] == bounds
    page.mouse.move(x, top + height * 0.2)
    page.mouse.move(x, top + height * 0.4)
    page.mouse.up()
    assert panel.saved("filter")["bounds"] == bounds


@pytest.mark.parametrize("button", ["right", "middle"])
def test_only_the_main_button_lets_go_of_a_bound(page: Page, button: str):
    bounds = {"latency": [None, 5]}
    panel = show_panel(page, ROWS, filter=parse_filter({"bounds": bounds}))
    x, top, height = latency_axis(panel)
    page.mouse.click(x, top + height * 0.3, button=button)  # type: ignore[arg-type]  # of its literals
    panel.settle()
    assert page.evaluate("model.get('filter').bounds") == bounds
    page.mouse.click(x, top + height * 0.3)
    assert panel.saved("filter")["bounds"] == {}


def test_a_drag_goes_on_beyond_the_axis_and_ends_wherever_it_is_let_go(panel: BarePanel):
    x, top, height = latency_axis(panel)
    page = panel.page
    page.mouse.move(x, top + height * 0.9)
    page.mouse.down()
    page.mouse.move(x + 300, top + height * 0.5)
    bounds = panel.saved("filter")["bounds"]["latency"]
    page.mouse.move(x + 300, 5)
    page.mouse.up()
    assert panel.saved("filter")["bounds"]["latency"] != bounds
    bounds = panel.saved("filter")["bounds"]
    page.mouse.move(x, top + height * 0.7)
    assert panel.saved("filter")["bounds"] == bounds


# ------------------------------------------------------------------ commands that wait


COMMANDS = {
    "pause": ("Pause", ".ao-waits"),
    "go_on": ("Go on", ".ao-waits"),
    "stop": ("Stop", ".ao-waits"),
    "choose": ("Choose #3", ".ao-card .ao-answer"),
    "export": ("Export", ".ao-export .ao-answer"),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_says_that_it_waits_and_only_once_it_has(page: Page, kind: str):
    name, place = COMMANDS[kind]
    page.clock.install()
    panel = show_panel(page, ROWS, selected=3, chosen=3 if kind == "export" else None)
    panel.send_status(trials=60, state="paused" if kind == "go_on" else "running")
    page.clock.run_for(100)
    said = panel.root.locator(place)
    panel.root.get_by_role("button", name=name, exact=True).click()
    assert panel.sent()[-1]["kind"] == kind
    page.clock.run_for(1_200)
    expect(said).to_have_text("")
    page.clock.run_for(600)
    expect(said).to_contain_text("hears of it when its cell is done")
    panel.answer(kind, text="there" if kind == "export" else "")
    page.clock.run_for(100)
    expect(said).not_to_contain_text("its cell")


def test_a_command_that_is_answered_in_time_never_says_that_it_waits(page: Page):
    page.clock.install()
    panel = show_panel(page, ROWS, selected=3, chosen=3)
    page.clock.run_for(100)
    panel.root.get_by_role("button", name="Export", exact=True).click()
    page.clock.run_for(1_000)
    panel.answer("export", text="there")
    page.clock.run_for(2_000)
    expect(panel.root.locator(".ao-export .ao-answer")).to_have_text("exported to there")
    # The next one has its own time.
    panel.root.get_by_role("button", name="Export", exact=True).click()
    page.clock.run_for(1_000)
    expect(panel.root.locator(".ao-export .ao-answer")).to_have_text("")


# ------------------------------------------------------------------ odd names


NAMES = {
    "long": "x" * 300,
    "long-words": "accuracy on the held out part " * 10,
    "chinese": "量化剪枝" * 75,
    "right-to-left": "ضغط النموذج " * 25,
    "markup": HOSTILE * 12,
}
OUTSIDE = """() => {
  const root = document.querySelector(".autoopt-panel").getBoundingClientRect();
  const parts = ["needs *", "toolbar *", "legend *", "chart text", "card *", "beside *",
    "head-group *", "lines text", "why *", "line *", "tip *"].map((part) => `.ao-${part}`);
  const words = (node) => `${node.tagName} ${node.getAttribute("class")} ${node.textContent}`;
  return [...document.querySelectorAll(parts.join())].filter((node) => {
    const { left, right, width } = node.getBoundingClientRect();
    return width && !node.closest("option, .ao-grid-table, .ao-lines-scroll")
      && (left < root.left - 1 || right > root.right + 1);
  }).map((node) => words(node).slice(0, 80));
}"""
SCROLLED = """() => ["card-body", "compare-body", "takeaway-body", "why-body", "needs"]
  .flatMap((part) => [...document.querySelectorAll(`.ao-${part}`)])
  .filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.className)"""


@pytest.mark.parametrize("width", [1280, 640])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_length_and_script_stay_in_the_panel(page: Page, name: str, width: int):
    odd = NAMES[name]
    page.set_viewport_size({"width": width, "height": 1500})
    names = [f"a{odd}", f"b{odd}", f"c{odd}"]
    objectives: list[Any] = [
        {**known, "name": own, "label": own} for known, own in zip(OBJECTIVES, names, strict=True)
    ]
    rows = [
        make_row(
            n,
            role="search" if n else "original",
            choices={odd: f"{n % 3} {odd}", f"{odd}.{odd}": f"{n % 2} {odd}", "runtime": odd},
            values={own: [1.0 + n + k, 0.9 + n + k, 1.1 + n + k] for k, own in enumerate(names)},
        )
        for n in range(8)
    ]
    panel = show_panel(
        page, rows, objectives=objectives, selected=3, chosen=3, looks={"pins": [2, 3]}
    )
    panel.root.locator(".ao-why summary").click()
    for field in panel.root.locator(".ao-need input").all():
        field.fill("fast")
        panel.press("Enter")
    panel.root.locator(".ao-canvas").focus()
    panel.press("Home")
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SCROLLED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert panel.root.locator("img").count() == 0
    expect(panel.root.locator(".ao-need-name").first).to_have_attribute("title", names[0])
