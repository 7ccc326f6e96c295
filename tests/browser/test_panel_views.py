"""What the panel's parts show, each against what can be worked out by hand."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from autoopt.panel import assets
from autoopt.panel.filter import parse_filter
from autoopt.panel.messages import Row, wire_columns
from tests.browser.bare import BarePanel, show_panel, watched_page
from tests.panel_rows import HOSTILE, OBJECTIVES, example_rows, failed_row, make_row

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROWS = example_rows(60)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from watched_page(browser)


def mark(panel: BarePanel, number: int) -> Any:
    return panel.root.locator(f"[role=option][id$='-{number}']")


def numbers_listed(panel: BarePanel) -> list[int]:
    panel.settle()
    cells = panel.root.locator(".ao-body-rows .ao-row div:first-child").all_inner_texts()
    return [int(text) for text in cells]


def curve(points: list[tuple[float, float]], **changes: Any) -> list[Row]:
    """Give the original and trials of these latencies and accuracies, measured to the point."""
    rows = []
    for number, (latency, accuracy) in enumerate(points):
        values = {"accuracy": [accuracy] * 3, "latency": [latency] * 3, "size": [1.0] * 3}
        role = "search" if number else "original"
        speedup = points[0][0] / latency
        rows.append(make_row(number, role=role, values=values, speedup=speedup, **changes))
    return rows


# ------------------------------------------------------------------ chart


def test_a_third_objective_is_shown_as_size(page: Page):
    rows = [make_row(n, latency=1.0 + n, size=float(n)) for n in range(5)]
    panel = show_panel(page, rows)
    panel.root.get_by_label("Size", exact=True).select_option("size")
    panel.settle()

    def scale(number: int) -> float:
        words = mark(panel, number).locator(".ao-shape").get_attribute("transform")
        return float(words.removeprefix("scale(").removesuffix(")"))

    # The first is the recommended one; of the others the largest is the last.
    scales = [scale(n) for n in range(1, 5)]
    assert scales == sorted(scales)
    assert scales[-1] > 1.4 * scales[0]
    assert panel.saved("looks")["size"] == "size"


def test_a_third_objective_is_shown_as_colour_and_an_option_too(page: Page):
    rows = [
        make_row(n, latency=1.0 + n, size=float(n), choices={"runtime": "ab"[n % 2]})
        for n in range(10)
    ]
    panel = show_panel(page, rows)

    def tone(number: int) -> str:
        script = "(node) => getComputedStyle(node).color"
        return str(mark(panel, number).locator(".ao-shape").evaluate(script))

    assert tone(1) == tone(3) == tone(5) != tone(2) == tone(4)
    panel.root.get_by_label("Colour").select_option("value:size")
    panel.settle()
    assert len({tone(n) for n in (0, 2, 4, 6, 8)}) == 5
    expect(panel.root.locator(".ao-legend")).to_contain_text("9.00 MB")
    assert panel.saved("looks")["colour"] == "value:size"


def test_any_two_objectives_and_the_trial_go_on_the_axes(page: Page):
    panel = show_panel(page, ROWS)
    names = [o["name"] for o in OBJECTIVES]
    for across, up in itertools.permutations([*names, " trial"], 2):
        panel.root.get_by_label("Across").select_option(across)
        panel.root.get_by_label("Up", exact=True).select_option(up)
        titles = panel.root.locator(".ao-chart .ao-title")
        expect(titles.nth(0)).to_contain_text(across.strip())
        expect(titles.nth(1)).to_contain_text(up.strip())
        measured = sum(row["state"] == "ok" for row in ROWS)
        expect(panel.root.locator(".ao-chart")).to_have_attribute("data-points", str(measured))


def test_an_axis_is_linear_or_logarithmic_as_wanted(page: Page):
    rows = [make_row(n, latency=latency) for n, latency in enumerate((1.0, 10.0, 100.0))]
    panel = show_panel(page, rows)

    def middle() -> float:
        """Say where the second of three lies between the two others."""
        panel.settle()
        xs = []
        for number in range(3):
            style = mark(panel, number).get_attribute("style")
            xs.append(float(re.findall(r"translate\(([-\d.]+)px", style)[0]))
        return (xs[1] - xs[0]) / (xs[2] - xs[0])

    scale = panel.root.get_by_label("Horizontal scale")
    scale.select_option("log")
    assert middle() == pytest.approx(0.5, abs=0.01)
    scale.select_option("linear")
    assert middle() == pytest.approx(9 / 99, abs=0.01)
    assert panel.saved("looks")["scaleX"] == "linear"


def test_the_bars_of_a_mark_are_its_interval(page: Page):
    rows = [make_row(n, latency=1.0 + n, accuracy=0.9 + n / 50) for n in range(5)]
    rows[3]["values"]["accuracy"] = [0.96, 0.94, 0.98]
    panel = show_panel(page, rows)
    ticks = page.evaluate(
        """() => [...document.querySelectorAll(".ao-layer-grid .ao-tick")]
          .filter((tick) => tick.getAttribute("text-anchor") === "end")
          .map((tick) => [Number(tick.textContent), Number(tick.getAttribute("y"))])"""
    )
    (low, y_low), (high, y_high) = ticks[0], ticks[-1]
    per_unit = (y_low - y_high) / (high - low)
    path = mark(panel, 3).locator(".ao-bars").get_attribute("d")
    below, above = (float(number) for number in re.findall(r"M0 ([-\d.]+)V([-\d.]+)", path)[0])
    assert below == pytest.approx(0.02 * per_unit, rel=0.02)
    assert above == pytest.approx(-0.02 * per_unit, rel=0.02)


def test_a_bar_ends_in_a_cap_and_where_the_axis_cuts_it_in_an_arrow(page: Page):
    rows = curve([(1.0, 0.95), (2.0, 0.96), (3.0, 0.97), (4.0, 0.98), (5.0, 0.99)])
    rows[2]["values"]["latency"] = [3.0, 2.0, 90.0]
    panel = show_panel(page, rows)
    path = mark(panel, 2).locator(".ao-bars").get_attribute("d")
    style = mark(panel, 2).get_attribute("style")
    floor = panel.root.locator(".ao-floor").get_attribute("d") or ""
    px = float(re.findall(r"translate\(([-\d.]+)px", style)[0])
    right = float(floor.split("H")[1])
    bar, cap, arrow = path.removeprefix("M").split("M")
    low, high = (float(number) for number in bar.split(" 0H"))
    assert low < 0
    assert px + high == pytest.approx(right)
    assert cap == f"{bar.split(' ')[0]} -3L{bar.split(' ')[0]} 3"
    tip = arrow.split("L")[1]
    assert tip == f"{bar.split('H')[1]} 0"
    for end in (arrow.split("L")[0], arrow.split("L")[2]):
        assert float(end.split(" ")[0]) == pytest.approx(high - 4)
    # What was measured to the point has no bar.
    assert mark(panel, 3).locator(".ao-bars").get_attribute("d") == ""


def test_a_log_scale_that_cannot_be_is_refused_where_the_scale_is_named(page: Page):
    panel = show_panel(page, curve([(1.0, 0.95), (2.0, 0.96), (-1.0, 0.97)]))
    across = panel.root.locator(".ao-chart .ao-title").nth(0)
    scale = panel.root.get_by_label("Horizontal scale")
    expect(across).not_to_contain_text("log")
    scale.select_option("log")
    expect(across).to_contain_text("linear: log needs values above 0")
    scale.select_option("linear")
    expect(across).not_to_contain_text("log")
    panel.root.get_by_label("Across").select_option("size")
    scale.select_option("log")
    expect(across).to_contain_text("linear: all values are the same")


def test_importance_is_of_all_and_hypervolume_of_what_passes_and_both_say_so(page: Page):
    panel = show_panel(page, ROWS)
    panel.root.locator(".ao-why summary").click()
    parts = panel.root.locator(".ao-why-part")
    expect(parts.nth(0).locator(".ao-aside")).to_have_text("explained share, ε², of all measured")
    expect(parts.nth(1).locator(".ao-aside")).to_contain_text("under the filter")
    before = [parts.nth(n).locator(".ao-why-body").inner_html() for n in (0, 1)]
    panel.root.get_by_label("latency ≤").fill("4")
    panel.press("Enter")
    after = [parts.nth(n).locator(".ao-why-body").inner_html() for n in (0, 1)]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_knee_is_furthest_from_the_line_between_the_ends(page: Page):
    # Between (1, .9) and (10, 1) the chord; of the inner ones the second bends furthest from it.
    panel = show_panel(
        page, curve([(10.0, 1.0), (1.0, 0.9), (2.0, 0.97), (5.0, 0.99), (8.0, 0.991)])
    )
    panel.root.get_by_label("Horizontal scale").select_option("linear")
    panel.settle()
    assert panel.root.locator("[role=option] .ao-knee").count() == 1
    expect(mark(panel, 2).locator(".ao-knee")).to_have_count(1)


def test_a_message_replaces_what_was_known_of_a_trial_everywhere(page: Page):
    panel = show_panel(page, [make_row(n, latency=1.0 + n) for n in range(6)], selected=4)
    assert numbers_listed(panel) == [0, 1, 2, 3, 4, 5]
    panel.send_rows([make_row(4, latency=0.5, summary="renamed")])
    assert numbers_listed(panel) == [4, 0, 1, 2, 3, 5]
    expect(panel.root.locator(".ao-summary")).to_have_text("renamed")
    expect(panel.root.locator(".ao-advice")).to_contain_text("#4 is the fastest")


def test_a_table_that_was_scrolled_shows_what_a_filter_leaves(page: Page):
    panel = show_panel(page, [make_row(n, latency=1.0 + n) for n in range(400)])
    grid = panel.root.get_by_role("grid")
    grid.evaluate("(node) => { node.scrollTop = 200 * 30; }")
    panel.settle()
    assert 200 in numbers_listed(panel)
    panel.root.get_by_label("latency ≤").fill("9.5")
    panel.press("Enter")
    assert numbers_listed(panel) == list(range(9))
    panel.root.get_by_role("button", name="Clear filter").click()
    grid.evaluate("(node) => { node.scrollTop = 0; }")
    panel.settle()
    panel.send_rows([make_row(400, latency=0.1)])
    assert numbers_listed(panel)[:3] == [400, 0, 1]


# ------------------------------------------------------------------ the front


FRONT_OF = """([code, objectives, columns, filter]) => {
  const plain = code.replace(/export default/, "const left = ");
  const { createTrials, analyse } = new Function(`${plain}\n return { createTrials, analyse };`)();
  const trials = createTrials();
  const fronts = [];
  for (const part of columns) {
    trials.take(part);
    const { members } = analyse(trials, objectives, filter);
    fronts.push(members.map((place) => trials.number[place]).sort((a, b) => a - b));
  }
  return fronts;
}"""


@pytest.mark.parametrize("count", range(1, 6))
def test_the_front_is_what_no_other_dominates_also_as_trials_arrive(page: Page, count: int):
    draw = random.Random(count)
    objectives = [
        {**OBJECTIVES[k % 3], "name": f"o{k}", "direction": ("maximize", "minimize")[k % 2]}
        for k in range(count)
    ]
    # Few different values, so that ties abound; some figures are unknown.
    rows = [
        make_row(n, values={
            o["name"]: [float(draw.randint(0, 6)) if draw.random() > 0.03 else None] * 3
            for o in objectives
        })
        for n in range(150)
    ]  # fmt: skip
    changed = make_row(7, values=rows[8]["values"])
    parts: list[list[Row]] = [rows[:40], rows[40:100], rows[100:], [changed]]
    given = [assets.code(), objectives, [wire_columns(part) for part in parts], parse_filter({})]
    fronts = page.evaluate(FRONT_OF, given)
    known: dict[int, Row] = {}
    for part, front in zip(parts, fronts, strict=True):
        known.update((row["number"], row) for row in part)
        assert front == front_by_hand(list(known.values()), objectives)


def front_by_hand(rows: list[Row], objectives: list[Any]) -> list[int]:
    """Compare all with all; of equal trials the first stays."""

    def costs(row: Row) -> tuple[float, ...]:
        return tuple(
            (row["values"][o["name"]][0] or 0.0) * (1 if o["direction"] == "minimize" else -1)
            for o in objectives
        )

    whole = [
        row for row in rows if all(row["values"][o["name"]][0] is not None for o in objectives)
    ]

    def beats(a: Row, b: Row) -> bool:
        one, other = costs(a), costs(b)
        if one == other:
            return a["number"] < b["number"]
        return all(x <= y for x, y in zip(one, other, strict=True))

    return sorted(b["number"] for b in whole if not any(beats(a, b) for a in whole))


# ------------------------------------------------------------------ advice


def advice(panel: BarePanel) -> str:
    panel.settle()
    return panel.root.locator(".ao-advice").inner_text()


def test_one_more_point_and_what_it_would_cost(page: Page):
    panel = show_panel(page, curve([(10.0, 0.99), (5.0, 0.985), (2.0, 0.975), (1.0, 0.9)]))
    # At most one point is lost: 0.985. One more allows 0.975, two and a half times as fast.
    assert "#1 is the fastest that loses at most 1.0 pt of accuracy: 2.0× and −0.5 pt" in advice(
        panel
    )
    assert "one more point would give #2, which is 2.50× as fast and costs 1.0 pt more" in advice(
        panel
    )


@pytest.mark.parametrize("need", [{"size": [None, 20]}, {"accuracy": [None, 0.995]}])
def test_a_need_that_does_not_bound_the_quality_keeps_the_usual_limit_of_it(
    page: Page, need: dict[str, Any]
):
    rows = curve([(10.0, 0.99), (5.0, 0.985), (0.5, 0.11)])
    panel = show_panel(page, rows, filter=parse_filter({"bounds": need}))
    said = advice(panel)
    assert "#1 is the fastest that keeps " in said
    assert " and loses at most 1.0 pt of accuracy: 2.0× and −0.5 pt against the original" in said
    panel.update(filter=parse_filter({"bounds": {"accuracy": [0.1, None]}}))
    assert "#2 is the fastest that keeps accuracy ≥ 0.1: " in advice(panel)


def test_needs_that_only_a_broken_model_meets_recommend_none_and_say_why(page: Page):
    rows = curve([(10.0, 0.99), (5.0, 0.985), (0.5, 0.11)])
    panel = show_panel(page, rows, filter=parse_filter({"bounds": {"latency": [None, 1]}}))
    assert "No strategy that meets these needs loses at most 1.0 pt of accuracy" in advice(panel)
    assert panel.shown() == 1


def test_where_one_more_point_gains_nothing_the_next_faster_one_is_named(page: Page):
    panel = show_panel(page, curve([(10.0, 0.99), (5.0, 0.985), (1.0, 0.9)]))
    assert "one more point would gain nothing; the next faster one, #2, is 5.00×" in advice(panel)
    assert "costs 8.5 pt more" in advice(panel)
    panel.send_rows([make_row(3, accuracy=0.99, latency=0.5)])
    assert "Nothing measured is faster at any loss." in advice(panel)


def test_what_may_be_as_good_within_the_noise_is_said(page: Page):
    rows = curve([(10.0, 0.99), (5.0, 0.985), (5.2, 0.989), (9.0, 0.9895)])
    rows[1]["values"]["latency"] = [5.0, 4.8, 5.3]
    panel = show_panel(page, rows)
    assert "Within the measurement's noise #2 may be as good in latency." in advice(panel)


def test_a_search_that_has_measured_nothing_says_what_comes_first(page: Page):
    panel = show_panel(page, [])
    assert "The original is measured first" in advice(panel)
    panel.send_status(state="finished")
    panel.settle()
    assert advice(panel).strip() == ""
    expect(panel.root.locator(".ao-chart .ao-empty")).to_have_text("No strategy has been measured")


def test_where_everything_failed_the_panel_says_so_and_where_the_causes_are(page: Page):
    panel = show_panel(page, [failed_row(0), failed_row(1)])
    assert "Every candidate so far failed" in advice(panel)
    expect(panel.root.locator(".ao-nothing")).to_have_text("Nothing was measured yet.")
    panel.root.locator(".ao-why summary").click()
    expect(panel.root.locator(".ao-failed-row")).to_have_count(2)
    panel.send_rows([make_row(2)])
    panel.root.get_by_label("latency ≤").fill("1")
    panel.press("Enter")
    expect(panel.root.locator(".ao-nothing")).to_have_text("Nothing passes the filter.")


def test_a_lost_search_counts_no_trials_rather_than_none(page: Page):
    panel = show_panel(page, [])
    panel.send_status(state="failed", message="the log cannot be read")
    expect(panel.root.locator(".ao-line")).not_to_contain_text("0 trials")
    expect(panel.root.locator(".ao-status-message")).to_have_text("the log cannot be read")
    panel.send_rows([make_row(0), make_row(1)])
    expect(panel.root.locator(".ao-line")).to_contain_text("2 trials")


def test_what_is_being_done_stands_in_the_first_line_and_moves_nothing(page: Page):
    panel = show_panel(page, ROWS)
    before = panel.root.locator(".ao-chart").bounding_box()
    panel.send_status(trials=60, message="training number 61, " + "very " * 100 + "long")
    expect(panel.root.locator(".ao-doing")).to_contain_text("training number 61")
    assert panel.root.locator(".ao-chart").bounding_box() == before
    expect(panel.root.locator(".ao-status-message")).to_be_hidden()


# ------------------------------------------------------------------ taking along


def test_recipe_and_log_are_copied(page: Page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    note = {"stage": "build", "kind": "error", "message": "no", "log": "line 1\nline 2"}
    panel = show_panel(page, [*ROWS[:4], failed_row(4, failure=note)], selected=3)
    written = page.evaluate(
        """() => {
          const texts = [];
          Object.defineProperty(navigator, "clipboard", {
            value: { writeText: async (text) => texts.push(text) } });
          return (window.copied = texts);
        }"""
    )
    assert written == []
    panel.root.get_by_role("button", name="Copy YAML").click()
    expect(panel.root.locator(".ao-copied").first).to_have_text("copied")
    panel.update(selected=4)
    panel.root.get_by_role("button", name="Copy Log").click()
    yaml, log = page.evaluate("copied")
    assert "option: static_int8" in yaml
    assert log == "line 1\nline 2"


def test_names_of_slots_settings_and_options_are_text_everywhere(page: Page):
    choices = {
        f"slot {HOSTILE}": f"option {HOSTILE}",
        f"slot {HOSTILE}.layer {HOSTILE}": f"value {HOSTILE}",
        "runtime": HOSTILE,
    }
    pair = [{**choices, "k": str(n)} for n in (1, 2)]
    rows = [
        make_row(0, role="original"),
        *(make_row(n, latency=n, choices=pair[n - 1], summary=HOSTILE) for n in (1, 2)),
        failed_row(3, choices=choices, failure={
            "stage": HOSTILE, "kind": HOSTILE, "message": HOSTILE, "log": f"at {HOSTILE}"
        }),
    ]  # fmt: skip
    panel = show_panel(page, rows, selected=1, looks={"pins": [1, 0]}, notes=[f"not {HOSTILE}"])
    panel.send_status(message=HOSTILE, best=HOSTILE)
    panel.root.locator(".ao-why summary").click()
    for number in (0, 1, 3):
        panel.update(selected=number)
        panel.settle()
        assert panel.root.locator("img").count() == 0
    panel.send_status(state="failed", message=HOSTILE)
    expect(panel.root.locator(".ao-status-message")).to_have_text(HOSTILE)
    assert panel.root.locator("img").count() == 0


# ------------------------------------------------------------------ alive


def test_the_live_region_speaks_again_after_ten_seconds_and_says_what_holds_then(page: Page):
    page.clock.install()
    panel = show_panel(page, ROWS)
    page.evaluate(
        """() => {
          window.spoken = [];
          const voice = document.querySelector(".ao-voice");
          const line = document.querySelector(".ao-line");
          const hear = () => spoken.push([performance.now(), voice.textContent, line.textContent]);
          new MutationObserver(hear).observe(voice, { childList: true, subtree: true });
        }"""
    )
    for trials in range(61, 96):
        panel.send_status(trials=trials)
        page.clock.run_for(1_000)
    spoken = page.evaluate("spoken")
    assert 3 <= len(spoken) <= 5
    assert all(b[0] - a[0] >= 9_990 for a, b in itertools.pairwise(spoken))
    for _, said, line in spoken:
        (told,) = re.findall(r"(\d+) trials", said)
        assert f"{told} trials" in line


def test_nothing_moves_unless_something_new_has_come(page: Page):
    panel = show_panel(page, ROWS)
    panel.send_status(trials=60, seconds_left=100.0, seconds_elapsed=5.0)
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    page.wait_for_timeout(1_500)
    assert page.evaluate(moving) == 0
    panel.send_rows([make_row(90)])
    panel.settle()
    assert page.evaluate(moving) > 0
    page.wait_for_timeout(1_500)
    assert page.evaluate(moving) == 0


def test_what_only_looks_draws_no_point_again(page: Page):
    panel = show_panel(page, example_rows(1000))
    page.evaluate(
        """() => {
          window.painted = 0;
          const { putImageData } = CanvasRenderingContext2D.prototype;
          CanvasRenderingContext2D.prototype.putImageData = function (...given) {
            window.painted += 1;
            return putImageData.apply(this, given);
          };
        }"""
    )
    panel.root.locator(".ao-canvas").hover(position={"x": 300, "y": 150})
    panel.update(selected=3)
    panel.root.get_by_role("button", name="Choose #3").click()
    panel.answer("choose")
    panel.send_status(trials=1000)
    panel.settle()
    assert page.evaluate("painted") == 0
    panel.root.get_by_label("latency ≤").fill("4")
    panel.press("Enter")
    assert page.evaluate("painted") == 1


# ------------------------------------------------------------------ accessibility


STATES: dict[str, tuple[list[Row], dict[str, Any]]] = {
    "nothing measured": ([], {}),
    "all failed": ([failed_row(0), failed_row(1)], {"selected": 0}),
    "a failure looked at": (ROWS, {"selected": 9}),
    "zoomed, by size and colour": (ROWS, {"looks": {
        "size": "size", "colour": "value:size",
        "zoom": {"x": "latency", "y": "accuracy", "ends": [[1, 4], [0.98, 1]]},
    }}),
    "nothing passes": (ROWS, {"filter": parse_filter({"text": "no such name"})}),
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_where_less_is_shown(
    page: Page, axe: Callable[[Page], list[str]], state: str, theme: str
):
    rows, changes = STATES[state]
    panel = show_panel(page, rows, theme=theme, **changes)
    panel.root.locator(".ao-why summary").click()
    panel.settle()
    assert axe(page) == []
    page.evaluate("kernelSays('dead')")
    panel.settle()
    assert axe(page) == []


# ------------------------------------------------------------------ colours


CONTRAST = """() => {
  const root = document.querySelector(".autoopt-panel");
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (colour, under) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const one of [under, colour].filter(Boolean)) {
      canvas.fillStyle = one;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const probe = root.appendChild(document.createElement("i"));
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const surface = colour("--ao-surface");
  const numbered = (letter, count) => Array.from({ length: count }, (_, k) => letter + k);
  const names = ["text", "soft", "accent", "star", "good", "bad", "edge",
    ...numbered("c", 8), ...numbered("r", 5)];
  return Object.fromEntries(names.map((name) => {
    const pair = [painted(colour(`--ao-${name}`), surface), painted(surface)].map(light);
    const [most, least] = pair.sort((x, y) => y - x);
    return [name, (most + 0.05) / (least + 0.05)];
  }));
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_its_ground(page: Page, theme: str):
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for what is drawn; axe looks at no picture."""
    show_panel(page, ROWS, theme=theme)
    ratios = page.evaluate(CONTRAST)
    written = {name: ratios[name] for name in ("text", "soft", "accent", "star", "good", "bad")}
    assert min(written.values()) >= 4.5, written
    drawn = {name: ratio for name, ratio in ratios.items() if name not in written}
    assert min(drawn.values()) >= 3, drawn
