import base64
import re
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from comm import get_comm_manager

from autoopt.errors import FolderError
from autoopt.handle.live import _follow
from autoopt.panel import assets
from autoopt.panel.direct import DirectWay
from autoopt.panel.messages import starting_status
from autoopt.panel.widget import SECONDS_BETWEEN_SENDS, SECONDS_OF_CLOCK, Panel
from tests.panel_rows import HOSTILE, OBJECTIVES, failed_row, make_row


class Wire:
    """Keeps what the panel sends to the browser, and when."""

    def __init__(self):
        self.sent = []

    def send(self, message, buffers=None):
        self.sent.append((time.monotonic(), message))

    def contents(self, kind):
        custom = [(t, d["content"]) for t, d in self.sent if d["method"] == "custom"]
        return [(t, content) for t, content in custom if content["kind"] == kind]

    def states(self):
        return [d["state"] for _, d in self.sent if d["method"] == "update"]


@pytest.fixture
def panel():
    panel = Panel(OBJECTIVES)
    yield panel
    panel.close()


@pytest.fixture
def wire(panel, monkeypatch):
    wire = Wire()
    # The last step of ipywidgets before its comm, which needs a kernel.
    monkeypatch.setattr(panel, "_send", wire.send)
    return wire


def receive(panel, content):
    panel._receive(panel, content, [])


def status(**changes):
    return {**starting_status(), "state": "running", **changes}


def test_updates_from_a_thread_are_throttled_and_the_last_one_arrives(panel, wire):
    def feed():
        for number in range(100):
            panel.update([make_row(number)], status(trials=number + 1))
            time.sleep(0.008)

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join()
    time.sleep(2.5 * SECONDS_BETWEEN_SENDS)
    # All messages, whatever their kind: rows, status and the full state, which is due once here.
    assert len(wire.sent) >= 4
    assert len(wire.states()) == 1
    gaps = [b - a for (a, _), (b, _) in pairwise(wire.sent)]
    assert min(gaps) > 0.9 * SECONDS_BETWEEN_SENDS
    messages = wire.contents("rows")
    received = [n for _, content in messages for n in content["columns"]["number"]]
    assert received == list(range(100))
    assert messages[-1][1]["status"]["trials"] == 100


def test_a_status_that_differs_by_its_seconds_waits_for_two_of_them(panel, wire):
    receive(panel, {"kind": "ready"})
    begin = time.monotonic()
    while time.monotonic() < begin + SECONDS_OF_CLOCK + 0.5:
        seconds = time.monotonic() - begin
        panel.update(status=status(seconds_elapsed=seconds, seconds_left=60 - seconds))
        time.sleep(0.02)
    (first, _), (second, last) = wire.contents("status")
    assert second - first >= SECONDS_OF_CLOCK
    assert last["status"]["seconds_elapsed"] >= SECONDS_OF_CLOCK


@pytest.mark.parametrize("changes", [{"failed": 1}, {"state": "paused"}, {"seconds_left": None}])
def test_a_status_that_says_something_new_does_not_wait(panel, wire, changes):
    panel.update(status=status(seconds_left=60.0))
    panel.update(status=status(**{"seconds_left": 60.0, **changes}))
    time.sleep(1.5 * SECONDS_BETWEEN_SENDS)
    (_, sent) = wire.contents("status")[-1]
    assert {key: sent["status"][key] for key in changes} == changes


def test_the_first_update_goes_out_at_once(panel, wire):
    panel.update([make_row(0)])
    assert wire.contents("rows")[0][1]["columns"]["number"] == [0]


def test_a_row_replaces_the_one_with_its_number_and_keeps_its_place(panel):
    panel.update([make_row(4), make_row(5)])
    panel.update([make_row(4, summary="newer")])
    assert [(row["number"], row["summary"]) for row in panel.rows] == [
        (4, "newer"),
        (5, "strategy 5"),
    ]


def test_the_full_state_is_sent_again_until_a_page_listens(panel, wire):
    panel.update([make_row(0)])
    assert wire.states() == []
    time.sleep(1.2)
    assert wire.states()[0]["columns"]["number"] == [0]
    receive(panel, {"kind": "ready"})
    count = len(wire.states())
    time.sleep(1.2)
    assert len(wire.states()) == count


