import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from autoopt.panel.messages import starting_status
from autoopt.panel.widget import SECONDS_BETWEEN_SENDS, Panel
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
    messages = wire.contents("rows")
    gaps = [b - a for (a, _), (b, _) in pairwise(messages)]
    assert min(gaps) > 0.9 * SECONDS_BETWEEN_SENDS
    received = [row["number"] for _, content in messages for row in content["rows"]]
    assert received == list(range(100))
    assert wire.contents("status")[-1][1]["status"]["trials"] == 100


def test_the_first_update_goes_out_at_once(panel, wire):
    panel.update([make_row(0)])
    assert [row["number"] for row in wire.contents("rows")[0][1]["rows"]] == [0]


def test_a_row_replaces_the_one_with_its_number_and_the_list_stays_the_same(panel):
    rows = panel.rows
    panel.update([make_row(4), make_row(5)])
    panel.update([make_row(4, summary="newer")])
    assert panel.rows is rows
    assert [(row["number"], row["summary"]) for row in rows] == [(4, "newer"), (5, "strategy 5")]


def test_the_full_state_is_sent_again_until_a_page_listens(panel, wire):
    panel.update([make_row(0)])
    assert wire.states() == []
    time.sleep(1.2)
    assert [row["number"] for row in wire.states()[0]["rows"]] == [0]
    receive(panel, {"kind": "ready"})
    count = len(wire.states())
    time.sleep(1.2)
    assert len(wire.states()) == count


def test_a_page_that_is_ready_gets_rows_and_status(panel, wire):
    panel.update([make_row(0), make_row(1)], status(best="8.4×"))
    receive(panel, {"kind": "ready"})
    state = wire.states()[-1]
    assert [row["number"] for row in state["rows"]] == [0, 1]
    assert state["status"]["best"] == "8.4×"


def test_an_update_is_not_kept_back_by_the_wait_for_the_next_full_state(panel, wire):
    panel.update([make_row(0)])
    time.sleep(2 * SECONDS_BETWEEN_SENDS)
    panel.update([make_row(1)])
    assert [row["number"] for _, c in wire.contents("rows") for row in c["rows"]] == [0, 1]


def test_a_choice_reaches_all_callbacks_and_the_trait(panel):
    heard: list[int] = []
    panel.on_choose(heard.append)
    panel.on_choose(lambda number: heard.append(-number))
    panel.update([make_row(7)])
    receive(panel, {"kind": "choose", "number": 7})
    assert heard == [7, -7]
    assert panel.chosen == 7


@pytest.mark.parametrize(
    ("number", "words"), [(8, "got 8, which failed"), (9, "got 9, which is not known")]
)
def test_a_failed_or_unknown_trial_cannot_be_chosen(panel, number, words):
    heard: list[int] = []
    panel.on_choose(heard.append)
    panel.update([failed_row(8)])
    with pytest.raises(ValueError, match=words):
        receive(panel, {"kind": "choose", "number": number})
    assert heard == []
    assert panel.chosen is None


def test_stop_reaches_its_callback(panel):
    heard: list[str] = []
    panel.on_stop(lambda: heard.append("stop"))
    receive(panel, {"kind": "stop"})
    assert heard == ["stop"]


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
    assert not {"innerHTML", "insertAdjacentHTML", "outerHTML"} & set(
        panel._esm.replace(".", " ").split()
    )


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
