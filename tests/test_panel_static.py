import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoopt.errors import UnknownNameError
from autoopt.panel.axes import fit_axis
from autoopt.panel.messages import Objective, Status, starting_status
from autoopt.panel.points import Point, spread
from autoopt.panel.static import front_html, front_svg, front_text
from tests.panel_rows import HOSTILE, OBJECTIVES, failed_row, make_row, trading_off

STATUS = starting_status()


def svg(rows, x="latency", y="accuracy"):
    return ET.fromstring(front_svg(rows, OBJECTIVES, x=x, y=y))


def words(root):
    return " ".join(root.itertext())


def marks(root):
    return [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("opacity")]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [make_row(0)],
        [failed_row(0), failed_row(1)],
        [make_row(0, accuracy=math.nan), make_row(1, latency=math.inf)],
        [make_row(0), make_row(1)],
        [make_row(0, latency=0.0), make_row(1, latency=-3.0), make_row(2, latency=1e300)],
        [make_row(0, accuracy=1.0), make_row(1, accuracy=1.0 + 1e-15)],
    ],
    ids=["none", "one", "all failed", "not finite", "identical", "odd", "nearly equal"],
)
def test_odd_sets_of_rows_are_drawn(rows):
    root = svg(rows)
    assert "latency, ms" in words(root)
    assert not re.search(r"[\"M ](nan|inf)", front_svg(rows, OBJECTIVES, x="latency", y="accuracy"))
    assert "nan" not in front_html(rows, OBJECTIVES, STATUS).lower()
    assert front_text(rows, OBJECTIVES, STATUS).startswith("Starting")


def test_without_rows_the_scatter_says_so():
    assert "No strategy has been measured yet" in words(svg([]))


def test_every_measured_row_has_one_mark_and_the_last_row_of_a_number_counts():
    root = svg([make_row(0), make_row(1), failed_row(2), make_row(1, summary="newer")])
    assert len(marks(root)) == 2
    assert "newer" in words(root)
    assert "strategy 1" not in words(root)


def test_dominated_rows_are_faded_and_the_front_is_not():
    root = svg([make_row(0, front=True), make_row(1, front=False)])
    assert sorted(float(mark.get("opacity", "")) for mark in marks(root)) == [0.3, 1.0]


def test_the_latency_axis_is_logarithmic_when_it_spans_more_than_eight_times():
    def ticks(last):
        root = svg([make_row(0, latency=1.0), make_row(1, latency=last)])
        middle = [
            t
            for t in root.iter("{http://www.w3.org/2000/svg}text")
            if t.text and t.get("y") == "392"
        ]
        return [float(t.text) for t in middle]

    linear, logarithmic = ticks(7.9), ticks(100.0)
    steps = [b - a for a, b in pairwise(linear)]
    assert max(steps) == pytest.approx(min(steps))
    assert logarithmic == [1, 3, 10, 30, 100]


def test_an_accuracy_far_below_the_front_does_not_squeeze_it():
    rows = [
        make_row(0, accuracy=0.99),
        make_row(1, accuracy=0.97),
        make_row(2, accuracy=0.1, front=False),
    ]
    text = words(svg(rows))
    assert "1 beyond the axes" in text
    assert "0.980" in text


def test_the_original_and_the_recommended_strategy_are_named():
    text = words(svg([make_row(0, role="original"), make_row(7, recommended=True, speedup=8.4)]))
    assert "#7 · 8.4×" in text
    assert "original" in text


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="known: accuracy, latency, size"):
        front_svg([], OBJECTIVES, x="energy", y="accuracy")


def test_names_are_escaped_everywhere():
    objectives: list[Objective] = [{**o, "label": HOSTILE, "unit": HOSTILE} for o in OBJECTIVES]
    failure = {"stage": HOSTILE, "kind": HOSTILE, "message": HOSTILE}
    rows = [
        make_row(0, summary=HOSTILE, recommended=True),
        failed_row(1, summary=HOSTILE, failure=failure),
    ]
    status: Status = {**STATUS, "best": HOSTILE, "message": HOSTILE}
    tags = Tags(front_html(rows, objectives, status)).found
    assert "img" not in tags
    assert "script" not in tags
    ET.fromstring(front_svg(rows, objectives, x="latency", y="accuracy"))