def test_a_page_that_is_ready_gets_rows_and_status(panel, wire):
    panel.update([make_row(0), make_row(1)], status(best="8.4×"))
    receive(panel, {"kind": "ready"})
    state = wire.states()[-1]
    assert state["columns"]["number"] == [0, 1]
    assert state["status"]["best"] == "8.4×"


def test_an_update_is_not_kept_back_by_the_wait_for_the_next_full_state(panel, wire):
    panel.update([make_row(0)])
    time.sleep(2 * SECONDS_BETWEEN_SENDS)
    panel.update([make_row(1)])
    assert [n for _, c in wire.contents("rows") for n in c["columns"]["number"]] == [0, 1]


def test_a_choice_reaches_all_callbacks_and_the_trait(panel, wire):
    heard: list[int] = []
    panel.on_command("choose", heard.append)
    panel.on_command("choose", lambda number: heard.append(-number))
    panel.update([make_row(7)])
    receive(panel, {"kind": "choose", "number": 7})
    assert heard == [7, -7]
    assert panel.chosen == 7
    assert wire.contents("answer")[-1][1] == {
        "kind": "answer", "to": "choose", "ok": True, "text": "",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["choose", "export"])
@pytest.mark.parametrize(
    ("number", "words"), [(8, "got 8, which failed"), (9, "got 9, which is not known")]
)
def test_a_failed_or_unknown_trial_is_refused_and_the_page_hears_why(
    panel, wire, kind, number, words
):
    heard: list[object] = []
    panel.on_command(kind, lambda *given: heard.append(given))
    panel.update([failed_row(8)])
    receive(panel, {"kind": kind, "number": number, "folder": "deploy"})
    answer = wire.contents("answer")[-1][1]
    assert not answer["ok"]
    assert words in answer["text"]
    assert heard == []
    assert panel.chosen is None


@pytest.mark.parametrize("kind", ["stop", "pause", "go_on"])
def test_steering_reaches_its_callback_and_no_other(panel, kind):
    heard: list[str] = []
    for other in ("stop", "pause", "go_on"):
        panel.on_command(other, lambda other=other: heard.append(other))
    receive(panel, {"kind": kind})
    assert heard == [kind]


def test_an_export_is_answered_with_its_folder(panel, wire):
    panel.on_command("export", lambda number, folder: f"/somewhere/{folder}-{number}")
    panel.update([make_row(7)])
    receive(panel, {"kind": "export", "number": 7, "folder": " deploy "})
    assert wire.contents("answer")[-1][1]["text"] == "/somewhere/deploy-7"


def test_an_error_of_a_command_is_answered_in_its_own_words(panel, wire):
    def full(number, folder):
        raise FolderError(f"the folder {folder} is there already")

    panel.on_command("export", full)
    panel.update([make_row(7)])
    receive(panel, {"kind": "export", "number": 7, "folder": "deploy"})
    answer = wire.contents("answer")[-1][1]
    assert (answer["to"], answer["ok"]) == ("export", False)
    assert answer["text"] == "the folder deploy is there already"


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("no column"),
        RuntimeError("no column"),
        ImportError("no column"),
        TypeError("no column"),
    ],
)
def test_an_error_that_nobody_foresaw_is_answered_and_logged(panel, wire, caplog, error):
    def broken():
        raise error

    panel.on_command("stop", broken)
    receive(panel, {"kind": "stop"})
    answer = wire.contents("answer")[-1][1]
    assert (answer["to"], answer["ok"]) == ("stop", False)
    assert answer["text"] == f"{type(error).__name__}: no column"
    assert caplog.records[-1].exc_info[1] is error


@pytest.mark.parametrize("error", [FolderError("no such folder"), RuntimeError("no such folder")])
def test_a_search_that_cannot_be_followed_any_more_fails_in_the_panel(caplog, error):
    class Vanished:
        folder = "/somewhere/search"

        @property
        def status(self):
            raise error

    panel = Panel(OBJECTIVES)
    _follow(Vanished(), panel)  # type: ignore[arg-type]  # stands for a search whose folder is gone
    assert panel.wait_settled(0)
    assert panel.status["state"] == "failed"
    assert panel.status["message"] == (
        "the search in /somewhere/search cannot be followed any more: no such folder"
    )
    assert caplog.records[-1].exc_info[1] is error
    panel.close()


