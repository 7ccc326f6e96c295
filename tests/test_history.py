from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoopt.history import History
from autoopt.log import Event, Log
from autoopt.measurement import Measurement, Stat
from autoopt.record import Record
from autoopt.settings import Budget
from tests.record_builds import ORIGINAL, SMALL, Story, failed, measured, settings

BOTH = {"latency": Stat(8.0, 6.0, 10.0, 9, "ms"), "throughput": Stat(100.0, 80.0, 120.0, 9, "1/s")}


def timed(number: int, reference_ms: float | None) -> Record:
    return Record(number, ORIGINAL, "search", Measurement(BOTH, reference_ms=reference_ms))


def value(history: History, number: int, objective: str) -> float:
    stat = history.record(number).stat(objective)
    assert stat is not None
    return stat.value


# ------------------------------------------------------------------ records


def test_before_the_first_event_nothing_is_known():
    history = History()
    assert history.settings is None
    assert history.records == ()
    assert history.front.members == ()
    assert history.constraints == ()
    assert history.reference_ms is None
    assert history.spent(now=5.0) == 0.0


def test_records_are_those_of_the_events_by_number():
    story = Story()
    told = [measured(0, 0.9, 10.0, 2.0, role="original"), failed(1), measured(2, 0.9, 5.0, 1.0)]
    for number in (1, 0, 2):
        story.record(told[number])
    assert story.history.settings == settings()
    assert list(story.history.records) == told
    assert story.history.started == {0: ORIGINAL, 1: SMALL, 2: ORIGINAL}
    assert [record.number for record in story.history.front.members] == [2]


def test_a_history_read_back_from_a_log_is_the_same(tmp_path):
    log = Log(tmp_path / "log.sqlite", create=True)
    log.append("opened", {"settings": settings().to_dict(), "launched": 1.0})
    log.append("record", timed(0, 10.0).to_dict())
    log.append("choice", {"number": 0})
    whole, bitwise = History(), History()
    assert whole.add(log.read())
    for event in log.read():
        bitwise.add([event])
    assert whole == bitwise
    assert whole.choices == [0]
    assert whole.last_id == 3


def test_add_says_whether_there_was_anything_new():
    history = History()
    assert not history.add([])
    assert history.add([Event(1, 0.0, "choice", {"number": 0})])


def test_new_records_reach_a_front_that_was_asked_before():
    story = Story()
    story.record(measured(0, 0.9, 10.0, 2.0))
    assert len(story.history.front.members) == len(story.history.records) == 1
    story.record(measured(1, 0.8, 5.0, 2.0))
    assert len(story.history.front.members) == len(story.history.records) == 2


def test_an_abandoned_candidate_is_no_record_and_no_longer_running():
    story = Story()
    story.tell("started", number=3, recipe=SMALL.to_dict(), role="search")
    assert story.history.current is not None
    story.tell("abandoned", number=3)
    assert story.history.current is None
    assert story.history.started == {}
    assert story.history.records == ()


def test_the_running_candidate_is_known_with_its_stage():
    story = Story()
    story.tell("started", number=3, recipe=SMALL.to_dict(), role="search")
    assert story.history.current is not None
    assert (story.history.current["number"], story.history.current["stage"]) == (3, "network")
    story.stage("network", "n", number=3, next="artifact")
    assert story.history.current["stage"] == "artifact"
    story.tell("record", **replace(failed(3)).to_dict())
    assert story.history.current is None


def test_memory_measured_later_is_a_figure_of_its_record():
    story = Story()
    story.record(measured(0, 0.9, 10.0, 2.0))
    story.tell("memory", number=0, stat={"value": 80, "low": 79, "high": 81, "n": 3, "unit": "MB"})
    assert story.history.record(0).stat("memory") == Stat(80, 79, 81, 3, "MB")


# ------------------------------------------------------------------ drift


def test_timings_are_scaled_to_the_median_speed_of_the_machine():
    story = Story()
    for number, reference in enumerate([10.0, 20.0, 5.0]):
        story.record(timed(number, reference))
    history = story.history
    assert history.reference_ms == 10.0
    assert [value(history, number, "latency") for number in range(3)] == [8.0, 4.0, 16.0]
    assert [value(history, number, "throughput") for number in range(3)] == [100.0, 200.0, 50.0]
    assert history.record(1).stat("latency") == Stat(4.0, 3.0, 5.0, 9, "ms")


