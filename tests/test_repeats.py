"""Several measurements of one candidate folded into one figure, and who is on the front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoopt.constraint import Constraint
from autoopt.controller.second_look import MOST, WANTED, following, reserved
from autoopt.front import Front
from autoopt.handle.status import status_of
from autoopt.handle.verification import verification
from autoopt.measurement import Measurement, Stat
from autoopt.membership import membership
from autoopt.record import Record
from autoopt.repeats import averaged, posterior, spreads
from tests.record_builds import AXES, ORIGINAL, Story


def stat(value: float, half: float = 0.01) -> Stat:
    return Stat(value, value * (1 - half), value * (1 + half), 10, "ms")


def timed(accuracy: float, latency: float, *, half: float = 0.01) -> Measurement:
    stats = {"accuracy": Stat(accuracy, accuracy - 0.02, min(1.0, accuracy + 0.02), 300),
             "latency": stat(latency, half), "size": Stat.exact(1.0, "MB")}  # fmt: skip
    return Measurement(stats, speedup=Stat.exact(2.0), reference_ms=10.0)


def told(*measurements: Measurement) -> Story:
    story = Story()
    for number, measured in enumerate(measurements):
        story.record(Record(number, ORIGINAL, "search" if number else "original", measured))
    return story


def again(story: Story, number: int, measured: Measurement) -> None:
    story.tell("again", number=number, measurement=measured.to_dict(), seconds=2.0)


# ------------------------------------------------------------------ figures


def test_equally_good_measurements_meet_in_the_middle_and_narrow_the_interval() -> None:
    found = posterior([stat(10.0), stat(10.2)], spread=0.01)
    assert found.value == pytest.approx(np.sqrt(10.0 * 10.2), rel=1e-4)
    alone = posterior([stat(10.0)], spread=0.01)
    assert found.high - found.low < alone.high - alone.low
    assert (found.n, found.unit) == (20, "ms")


def test_a_noisier_measurement_counts_less() -> None:
    found = posterior([stat(10.0, 0.01), stat(12.0, 0.2)], spread=0.0)
    assert 10.0 < found.value < 10.05


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random, inside = np.random.default_rng(0), 0
    for _ in range(400):
        draws = np.exp(random.normal(0.0, 0.05, 3))
        found = posterior([stat(float(value), 0.001) for value in draws], spread=0.05)
        inside += found.low <= 1.0 <= found.high
    assert 0.92 < inside / 400 < 0.98


def test_the_spread_is_that_between_measurements_of_the_same_candidate() -> None:
    random = np.random.default_rng(0)
    groups = [
        [timed(0.9, level * float(np.exp(random.normal(0, 0.04)))) for _ in range(3)]
        for level in np.linspace(1.0, 50.0, 100)
    ]
    assert spreads(groups, quality="accuracy")["latency"] == pytest.approx(0.04, rel=0.15)
    assert "accuracy" not in spreads(groups, quality="accuracy")
    assert spreads([group[:1] for group in groups], quality="accuracy") == {}


def test_quality_keeps_its_interval_however_often_it_is_scored() -> None:
    score = Stat(0.9, 0.88, 0.92, 300)
    assert averaged([score] * 5) == score
    moved = averaged([score, Stat(0.92, 0.90, 0.94, 300)])
    assert moved.value == pytest.approx(0.91)
    assert moved.high - moved.low == pytest.approx(0.04)


# ------------------------------------------------------------------ the history


def test_a_record_has_the_figures_of_all_its_measurements_corrected_for_drift() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0))
    # The machine is half as fast now, and the original beside it is as well.
    slow = timed(0.8, 10.4)
    again(story, 1, replace(slow, reference_ms=20.0))
    history = story.history
    figure = history.record(1).stat("latency")
    assert figure is not None
    assert figure.value == pytest.approx(np.sqrt(5.0 * 5.2), rel=1e-3)
    assert history.records[1] == history.record(1)
    assert history.raw[1].stat("latency") == stat(5.0)
    assert history.work_seconds == pytest.approx(2.0)


def test_a_record_that_looked_better_by_luck_leaves_the_front() -> None:
    story = told(timed(0.9, 10.0), timed(0.9, 5.0), timed(0.9, 5.2))
    assert [record.number for record in story.history.front.members] == [1]
    for number, latency in ((1, 5.6), (1, 5.7), (2, 5.1), (2, 5.2)):
        again(story, number, timed(0.9, latency))
    assert [record.number for record in story.history.front.members] == [2]


# ------------------------------------------------------------------ membership


def front(*measurements: Measurement, bounds: tuple[Constraint, ...] = ()) -> Front:
    records = [Record(n, ORIGINAL, "search", m) for n, m in enumerate(measurements)]
    return Front(tuple(records), AXES, bounds)


def test_what_is_clearly_better_or_worse_is_certain_and_near_ties_are_not() -> None:
    found = membership(front(timed(0.9, 5.0), timed(0.9, 5.02), timed(0.9, 20.0), timed(0.8, 1.0)))
    assert found[3] == 1.0
    assert 2 not in found
    assert found[0] + found[1] == pytest.approx(1.0)
    assert 0.5 < found[0] < 0.8


def test_a_bound_that_the_noise_may_break_makes_membership_uncertain() -> None:
    bound = Constraint("latency", "<=", 5.0)
    found = membership(front(timed(0.9, 4.99), timed(0.8, 4.0), bounds=(bound,)))
    assert 0.4 < found[0] < 0.85
    assert found[1] == 1.0
    assert membership(front(timed(0.9, 40.0), bounds=(bound,))) == {}
    assert membership(front()) == {}


def test_exact_figures_have_certain_members() -> None:
    found = membership(front(timed(0.9, 5.0, half=0.0), timed(0.8, 5.0, half=0.0)))
    assert found == {0: 1.0}


# ------------------------------------------------------------------ who is measured again


def test_members_and_near_ties_are_measured_in_turn_until_they_are_known() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0), timed(0.8, 5.01), timed(0.7, 30.0))
    asked = []
    while (number := following(story.history)) is not None:
        asked.append(number)
        again(story, number, story.history.raw[number].measurement or timed(0, 1))
    assert sorted(asked[:2]) == [0, 1]
    assert asked.index(2) >= 2 * (WANTED - 1)
    counts = [asked.count(number) for number in range(4)]
    assert counts[0] == WANTED - 1
    assert WANTED - 1 <= counts[1] <= MOST - 1
    assert 1 <= counts[2] <= MOST - 1
    assert counts[3] == 0


def test_what_a_second_look_makes_a_member_is_measured_before_near_ties() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0), timed(0.8, 5.4), timed(0.8, 5.05))
    for _ in range(WANTED - 1):
        again(story, 0, timed(0.9, 10.0))
        again(story, 1, timed(0.8, 6.5))
    assert [record.number for record in story.history.front.members] == [3, 0]
    assert following(story.history) == 3


def test_only_members_are_asked_for_where_time_is_not_counted_and_none_that_cannot_be() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0), timed(0.8, 5.01))
    assert following(story.history, {0, 1}, all_=False) is None
    assert following(story.history, {0, 1}, all_=True) == 2


def test_what_is_known_exactly_is_not_measured_again() -> None:
    assert following(told(timed(0.9, 10.0, half=0.0)).history) is None


def test_the_reserve_grows_with_the_front_and_stays_a_share_of_the_budget() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0))
    story.stage("deployment", "d", seconds=2.0)
    assert reserved(story.history, 1000.0) == pytest.approx(30.0 + 2 * 2 * 2.0)
    assert reserved(story.history, 20.0) == pytest.approx(5.0)


# ------------------------------------------------------------------ what is said of it


def test_optimism_is_by_how_much_first_reports_were_too_good() -> None:
    story = told(timed(0.9, 10.0), timed(0.8, 5.0))
    assert str(verification(story.history)) == ""
    for latency in (5.5, 5.5):
        again(story, 1, timed(0.8, latency))
    found = verification(story.history)
    assert (found.members, found.verified, found.further) == (2, 1, 2)
    assert found.optimism == {"latency": pytest.approx(0.1)}
    status = status_of(story.history, alive=True, now=story.clock)
    assert "1 of 2 strategies of the front" in status.verified
    assert "too good by latency +10.0%" in str(status)
