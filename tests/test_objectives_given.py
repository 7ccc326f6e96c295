"""Objectives of a person's own, and those that only some machines can measure."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoopt
from autoopt.errors import DivergedError, FolderError, RefusedError, SearchError, UnknownNameError
from autoopt.handle.request import named_objectives, search_axes
from autoopt.interfaces import Parallel, Probe, Reading
from autoopt.measurement import Stat
from autoopt.objectives import energy, load_objective
from autoopt.objectives.energy import Energy
from autoopt.objectives.given import GivenObjective
from autoopt.objectives.server import Server
from tests.runtime_builds import tiny_task
from tests.small_searches import digits, start, trained_mlp


class Doubling:
    """A deployment that counts what it answers."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *inputs: Any) -> Any:
        self.calls += 1
        return inputs[0] * 2

    def close(self) -> None:
        pass


def probe(**changes: Any) -> Probe:
    values: dict[str, Any] = {
        "deployment": Doubling(),
        "reference": None,
        "request": (np.ones((4, 3), np.float32),),
        "parallel": Parallel(1),
        "size_bytes": 2_000_000,
        "open": lambda other: Doubling(),
        "memory": lambda: Stat.exact(1.0, "MB"),
        "score": lambda part: Stat.exact(0.9),
        "seconds": 0.05,
    }
    return Probe(**{**values, **changes})


def weight(probe: Probe) -> float:
    """The largest answer and the size in one number."""
    return float(probe.deployment(*probe.request).max()) + probe.size_bytes / 1e6


# ------------------------------------------------------------------ one function


def test_a_function_is_an_objective_under_its_name():
    objective = GivenObjective.of(weight)
    assert (objective.name, objective.unit, objective.direction) == ("weight", "", "minimize")
    assert objective.measure(probe()).stat == Stat.exact(4.0)


def test_unit_and_direction_may_stand_at_the_function_and_an_interval_may_come_back():
    def score(probe: Probe) -> Any:
        return Reading(Stat(2.0, 1.0, 3.0, 5), samples={"own": [[1.0, 3.0]]})

    score.unit, score.direction = "pt", "maximize"  # type: ignore[attr-defined]  # functions take any
    objective = GivenObjective.of(score)
    reading = objective.measure(probe())
    assert reading.stat == Stat(2.0, 1.0, 3.0, 5, "pt")
    assert reading.samples == {"own": [[1.0, 3.0]]}
    assert objective.direction == "maximize"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("fast", TypeError, "must give a number, a Stat or a Reading, but gave str"),
        (None, TypeError, "but gave NoneType"),
        (float("nan"), DivergedError, "'own' must be finite, but is nan"),
        (float("inf"), DivergedError, "'own' must be finite, but is inf"),
    ],
)
def test_what_is_no_finite_number_is_refused(answer, error, message):
    def own(probe: Probe) -> Any:
        return answer

    with pytest.raises(error, match=message):
        GivenObjective.of(own).measure(probe())


def test_names_directions_and_kinds_are_checked_before_anything_is_begun():
    def latency(probe: Probe) -> float:
        return 1.0

    def odd(probe: Probe) -> float:
        return 1.0

    odd.direction = "down"  # type: ignore[attr-defined]  # functions take any
    with pytest.raises(ValueError, match="must have a new name, but 'latency' is known"):
        named_objectives([latency])
    with pytest.raises(ValueError, match=r"must be a function with a name.*<lambda>"):
        named_objectives([lambda probe: 1.0])
    with pytest.raises(ValueError, match="one of minimize, maximize, but 'odd' has 'down'"):
        named_objectives([odd])
    with pytest.raises(TypeError, match=r"must be a name, a function .* but got 3"):
        named_objectives(["size", 3])
    with pytest.raises(ValueError, match="'accuracy' is the quality"):
        search_axes(tiny_task("mlp"), ["accuracy"], {"accuracy": GivenObjective.of(weight)})
    with pytest.raises(UnknownNameError, match="unknown objective 'speed'"):
        search_axes(tiny_task("mlp"), ["speed"], {})


def test_an_objective_of_the_table_may_be_handed_over_with_other_settings():
    names, own = named_objectives(["size", Server(bound_ms=20)])
    assert names == ("size", "server")
    assert vars(own["server"]) == vars(Server(bound_ms=20))
    axes, _ = search_axes(tiny_task("mlp"), names, own)
    assert [axis.column for axis in axes[1:]] == ["size_mb", "server_per_s"]


# ------------------------------------------------------------------ in a search