def test_the_table_holds_the_front_and_the_original_with_values_and_intervals():
    rows = [
        make_row(0, role="original", front=False, latency=15.2),
        make_row(1, latency=1.79),
        make_row(2, front=False),
    ]
    table = front_html(rows, OBJECTIVES, STATUS).split("<table>")[1]
    assert "strategy 0" in table
    assert "1.79<small>1.61 – 1.97</small>" in table
    assert "strategy 2" not in table


def test_one_objective_gives_a_table_and_no_scatter():
    html = front_html([make_row(0)], OBJECTIVES[:1], STATUS)
    assert "<table>" in html
    assert "<svg" not in html


def test_failures_are_listed_with_stage_kind_and_message():
    assert "out_of_memory in build: no memory left" in front_html(
        [failed_row(3)], OBJECTIVES, STATUS
    )


def test_the_static_twin_imports_neither_widgets_nor_torch():
    code = (
        "import sys, autoopt.panel.static; "
        "print([m for m in ('anywidget', 'ipywidgets', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=8))
def test_any_values_give_well_formed_svg(pairs):
    rows = [make_row(n, accuracy=a, latency=b) for n, (a, b) in enumerate(pairs)]
    assert svg(rows).tag.endswith("svg")


@given(st.floats(min_value=-1e99, max_value=1e99), st.floats(min_value=-1e99, max_value=1e99))
@example(0.0, 5e-324)
@example(1e-320, 1e-320)
def test_an_axis_has_a_handful_of_ticks_between_its_ends(a, b):
    for log in (False, True):
        axis = fit_axis([a, b], log=log)
        assert axis.low < axis.high
        assert len(axis.ticks) < 12
        assert list(axis.ticks) == sorted(axis.ticks)
        assert 0.0 <= axis.position(a) <= 1.0


def test_a_front_of_thousands_is_cut_to_what_can_be_read_and_sent():
    rows = trading_off(5000)
    rows[17]["role"] = "original"
    rows[4321]["recommended"] = True
    html = front_html(rows, OBJECTIVES, STATUS)
    table = html.split("<table>")[1]
    assert table.count("<tr") == 101
    assert "… and 4900 more" in table
    assert "recommended" in table
    assert "original" in table
    assert len(marks(svg(rows))) == 600
    assert "600 of 5000 are drawn" in words(svg(rows))
    assert "#4321" in words(svg(rows))
    assert len(html) < 400_000


def test_thousands_behind_the_front_are_thinned_and_the_front_is_not():
    rows = [make_row(n, latency=2 + n / 100, front=n < 50) for n in range(5000)]
    root = svg(rows)
    assert len(marks(root)) == 50
    faded = [path for path in root.iter() if path.get("stroke-width") == "6"]
    assert faded[0].get("d", "").count("M") == 600
    assert "650 of 5000 are drawn" in words(root)


def test_a_front_that_fits_is_shown_whole():
    rows = trading_off(100)
    html = front_html(rows, OBJECTIVES, STATUS)
    assert html.count("<tr") == 101
    assert "more</p>" not in html
    assert "are drawn" not in html


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 40))
def test_what_is_left_of_many_is_in_order_and_spans_them(named, most):
    items = list(enumerate(named))
    left = spread(items, most, keep=lambda item: item[1])
    kept = [item for item in items if item[1]]
    assert left == sorted(set(left))
    assert set(kept) <= set(left)
    assert len(left) == max(len(kept), min(most, len(items)))
    others = [item for item in items if not item[1]]
    if len(others) >= most - len(kept) >= 2:
        assert {others[0], others[-1]} <= set(left)


def test_the_axes_of_thousands_are_fitted_without_comparing_each_with_each(monkeypatch):
    def compared(_one, _other):
        raise AssertionError("points were compared")

    monkeypatch.setattr(Point, "__eq__", compared)
    front_svg(
        [make_row(0, front=True), make_row(1, front=False)], OBJECTIVES, x="latency", y="size"
    )