def test_a_drift_that_hit_candidate_and_original_alike_leaves_no_difference():
    story = Story()
    for number, slowdown in enumerate([1.0, 1.3, 0.7, 2.0, 1.1]):
        stats = {"latency": Stat.exact(4.0 * slowdown, "ms")}
        measurement = Measurement(stats, reference_ms=12.0 * slowdown)
        story.record(Record(number, ORIGINAL, "search", measurement))
    corrected = [value(story.history, number, "latency") for number in range(5)]
    assert corrected == pytest.approx([corrected[0]] * 5)


def test_what_is_no_timing_and_what_was_not_timed_beside_the_original_stays():
    story = Story()
    story.record(measured(0, 0.9, 10.0, 2.0, reference_ms=10.0))
    story.record(measured(1, 0.8, 10.0, 3.0, reference_ms=30.0))
    story.record(timed(2, None))
    history = story.history
    assert history.reference_ms == 20.0
    assert (value(history, 1, "accuracy"), value(history, 1, "size")) == (0.8, 3.0)
    assert history.record(2).outcome == history.raw[2].outcome


def test_the_records_as_measured_stay_beside_the_corrected_ones():
    story = Story()
    for number, reference in enumerate([10.0, 20.0, 10.0]):
        story.record(timed(number, reference))
    assert value(story.history, 1, "latency") == 4.0
    assert story.history.raw[1].stat("latency") == BOTH["latency"]
    assert story.history.records[1] == story.history.record(1)


# ------------------------------------------------------------------ time


def test_the_time_runs_from_the_launch_until_now():
    story = Story()  # launched at 100, opened at 101
    story.record(failed(0))
    assert story.history.spent(now=130.0) == 30.0


def test_the_time_of_an_ended_search_stands_still():
    story = Story()
    story.tell("finished", after=9.0, reason="the budget is spent")
    assert story.history.spent(now=1e6) == 10.0


def test_what_is_said_after_the_end_takes_no_time():
    story = Story()
    story.tell("finished", after=9.0, reason="the budget is spent")
    story.tell("choice", after=500.0, number=0)
    story.tell("command", after=500.0, command="pause")
    assert story.history.spent(now=1e6) == 10.0


def test_a_pause_takes_no_time_neither_while_it_lasts_nor_after():
    story = Story()  # 101
    story.tell("paused", after=4.0, paused=True)  # 105
    assert story.history.spent(now=150.0) == 5.0
    story.tell("paused", after=95.0, paused=False)  # 200
    assert story.history.spent(now=203.0) == 8.0
    story.tell("paused", after=5.0, paused=True)  # 205
    assert story.history.spent(now=300.0) == 10.0


def test_a_search_that_is_stopped_in_a_pause_spent_what_came_before_it():
    story = Story()
    story.tell("paused", after=4.0, paused=True)
    story.tell("finished", after=1000.0, reason="stopped")
    assert story.history.spent(now=5000.0) == 5.0


def test_a_resumed_search_adds_up_its_runs_without_the_time_between():
    story = Story()  # launched at 100
    story.tell("finished", after=9.0, reason="stopped")  # 110
    story.open(after=1000.0)  # launched one second before it opens
    assert story.history.spent(now=story.clock + 4.0) == 10.0 + 5.0
    assert len(story.history.runs) == 2


def test_a_killed_run_counts_until_its_last_event():
    story = Story()
    story.tell("started", number=0, recipe=SMALL.to_dict(), role="search")  # 102, then killed
    story.open(after=1000.0)
    assert story.history.current is None
    assert story.history.spent(now=story.clock) == 2.0 + 1.0


def test_a_run_killed_in_a_pause_counts_until_the_pause():
    story = Story()
    story.tell("paused", after=4.0, paused=True)
    story.open(after=1000.0)
    assert story.history.spent(now=story.clock) == 5.0 + 1.0


# ------------------------------------------------------------------ resume


