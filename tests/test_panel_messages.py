import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.panel.messages import (
    Row,
    Status,
    parse_command,
    shortened_log,
    starting_status,
    wire_columns,
    wire_status,
)
from tests.panel_rows import example_rows, failed_row, make_row, with_long_logs


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "ready"},
        {"kind": "pause"},
        {"kind": "go_on"},
        {"kind": "stop"},
        {"kind": "choose", "number": 3},
        {"kind": "export", "number": 3, "folder": "deploy"},
    ],
)
def test_every_command_is_read(content):
    assert parse_command(content) == content


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"kind": "dance"},
        {"kind": "choose"},
        {"kind": "choose", "number": "3"},
        {"kind": "choose", "number": True},
        {"kind": "export", "number": 3},
        {"kind": "export", "number": 3, "folder": "  "},
    ],
)
def test_a_foreign_message_is_refused_with_what_was_received(content):
    with pytest.raises(ValueError, match="one of ready, pause, go_on, stop, choose") as error:
        parse_command(content)
    assert repr(content) in str(error.value)


def test_what_json_cannot_say_becomes_null_on_the_wire():
    row = make_row(1, accuracy=math.nan, latency=math.inf, speedup=math.nan)
    columns = wire_columns([row])
    assert columns["values"]["accuracy"] == [[None], [None], [None]]
    assert columns["values"]["latency"][0] == [None]
    assert columns["speedup"] == [None]
    json.dumps(columns, allow_nan=False)


def test_numpy_scalars_become_numbers_on_the_wire():
    row = make_row(1, values={"accuracy": [np.float32(0.5)] * 3})
    columns = json.loads(json.dumps(wire_columns([row])))
    assert columns["values"]["accuracy"][0] == [0.5]


def test_a_failure_keeps_its_cause_and_log():
    note = {"stage": "artifact", "kind": "crashed", "message": "gone", "log": "last words"}
    columns = wire_columns([make_row(1), failed_row(2, failure=note)])
    assert columns["failures"] == {"2": note}


def test_a_setting_that_an_option_lacks_is_absent_and_not_a_value():
    rows = [
        make_row(1, choices={"pruning": "none"}),
        make_row(2, choices={"pruning": "magnitude", "pruning.keep": 0.5}),
    ]
    choices = wire_columns(rows)["choices"]
    assert choices["pruning"] == {"levels": ["none", "magnitude"], "codes": [0, 1]}
    assert choices["pruning.keep"] == {"levels": [0.5], "codes": [-1, 0]}


def test_true_and_one_stay_different_choices():
    rows = [make_row(n, choices={"a": value}) for n, value in enumerate((True, 1, 1.0, False, 0))]
    coded = wire_columns(rows)["choices"]["a"]
    assert [str(coded["levels"][code]) for code in coded["codes"]] == [
        "True", "1", "1.0", "False", "0",
    ]  # fmt: skip


def test_a_score_that_just_keeps_a_bound_keeps_it_on_the_wire():
    score, slack = 355 / 360, 1e-9
    columns = wire_columns([make_row(1, accuracy=score)])
    sent = columns["values"]["accuracy"][0][0]
    assert sent is not None
    assert sent >= score - slack


def test_five_thousand_trials_fit_in_two_megabytes():
    assert len(json.dumps(wire_columns(example_rows(5000)))) < 2e6
    with_failures = wire_columns(with_long_logs(example_rows(5000)))
    assert len(with_failures["failures"]) > 290
    assert len(json.dumps(with_failures)) < 2e6


def test_all_logs_share_a_budget_and_the_newest_keep_theirs_longest():
    rows = with_long_logs(example_rows(5000))
    whole = {row["number"]: row["failure"]["log"] for row in rows if row["failure"]}
    logs = {int(n): note["log"] for n, note in wire_columns(rows)["failures"].items()}
    assert len(json.dumps(list(logs.values()))) < 300_000
    assert all(log.endswith("MemoryError") for log in logs.values())
    assert list(logs) == sorted(logs)
    kept = [log == whole[number] for number, log in logs.items()]
    assert 0 < sum(kept) < len(kept)
    assert kept == sorted(kept)
    cut = [log for log, is_whole in zip(logs.values(), kept, strict=True) if not is_whole]
    assert all(log.startswith("[shortened: ") for log in cut)


def test_logs_of_very_many_failures_stay_in_the_budget_too():
    rows = [
        failed_row(n, failure={"stage": "", "kind": "error", "message": "", "log": "ä" * 1000})
        for n in range(20_000)
    ]
    notes = wire_columns(rows)["failures"].values()
    assert sum(len(note["log"].encode()) for note in notes) <= 300_000


def test_a_short_log_is_left_alone_and_a_long_one_says_that_it_was_cut():
    assert shortened_log("last words", 10) == "last words"
    cut = shortened_log("ä" * 100, 101)
    assert len(cut.encode()) <= 101
    assert cut.splitlines()[0] == "[shortened: the search's log holds all of it]"
    assert set(cut.splitlines()[1]) == {"ä"}


@given(
    st.lists(
        st.tuples(
            st.floats(),
            st.dictionaries(
                st.text(max_size=3), st.text(max_size=3) | st.booleans() | st.integers()
            ),
        ),
        max_size=6,
    )
)
def test_columns_say_the_same_as_rows(given_rows):
    rows: list[Row] = [
        make_row(number, accuracy=accuracy, choices=choices)
        for number, (accuracy, choices) in enumerate(given_rows)
    ]
    columns = json.loads(json.dumps(wire_columns(rows), allow_nan=False))
    assert columns["number"] == list(range(len(rows)))
    for index, row in enumerate(rows):
        told = {
            name: coded["levels"][coded["codes"][index]]
            for name, coded in columns["choices"].items()
            if coded["codes"][index] >= 0
        }
        assert told == row["choices"]
        value, sent = row["values"]["accuracy"][0], columns["values"]["accuracy"][0][index]
        assert value is not None
        finite = math.isfinite(float(f"{value:.10g}"))
        assert sent == pytest.approx(value, rel=1e-8) if finite else sent is None


def test_an_infinite_time_left_is_unknown_on_the_wire():
    status: Status = {**starting_status(), "seconds_left": math.inf, "seconds_elapsed": math.nan}
    assert wire_status(status) == starting_status()