@pytest.mark.slow
def test_an_own_objective_is_searched_recorded_constrained_shown_and_resumed(tmp_path: Path):
    where = tmp_path / "search"

    def heaviness(probe: Probe) -> float:
        # Defined here, so it reaches the workers only because it travels.
        return probe.size_bytes / 1e3 + len(probe.request)

    found = start(
        where,
        objectives=["size", heaviness],
        constraints={"heaviness": "<= 9000"},
        budget="2 trials",
    )
    records = [record for record in found._known().records if record.measurement]
    assert records
    for record in records:
        stats = record.measurement.stats  # type: ignore[union-attr]  # those that have one
        assert stats["heaviness"].value == pytest.approx(stats["size"].value * 1e3 + 1)
    assert "heaviness" in found.front.columns
    assert found.best(objective="heaviness")["heaviness"].value <= 9000
    assert [axis.name for axis in found._known().front.axes] == ["accuracy", "size", "heaviness"]
    with pytest.raises(FolderError, match=r"handed over again: objectives=\[heaviness\]"):
        autoopt.resume(where, trained_mlp(), digits(), budget="1 trials", block=True)
    again = autoopt.resume(
        where, trained_mlp(), digits(), objectives=[heaviness], budget="1 trials", block=True
    )
    assert len(again.trials) == len(records) + 1
    assert "heaviness" in again._known().records[-1].measurement.stats  # type: ignore[union-attr]  # it has one


def test_an_objective_that_cannot_travel_is_named_and_nothing_is_begun(tmp_path: Path):
    lock = threading.Lock()

    def locked(probe: Probe) -> float:
        with lock:
            return 1.0

    with pytest.raises(SearchError, match=r"the objective 'locked' must be able to go .*lock"):
        start(tmp_path / "search", objectives=[locked])
    assert not (tmp_path / "search").exists()


@pytest.mark.slow
def test_an_objective_that_raises_is_a_failure_of_the_candidate_with_its_words(tmp_path: Path):
    def picky(probe: Probe) -> float:
        raise ArithmeticError("no figure today")

    with pytest.raises(SearchError, match="no figure today"):
        start(tmp_path / "search", objectives=[picky], budget="1 trials")


# ------------------------------------------------------------------ build time and energy


def test_build_time_is_what_the_build_noted():
    objective = load_objective("build_time")
    assert objective.measure(probe(build_seconds=1.5)).stat == Stat.exact(1.5, "s")
    with pytest.raises(RefusedError, match="was not noted"):
        objective.measure(probe())


@dataclass
class Counters:
    """Two packages, one of which is about to begin at 0 again, and a core within one."""

    root: Path
    total: int = 0

    def __post_init__(self) -> None:
        for name, limit in (("intel-rapl:0", 10**9), ("intel-rapl:1", 1000)):
            (self.root / name).mkdir(parents=True)
            (self.root / name / "max_energy_range_uj").write_text(str(limit))
        (self.root / "intel-rapl:0:0").mkdir()
        (self.root / "intel-rapl:0:0" / "energy_uj").write_text("7")
        self.spend(0)

    def spend(self, microjoules: int) -> None:
        self.total += microjoules
        (self.root / "intel-rapl:0" / "energy_uj").write_text(str(self.total))
        (self.root / "intel-rapl:1" / "energy_uj").write_text(str(self.total % 1000))


def test_energy_is_what_all_packages_count_while_requests_are_answered(tmp_path: Path):
    counters = Counters(tmp_path)

    class Hungry(Doubling):
        def __call__(self, *inputs: Any) -> Any:
            counters.spend(30)
            return super().__call__(*inputs)

    deployment = Hungry()
    # So short that the counter that turns does so once a reading at most.
    reading = Energy(tmp_path).measure(probe(deployment=deployment, seconds=0.0))
    assert reading.stat.value == pytest.approx(60e-6)
    assert reading.stat.unit == "J"
    assert reading.protocol["requests"] == energy.ROUNDS


def test_energy_is_refused_with_the_reason_where_the_machine_does_not_tell(tmp_path: Path):
    with pytest.raises(RefusedError, match="no energy counters of a processor"):
        Energy(tmp_path / "none").measure(probe())
    assert "RAPL" in (Energy(tmp_path).refuse() or "")


@pytest.mark.skipif(Energy().refuse() is None, reason="this machine tells its energy")
def test_a_search_for_energy_is_refused_before_it_begins(tmp_path: Path):
    with pytest.raises(RefusedError, match="the objective 'energy' cannot be measured here: no"):
        start(tmp_path / "search", objectives=["energy"])
    assert not (tmp_path / "search").exists()
