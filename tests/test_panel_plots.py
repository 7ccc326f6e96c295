from __future__ import annotations

from importlib.util import find_spec

import pytest

from autoopt.errors import PlotError, UnknownNameError
from autoopt.panel import plots
from autoopt.panel.insight import explained_share, hypervolume_steps
from autoopt.panel.messages import Objective, Row
from autoopt.panel.plots.frames import parallel_axes
from tests.panel_rows import HOSTILE, OBJECTIVES, example_rows, failed_row, make_row

ACCURACY, LATENCY, SIZE = OBJECTIVES
ROWS = example_rows(40)
ODD: dict[str, list[Row]] = {
    "none": [],
    "one": [make_row(0, role="original")],
    "all failed": [failed_row(0), failed_row(1)],
    "identical": [make_row(0), make_row(1)],
    "not finite": [make_row(0, accuracy=float("nan")), make_row(1, latency=float("inf"))],
    "hostile": [make_row(0, summary=HOSTILE, choices={HOSTILE: HOSTILE}), make_row(1)],
}


@pytest.fixture(params=plots.LIBRARIES)
def library(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.mark.parametrize("kind", plots.KINDS)
@pytest.mark.parametrize("name", ODD)
def test_every_library_draws_every_kind_of_odd_rows(library, kind, name, tmp_path):
    figure = plots.plot(kind, ODD[name], OBJECTIVES, library=library)
    if library == "matplotlib":
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1000
    else:
        assert figure.to_json()


@pytest.mark.parametrize("kind", plots.KINDS)
def test_one_objective_is_drawn_too(library, kind):
    assert plots.plot(kind, ROWS, OBJECTIVES[:1], library=library) is not None


def test_the_front_bears_the_names_of_the_objectives_asked_for():
    pytest.importorskip("matplotlib")
    figure = plots.plot("front", ROWS, OBJECTIVES, library="matplotlib", x="size", y="latency")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("size, MB", "latency, ms")
    assert axes.get_yscale() == "log"


def test_no_figure_stays_open_to_be_shown_twice():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    plots.plot("history", ROWS, OBJECTIVES, library="matplotlib")
    assert pyplot.get_fignums() == before


def test_an_unknown_objective_or_library_is_refused_with_the_known_ones(library):
    with pytest.raises(UnknownNameError, match="known: accuracy, latency, size"):
        plots.plot("front", ROWS, OBJECTIVES, library=library, x="energy")
    with pytest.raises(UnknownNameError, match="known: matplotlib, plotly"):
        plots.plot("front", ROWS, OBJECTIVES, library="ggplot")


def test_without_a_library_the_error_holds_the_command(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(PlotError, match=r'pip install "autoopt\[plots\]"'):
        plots.plot("front", ROWS, OBJECTIVES)
    with pytest.raises(PlotError, match="pip install plotly"):
        plots.plot("front", ROWS, OBJECTIVES, library="plotly")


def test_the_first_installed_library_is_the_default(monkeypatch):
    pytest.importorskip("plotly")
    monkeypatch.setattr(
        plots, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name)
    )
    assert type(plots.plot("front", ROWS, OBJECTIVES)).__module__.startswith("plotly")


# ------------------------------------------------------------------ insight


def varied(*pairs: tuple[float, str]) -> list[Row]:
    return [
        make_row(n, accuracy=accuracy, choices={"runtime": runtime})
        for n, (accuracy, runtime) in enumerate(pairs)
    ]


def test_a_choice_that_decides_explains_everything():
    rows = varied((0.9, "a"), (0.9, "a"), (0.7, "b"), (0.7, "b"))
    assert explained_share(rows, "runtime", ACCURACY) == pytest.approx(1.0)


def test_epsilon_squared_as_by_hand():
    # Within: 2 of 0.01² around each mean; total: around 0.8. n = 4, k = 2.
    rows = varied((0.91, "a"), (0.89, "a"), (0.71, "b"), (0.69, "b"))
    within, total = 4 * 0.01**2, 2 * (0.11**2 + 0.09**2)
    by_hand = 1 - (within / 2) / (total / 3)
    assert explained_share(rows, "runtime", ACCURACY) == pytest.approx(by_hand)


def test_what_cannot_be_said_is_none_and_what_was_not_varied_is_zero():
    assert explained_share(varied((0.9, "a"), (0.7, "a")), "runtime", ACCURACY) == 0
    assert explained_share(varied((0.9, "a"), (0.7, "b")), "runtime", ACCURACY) is None
    assert explained_share(varied(*[(0.9, "a"), (0.9, "b")] * 3), "runtime", ACCURACY) is None


def test_another_setting_is_another_group():
    rows = [
        make_row(n, accuracy=0.5 + keep, choices={"pruning": "magnitude", "pruning.keep": keep})
        for n, keep in enumerate([0.25, 0.25, 0.5, 0.5])
    ]
    assert explained_share(rows, "pruning", ACCURACY) == pytest.approx(1.0)


def test_the_hypervolume_grows_to_what_moocore_says():
    import math

    from moocore import hypervolume

    steps = hypervolume_steps(ROWS, LATENCY, ACCURACY)
    volumes = [volume for _, volume in steps]
    assert volumes == sorted(volumes)
    measured = [row for row in ROWS if row["state"] == "ok"]
    cost = [math.log(row["values"]["latency"][0] or 1) for row in measured]
    loss = [-(row["values"]["accuracy"][0] or 0) for row in measured]
    scaled = [[(v - min(c)) / (max(c) - min(c)) for v in c] for c in (cost, loss)]
    points = [list(pair) for pair in zip(*scaled, strict=True)]
    assert volumes[-1] == pytest.approx(hypervolume(points, ref=[1.0, 1.0]))


def plotly_lines(figure):
    (trace,) = figure.data
    return {dimension.label: list(dimension.values) for dimension in trace.dimensions}


def test_plotly_leaves_out_trials_that_lack_an_objective_and_says_how_many():
    pytest.importorskip("plotly")
    values: dict[str, list[float | None]] = {"latency": [3.0, 3.0, 3.0], "size": [1.0, 1.0, 1.0]}
    rows = [
        make_row(0, accuracy=0.9, latency=1.0),
        make_row(1, accuracy=float("nan")),
        make_row(2, values={"accuracy": [None, None, None], **values}, front=False),
        make_row(3, accuracy=0.8, latency=2.0, front=False),
    ]
    figure = plots.plot("parallel", rows, OBJECTIVES, library="plotly")
    lines = plotly_lines(figure)
    assert (lines["accuracy"], lines["latency, ms"]) == ([0.9, 0.8], [1.0, 2.0])
    assert list(figure.data[0].line.color) == [1.0, 0.0]
    words = "without 2 of 4 trials that lack the value of an objective"
    assert figure.layout.title.text == words
    assert plots.plot("parallel", rows[::3], OBJECTIVES, library="plotly").layout.title.text is None


def test_plotly_names_an_objective_that_is_not_known_of_any_trial():
    pytest.importorskip("plotly")
    rows = [make_row(n, accuracy=float("nan"), latency=1.0 + n) for n in range(2)]
    figure = plots.plot("parallel", rows, OBJECTIVES, library="plotly")
    assert plotly_lines(figure) == {"latency, ms": [1.0, 2.0], "size, MB": [1.0, 1.0]}
    assert figure.layout.title.text == "accuracy is not known of any trial"


def test_plotly_says_on_the_axis_that_a_setting_may_be_absent():
    pytest.importorskip("plotly")
    rows = [
        make_row(0, choices={"pruning": "none"}),
        make_row(1, choices={"pruning": "magnitude", "pruning.keep": 0.5}),
        make_row(2, choices={"pruning": "magnitude", "pruning.keep": 0.25}),
    ]
    figure = plots.plot("parallel", rows, OBJECTIVES, library="plotly")
    assert plotly_lines(figure)["pruning · keep (absent: no such setting)"] == [-1.0, 1.0, 0.0]
    assert "pruning" in plotly_lines(figure)


def test_parallel_axes_leave_out_what_never_varied_and_keep_absence():
    rows = [
        make_row(0, choices={"student": "none", "pruning": "none"}),
        make_row(1, choices={"student": "none", "pruning": "magnitude", "pruning.keep": 0.5}),
        make_row(2, choices={"student": "none", "pruning": "magnitude", "pruning.keep": 0.25}),
    ]
    objectives: list[Objective] = [ACCURACY]
    pruning, keep, accuracy = parallel_axes(rows, objectives)
    assert pruning.levels == ("none", "magnitude")
    assert keep.places == (None, 1.0, 0.0)
    assert accuracy.levels == ()