def test_a_resume_keeps_the_records_and_takes_the_settings_of_the_new_run():
    story = Story()
    story.record(measured(0, 0.9, 10.0, 2.0))
    story.tell("refusals", refusals=[{"when": {"runtime": {}}, "reason": "no compiler"}])
    story.options = {"budget": Budget(seconds=900.0)}
    story.open()
    assert [record.number for record in story.history.records] == [0]
    assert [refusal["reason"] for refusal in story.history.refusals] == ["no compiler"]
    assert story.history.settings == settings(budget=Budget(seconds=900.0))


def test_commands_are_kept_with_their_ids():
    story = Story()
    story.tell("command", command="pause")
    story.tell("command", command="stop", reason="enough")
    assert [(number, name) for number, name, _ in story.history.commands] == [
        (2, "pause"), (3, "stop"),
    ]  # fmt: skip


def test_more_budget_is_added_to_what_was_given():
    story = Story(budget=Budget(seconds=300.0, trials=10))
    story.tell("command", command="extend", seconds=60.0, trials=None)
    story.tell("command", command="extend", seconds=None, trials=5)
    assert story.history.settings is not None
    assert story.history.settings.budget == Budget(seconds=360.0, trials=15)


# ------------------------------------------------------------------ counts


def test_networks_trained_are_those_trained_here_and_now():
    story = Story()
    story.stage("network", "a", trained=True)
    story.stage("network", "a", trained=True, cached=True)
    story.stage("network", "original")
    story.stage("network", "b", trained=True)
    story.stage("artifact", "c", trained=True)
    story.tell("stage", number=4, stage="network", seconds=1.0, cached=False, failed=True)
    assert story.history.networks_trained == 2


def test_artifacts_built_are_distinct_and_built_here():
    story = Story()
    for key, cached in [("x", False), ("x", True), ("y", True), ("z", False), ("z", False)]:
        story.stage("artifact", key, cached=cached)
    story.stage("network", "w")
    story.tell("stage", number=4, stage="artifact", seconds=1.0, cached=False, failed=True)
    assert story.history.artifacts_built == 2


def test_the_work_is_the_sum_of_the_stages():
    story = Story()
    story.stage("network", "a", seconds=2.5)
    story.stage("deployment", "b", seconds=0.5)
    assert story.history.work_seconds == 3.0


# ------------------------------------------------------------------ bounds


def test_a_drop_binds_as_soon_as_the_original_is_measured():
    story = Story(max_drop=0.05, constraints={"latency": "<= 20 ms"})
    assert [str(bound) for bound in story.history.constraints] == ["latency <= 20"]
    story.record(measured(0, 0.9, 10.0, 2.0))
    assert [str(bound) for bound in story.history.constraints] == [
        "latency <= 20", "accuracy >= 0.85",
    ]  # fmt: skip
    story.record(measured(1, 0.80, 1.0, 1.0))
    story.record(measured(2, 0.85, 5.0, 1.0))
    assert [record.number for record in story.history.front.members] == [2, 0]


def test_no_drop_binds_when_the_original_failed():
    story = Story(max_drop=0.05)
    story.record(failed(0))
    assert story.history.constraints == ()


# ------------------------------------------------------------------ snapshots


def test_a_snapshot_stays_while_the_history_goes_on():
    story = Story()
    story.record(measured(0, 0.9, 10.0, 2.0, reference_ms=10.0))
    story.tell("paused", paused=True)
    taken = story.history.snapshot()
    before = json.dumps([vars(taken)[name] for name in ("runs", "stages", "choices", "refusals")])
    known = (taken.records, taken.front, taken.spent(now=500.0), dict(taken.raw), taken.last_id)

    story.tell("paused", paused=False)
    story.record(measured(1, 0.9, 5.0, 1.0, reference_ms=30.0))
    story.stage("network", "n", trained=True)
    story.tell("command", command="extend", seconds=60.0, trials=None)
    story.tell("memory", number=0, stat={"value": 80, "low": 80, "high": 80, "n": 1, "unit": "MB"})
    story.tell("choice", number=1)
    story.tell("finished", reason="done")

    after = json.dumps([vars(taken)[name] for name in ("runs", "stages", "choices", "refusals")])
    assert after == before
    assert known == (
        taken.records, taken.front, taken.spent(now=500.0), dict(taken.raw), taken.last_id
    )  # fmt: skip
    assert (taken.memory, taken.commands, taken.choices) == ({}, [], [])
    assert taken.settings == settings()
