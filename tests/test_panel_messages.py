import json
import math

import numpy as np
import pytest

from autoopt.panel.messages import Status, parse_message, starting_status, wire_row, wire_status
from tests.panel_rows import make_row


def test_a_choice_and_a_stop_are_read():
    assert parse_message({"kind": "choose", "number": 3}) == {"kind": "choose", "number": 3}
    assert parse_message({"kind": "stop"}) == {"kind": "stop"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"kind": "pause"},
        {"kind": "choose"},
        {"kind": "choose", "number": "3"},
        {"kind": "choose", "number": True},
    ],
)
def test_a_foreign_message_is_refused_with_what_was_received(content):
    with pytest.raises(ValueError, match="'ready', 'stop' or 'choose'") as error:
        parse_message(content)
    assert repr(content) in str(error.value)


def test_what_json_cannot_say_becomes_none_on_the_wire():
    row = make_row(1, accuracy=math.nan, latency=math.inf, speedup=math.nan)
    wired = wire_row(row)
    assert wired["values"]["accuracy"] == [None, None, None]
    assert wired["values"]["latency"][0] is None
    assert wired["speedup"] is None
    json.dumps(wired, allow_nan=False)
    assert math.isnan(row["values"]["accuracy"][0] or 0.0)


def test_numpy_scalars_become_numbers_on_the_wire():
    row = make_row(1, values={"accuracy": [np.float32(0.5)] * 3})
    assert json.loads(json.dumps(wire_row(row)))["values"]["accuracy"][0] == 0.5


def test_an_infinite_time_left_is_unknown_on_the_wire():
    status: Status = {**starting_status(), "seconds_left": math.inf, "seconds_elapsed": math.nan}
    assert wire_status(status) == starting_status()