def test_a_command_that_no_panel_knows_is_answered_with_the_known_ones(panel, wire):
    receive(panel, {"kind": "dance"})
    answer = wire.contents("answer")[-1][1]
    assert not answer["ok"]
    assert "ready, pause, go_on, stop, choose, export" in answer["text"]


def test_a_part_of_a_filter_is_filled_and_can_be_observed(panel):
    seen = []
    panel.observe(lambda change: seen.append(change["new"]), "filter")
    panel.filter = {"bounds": {"latency": [None, 8]}}
    whole = {"bounds": {"latency": [None, 8.0]}, "choices": {}, "front": False, "text": ""}
    assert seen == [whole]


def test_a_wrong_filter_is_refused_and_the_old_one_stays(panel):
    with pytest.raises(ValueError, match="unknown key 'bound'"):
        panel.filter = {"bound": {}}
    assert panel.filter["bounds"] == {}


def test_the_searchs_needs_become_the_filter_until_somebody_changes_it(panel):
    panel.need({"latency": [None, 8.0]})
    assert panel.filter["bounds"] == {"latency": [None, 8.0]}
    panel.need({"latency": [None, 8.0], "accuracy": [0.98, None]})
    assert panel.filter["bounds"] == panel.needs
    panel.filter = {"bounds": {"latency": [None, 3.0]}}
    panel.need({"accuracy": [0.97, None]})
    assert panel.filter["bounds"] == {"latency": [None, 3.0]}
    assert panel.needs == {"accuracy": [0.97, None]}


def test_what_the_page_may_change_is_not_overwritten_by_the_full_state(panel, wire):
    panel.update([make_row(0)])
    panel.settle()
    receive(panel, {"kind": "ready"})
    assert wire.states()
    for state in wire.states():
        assert not {"filter", "looks", "selected", "chosen"} & set(state)


def test_the_direct_way_performs_what_it_hears_in_a_thread_of_its_own():
    heard: list[tuple[object, bool]] = []
    done = threading.Event()

    def perform(content):
        heard.append((content, threading.current_thread() is threading.main_thread()))
        done.set()

    class Line:
        def on_msg(self, callback):
            self.callback = callback

    way, line = DirectWay("autoopt-test", perform), Line()
    manager = get_comm_manager()
    manager.targets["autoopt-test"](line, {})  # type: ignore[arg-type]  # stands for a comm
    line.callback({"content": {"data": {"kind": "stop"}}})
    assert done.wait(5)
    assert heard == [({"kind": "stop"}, False)]
    way.close()
    assert "autoopt-test" not in manager.targets


def test_the_mimebundle_holds_view_text_and_escaped_html(panel):
    panel.update([make_row(3, summary=HOSTILE, recommended=True)], status(best="8.4× at −0.6 pt"))
    data, _ = panel._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert "best 8.4× at −0.6 pt" in data["text/plain"]
    assert "★ #3" in data["text/plain"]
    assert "<img" not in data["text/html"]
    assert "<svg" in data["text/html"]


def test_code_and_style_are_strings_and_not_files(panel):
    assert isinstance(panel._esm, str)
    assert "export default" in panel._esm
    assert ".autoopt-panel" in panel._css
    words = set(re.findall(r"\w+", assets.code()))
    assert "textContent" in words
    assert not {"innerHTML", "insertAdjacentHTML", "outerHTML", "eval"} & words


def test_the_packed_module_holds_the_code():
    (packed,) = re.findall(r'atob\("([^"]+)"\)', assets.module())
    assert zlib.decompress(base64.b64decode(packed)).decode() == assets.code()
    assert len(assets.module()) < 0.5 * len(assets.code())


def test_every_file_of_code_and_style_is_used_once():
    folder = Path(assets.__file__).parent
    read = [*assets._CODE, *assets._STYLE]
    assert sorted(read) == sorted(p.name for p in folder.iterdir() if p.suffix in (".js", ".css"))


def test_nothing_is_sent_after_close(wire, panel):
    panel.update([make_row(0)])
    panel.update([make_row(1)])
    panel.close()
    count = len(wire.contents("rows"))
    time.sleep(1.5 * SECONDS_BETWEEN_SENDS)
    assert len(wire.contents("rows")) == count


def test_importing_the_folder_imports_no_widget_library():
    code = "import sys, autoopt.panel; print('anywidget' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
