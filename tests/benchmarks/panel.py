"""How quick and how small the panel is in a real JupyterLab, and beside it plotly's widget.

All times are of one Chromium and one kernel on this machine, so the panel and its peer stand side
by side. Rendering counts from the key that runs the cell to the frame that shows all points;
appending from the call in the kernel to the beginning of the frame after the one that draws the new
point; hover and filter from the event to the first task after the next frame, which has been laid
out and painted by then. A browser draws sixty times a second, so part of these times is waiting: up
to a frame (16.7 ms) for the next one to begin, and in appending the whole of another; a hover that
draws next to nothing shows how much that is. Of the 5,000 trials some hundred are on the front, and
some failed, as in every search, with all that a panel takes of their logs; `filter_ms_5000_front`
is of as many trials that are all on the front. Appending begins with a row that is made;
`feed_ms_5000` is what comes before it in the kernel of a search that runs: processor time from a
new record in the log of 5,000 to its row in the panel, all others looked through for what the
record changes of them. Sizes are what arrives over the page's websockets
until then. The peer is `optuna.visualization.plot_pareto_front` as a `FigureWidget`, of the same
trials; without plotly its figures are left out, and that is said.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

import nbformat
from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

from autoopt.controller.job import LOG
from autoopt.handle.handle import Search
from autoopt.handle.live import _Feed
from autoopt.log import Log
from autoopt.measurement import Measurement, Stat
from autoopt.panel import Panel
from autoopt.panel.messages import Row
from autoopt.record import Failure, Record, Role
from tests.browser.lab import CHROMIUM_FLAGS, Lab, LabNotebook, chromium_path, running_lab, watch
from tests.panel_rows import OBJECTIVES, wide_rows
from tests.record_builds import ORIGINAL, SMALL, settings

FEW: Final = 50
MANY: Final = 5000
REPEATS: Final = 15

ROWS = """
import time
from tests.panel_rows import OBJECTIVES, example_rows, make_row
from autoopt.panel import Panel
rows = [row for row in example_rows({count} + {count} // 16 + 9) if row["state"] == "ok"][:{count}]
"""
MANY_ROWS = f"""
import time
from tests.panel_rows import OBJECTIVES, make_row, wide_rows, with_long_logs
from autoopt.panel import Panel
rows = with_long_logs(wide_rows({MANY}))
"""
FRONT_ROWS = f"""
from tests.panel_rows import OBJECTIVES, trading_off
from autoopt.panel import Panel
rows = trading_off({MANY})
"""
MEASURED = "rows = [row for row in rows if row['state'] == 'ok']"
PANEL = "panel = Panel(OBJECTIVES)\npanel.update(rows)\npanel.show()"
PANEL_APPEND = """
for n in range({repeats}):
    time.sleep(0.7)
    row = make_row(100_000 + n, latency=3.0 + n / 100, accuracy=0.97)
    begin = time.time()
    panel.update([row])
    print(begin)
"""
STUDY = """
import optuna
import plotly.graph_objects as go
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(directions=["minimize", "maximize"])
study.add_trials([
    optuna.trial.create_trial(values=[row["values"][name][0] for name in ("latency", "accuracy")])
    for row in rows
])
"""
PEER = "figure = go.FigureWidget(optuna.visualization.plot_pareto_front(study))\nfigure"
PEER_APPEND = """
trace = max(figure.data, key=lambda trace: len(trace.x))
for n in range({repeats}):
    time.sleep(1.5)
    begin = time.time()
    with figure.batch_update():
        trace.x, trace.y = (*trace.x, 3.0 + n / 100), (*trace.y, 0.97)
    print(begin)
"""

# Every frame until the condition holds; a frame more, so that it has been painted.
UNTIL = """(condition) => new Promise((done) => {
  const holds = new Function(`return ${condition}`);
  const look = () => (holds() ? requestAnimationFrame(() => done(performance.now() - window.begun))
                              : requestAnimationFrame(look));
  look();
})"""
SHOWS_PANEL = "document.querySelector('.ao-chart')?.dataset.points === '%d'"
SHOWS_PEER = "document.querySelector('.js-plotly-plot .scatterlayer .points path') !== null"
LISTEN = """addEventListener('keydown', (event) => {
  if (event.key === 'Enter') window.begun = performance.now();
}, true)"""
# The time of each new state of what is shown, on the clock of the kernel.
WATCH_PANEL = """window.seen = []; new MutationObserver(() => requestAnimationFrame(() =>
  seen.push(Date.now() / 1000))).observe(document.querySelector('.ao-chart'),
  { attributes: true, attributeFilter: ['data-points'] })"""
WATCH_PEER = """window.seen = []; document.querySelector('.js-plotly-plot').on(
  'plotly_afterplot', () => seen.push(Date.now() / 1000))"""
FRAMES = """async ([act, repeats]) => {
  const once = new Function("index", act);
  const times = [];
  for (let index = 0; index < repeats; index += 1) {
    const begin = performance.now();
    once(index);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done, 150));
  }
  return times;
}"""
HOVER = """const picture = document.querySelector('.ao-canvas');
const { left, top, width, height } = picture.getBoundingClientRect();
picture.dispatchEvent(new PointerEvent('pointermove', { bubbles: true,
  clientX: left + width * (0.2 + 0.04 * index), clientY: top + height * (0.3 + 0.02 * index) }))"""
FILTER = """const field = document.querySelectorAll('.ao-need input')[1];
field.value = String({latency}); field.dispatchEvent(new Event('change'))"""


@dataclass
class Opened:
    """A notebook in a page that counts what arrives over its websockets."""

    notebook: LabNotebook
    received: list[int]

    def render(self, cell: int, condition: str) -> tuple[float, float]:
        """Run a cell; return seconds until the condition holds, and kilobytes until then."""
        page = self.notebook.page
        before = sum(self.received)
        self.notebook.run(cell)
        milliseconds: float = page.evaluate(UNTIL, condition)
        return milliseconds / 1000, (sum(self.received) - before) / 1000

    def append(self, cell: int, watch_script: str) -> float:
        """Run a cell that adds points one by one; return the median milliseconds of one."""
        page = self.notebook.page
        page.evaluate(f"() => {{ {watch_script} }}")
        self.notebook.run(cell)
        deadline = time.monotonic() + 120
        while self.notebook.runs(cell) and time.monotonic() < deadline:
            page.wait_for_timeout(200)
        page.wait_for_timeout(1500)
        seen: list[float] = page.evaluate("seen")
        begun = [float(line) for line in self.notebook.output(cell).inner_text().split()]
        waits = [min((t - begin for t in seen if t >= begin), default=60.0) for begin in begun]
        return 1000 * median(waits)


def run() -> dict[str, float]:
    """Measure the panel, and its peer if that is installed."""
    with tempfile.TemporaryDirectory() as scratch, _machinery(Path(scratch)) as (lab, browser):
        figures = {**_few(lab, browser), **_many(lab, browser), **_front(lab, browser)}
        figures["feed_ms_5000"] = _feed(Path(scratch) / "search")
        figures["notebook_mb_5000"] = _notebook_mb(Path(scratch))
        if find_spec("plotly") is None:
            print("plotly is not installed: the peer's figures are left out", file=sys.stderr)
        else:
            figures.update(_peer(lab, browser))
    return figures


def _few(lab: Lab, browser: Browser) -> dict[str, float]:
    with _opened(lab, browser, [ROWS.format(count=FEW), PANEL]) as opened:
        seconds, kilobytes = opened.render(1, SHOWS_PANEL % FEW)
    return {"first_render_s": seconds, "first_kb": kilobytes}


def _many(lab: Lab, browser: Browser) -> dict[str, float]:
    cells = [MANY_ROWS, PANEL, PANEL_APPEND.format(repeats=REPEATS)]
    measured = sum(row["state"] == "ok" for row in wide_rows(MANY))
    with _opened(lab, browser, cells) as opened:
        seconds, _ = opened.render(1, SHOWS_PANEL % measured)
        page = opened.notebook.page
        page.wait_for_timeout(1500)
        return {
            "render_s_5000": seconds,
            "append_ms_5000": opened.append(2, WATCH_PANEL),
            "hover_ms_5000": median(page.evaluate(FRAMES, [HOVER, REPEATS])),
            "filter_ms_5000": _filter(page, "8 - index / 4"),
        }


def _front(lab: Lab, browser: Browser) -> dict[str, float]:
    """Measure where no trial dominates another, so that the front is all there is."""
    with _opened(lab, browser, [FRONT_ROWS, PANEL]) as opened:
        opened.render(1, SHOWS_PANEL % MANY)
        opened.notebook.page.wait_for_timeout(1500)
        return {"filter_ms_5000_front": _filter(opened.notebook.page, "1.9 - index / 20")}


def _feed(folder: Path) -> float:
    """Return the processor's milliseconds from a new record in a search's log to the panel."""
    folder.mkdir()
    log, draw = Log(folder / LOG, create=True), random.Random(0)
    opened = {"launched": time.time(), "pid": 1, "resumed": False, "study": ""}
    log.append("opened", {**opened, "settings": settings().to_dict()})
    records = [_record(row, draw).to_dict() for row in wide_rows(MANY + REPEATS)]
    # One by one each would wait for the disk.
    with log._connection() as connection:
        connection.executemany(
            "INSERT INTO events (time, kind, payload) VALUES (?, ?, ?)",
            [(time.time(), "record", json.dumps(record)) for record in records[:MANY]],
        )
    panel, times = Panel(), []
    feed = _Feed(Search(folder, None), panel)
    feed.step()
    for record in records[MANY:]:
        log.append("record", record)
        begin = time.process_time()
        feed.step()
        times.append(time.process_time() - begin)
    if len(panel.rows) != MANY + REPEATS:
        raise RuntimeError(f"the panel must know all {MANY + REPEATS} trials: {len(panel.rows)}")
    panel.close()
    return 1000 * median(times)


def _record(row: Row, draw: random.Random) -> Record:
    """Return a trial as a search would have logged it, timed beside an original that varies."""
    recipe = SMALL if row["number"] else ORIGINAL
    role: Role = "original" if row["role"] == "original" else "search"
    if row["failure"]:
        note = row["failure"]
        failure = Failure("artifact", "error", note["message"], note["log"])
        return Record(row["number"], recipe, role, failure)
    units = {objective["name"]: objective["unit"] for objective in OBJECTIVES}
    stats = {}
    for name, (value, low, high) in row["values"].items():
        if value is not None and low is not None and high is not None:
            stats[name] = Stat(value, low, high, 30, units[name])
    measurement = Measurement(stats, reference_ms=15.2 * draw.gauss(1.0, 0.02))
    return Record(row["number"], recipe, role, measurement)


def _filter(page: Page, latency: str) -> float:
    return float(median(page.evaluate(FRAMES, [FILTER.format(latency=latency), REPEATS])))


def _peer(lab: Lab, browser: Browser) -> dict[str, float]:
    with _opened(lab, browser, [ROWS.format(count=FEW) + STUDY, PEER]) as opened:
        seconds, kilobytes = opened.render(1, SHOWS_PEER)
    cells = [MANY_ROWS + MEASURED + STUDY, PEER, PEER_APPEND.format(repeats=REPEATS // 2)]
    with _opened(lab, browser, cells) as opened:
        opened.render(1, SHOWS_PEER)
        opened.notebook.page.wait_for_timeout(3000)
        append = opened.append(2, WATCH_PEER)
    return {
        "peer_first_render_s": seconds,
        "peer_first_kb": kilobytes,
        "peer_append_ms_5000": append,
    }


def _notebook_mb(folder: Path) -> float:
    """Run a notebook that shows 5,000 trials and return what it is as a file, state included."""
    from nbclient import NotebookClient

    cells = [MANY_ROWS, PANEL + "\npanel.settle()"]
    code = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[code(cell) for cell in cells])  # type: ignore[no-untyped-call]  # nbformat has no annotations
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    if not notebook.metadata.get("widgets"):
        raise RuntimeError("the notebook that was run must hold the panel's state; it holds none")
    file = folder / "saved.ipynb"
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file.stat().st_size / 1e6


@contextmanager
def _machinery(folder: Path) -> Iterator[tuple[Lab, Browser]]:
    with running_lab(folder) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=list(CHROMIUM_FLAGS)
        )
        yield lab, browser
        browser.close()


@contextmanager
def _opened(lab: Lab, browser: Browser, cells: list[str]) -> Iterator[Opened]:
    """Open a notebook whose first cell, the preparation, has been run."""
    name = f"benchmark-{time.time_ns()}.ipynb"
    lab.write_notebook(name, cells)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    received: list[int] = []
    _count(page, received)
    page.add_init_script(LISTEN)
    notebook = LabNotebook(lab, page, name)
    watch(notebook)
    notebook.open()
    notebook.run(0)
    page.wait_for_timeout(500)
    notebook.wait_ready(120)
    yield Opened(notebook, received)
    page.close()


def _count(page: Page, received: list[int]) -> None:
    def on_socket(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: received.append(len(payload)))

    page.on("websocket", on_socket)
