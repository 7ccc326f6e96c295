"""A strategy and a search explained."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from torch import nn

import autoopt
from autoopt.controller import importances
from autoopt.controller.job import LOG
from autoopt.errors import ArtifactError, DataError, FolderError, SearchError
from autoopt.handle.ablation import (
    FOLDER,
    attempted,
    measure_missing,
    steps_to,
    tried,
    with_records,
)
from autoopt.handle.by_place import class_rows
from autoopt.handle.explain import task_given
from autoopt.handle.explanation import Explanation
from autoopt.handle.export import FORMATS
from autoopt.handle.next_steps import next_steps
from autoopt.handle.on_test import _paired, on_test
from autoopt.handle.search_explanation import explain_search
from autoopt.handle.strategy import Given, Strategy
from autoopt.measurement import Stat
from autoopt.panel.messages import Objective
from autoopt.panel.steps import StepRow, steps_svg
from autoopt.recipe import Recipe
from autoopt.record import Failure, FailureKind
from autoopt.task import make_task
from autoopt.task.form import Form
from tests.record_builds import AXES, SMALL, Story, failed, measured
from tests.small_searches import (
    digits,
    finished_search,
    images,
    narrow,
    start,
    trained_cnn,
    trained_mlp,
    until,
)

# ------------------------------------------------------------------ the way to a strategy


def test_the_way_goes_slot_by_slot_and_ends_at_the_recipe():
    steps = steps_to(SMALL)
    assert [step.slot for step in steps] == [
        "original", "student", "recovery", "quantization", "runtime", "parallel"
    ]  # fmt: skip
    assert steps[0].recipe == Recipe.of({})
    assert steps[-1].recipe == SMALL
    assert steps[1].choice == "width 0.5"
    assert len(steps_to(Recipe.of({}))) == 1


def test_training_for_a_precision_is_one_step_with_it():
    qat = Recipe.of({"recovery": ("qat", {"bits": 8, "epochs": 1}), "runtime": ("openvino", {})})
    assert [step.slot for step in steps_to(qat)] == ["original", "recovery", "runtime"]


def test_records_of_both_logs_are_on_one_scale():
    main, side = Story(), Story()
    main.record(measured(0, 0.9, 10, 4, reference_ms=10, role="original"))
    main.record(measured(1, 0.8, 2, 1, recipe=SMALL, reference_ms=10))
    middle = steps_to(SMALL)[1].recipe
    side.record(measured(0, 0.9, 20, 4, reference_ms=20, role="original"))
    side.record(measured(1, 0.85, 10, 2, recipe=middle, reference_ms=20))
    steps = with_records(steps_to(SMALL), main.history, side.history)
    found = steps[1].record
    assert found is not None
    # The machine was half as fast when it was measured.
    assert found.stat("latency") == Stat.exact(5.0, "ms")
    assert found.stat("size") == Stat.exact(2.0, "MB")
    assert steps[-1].record == main.history.records[1]
    assert steps[2].record is None


@pytest.mark.parametrize("kind", ["stopped", "over_cap", "timed_out", "crashed", "out_of_memory"])
def test_what_a_search_gave_up_says_nothing_of_the_recipe(kind):
    told, beside = Story(), Story()
    told.record(measured(0, 0.9, 10, 4, role="original"))
    told.record(replace(failed(1), outcome=Failure("network", kind, "given up after 1 epoch")))
    assert tried(SMALL, told.history) is None
    assert with_records(steps_to(SMALL), told.history)[-1].record is None
    # Once it was measured beside the search, that counts.
    beside.record(measured(1, 0.8, 2, 1, recipe=SMALL))
    assert tried(SMALL, told.history, beside.history) == beside.history.records[0]


def test_beside_a_search_only_a_refusal_is_a_last_word():
    told = Story()
    kinds: list[tuple[FailureKind, bool]] = [
        ("refused", True), ("error", False), ("crashed", False)
    ]  # fmt: skip
    for kind, settled in kinds:
        beside = Story()
        failure = Failure("network", kind, "why")
        beside.record(replace(failed(1), outcome=failure))
        assert (tried(SMALL, told.history, beside.history) is not None) == settled
        # What happened the last time is said all the same.
        found = attempted(SMALL, told.history, beside.history)
        assert found is not None
        assert found.failure == failure
    told.record(replace(failed(1), outcome=Failure("network", "error", "why")))
    assert tried(SMALL, told.history) == told.history.records[0]


# ------------------------------------------------------------------ the test part


class Answers:
    """Stands for a loaded artefact."""

    def __init__(self, outputs: np.ndarray) -> None:
        self._outputs, self._place = outputs, 0

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        start = self._place
        self._place += len(arrays[0])
        return self._outputs[start : self._place]


def test_classes_groups_and_disagreement_are_counted_on_the_same_samples():
    task = make_task(trained_mlp(), digits(), threads=1)
    wanted = task.test.targets().numpy()
    right = np.eye(10, dtype=np.float32)[wanted] * 9
    mine = right.copy()
    mine[:6] = np.roll(mine[:6], 1, axis=1)  # six answers of another class
    found = on_test(task, Answers(mine), Answers(right), None)  # type: ignore[arg-type]  # a fake
    assert found.samples == len(wanted)
    assert found.quality.value == pytest.approx(1 - 6 / len(wanted))
    assert found.original.value == 1
    assert found.disagreement == pytest.approx(6 / len(wanted))
    assert sorted(row["sample"] for row in found.examples) == list(range(6))
    assert all(row["original"] == row["target"] != row["this"] for row in found.examples)
    assert [row["class"] for row in found.groups] == list(range(10))
    assert sum(row["samples"] for row in found.groups) == len(wanted)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-6 / len(wanted))
    assert found.difference.low < found.difference.value < found.difference.high

    even = np.arange(len(wanted)) % 2
    by_group = on_test(task, Answers(mine), Answers(right), even)  # type: ignore[arg-type]  # a fake
    assert [row["group"] for row in by_group.groups] == [0, 1]
    with pytest.raises(DataError, match="one value for each sample of the test part"):
        on_test(task, Answers(mine), Answers(right), even[:3])  # type: ignore[arg-type]  # a fake


def test_two_that_never_differ_are_not_known_to_be_the_same():
    right = np.ones(100, bool)
    found = _paired(right, right)
    assert found.value == 0
    # Agresti and Min: half a sample more in each cell.
    assert found.high == pytest.approx(1.96 / 102)
    assert found.low == -found.high
    # As of their formula for b = 3, c = 1, n = 50.
    mine, other = np.zeros(50, bool), np.zeros(50, bool)
    mine[:3], other[3] = True, True
    found = _paired(mine, other)
    assert found.value == pytest.approx(2 / 50)
    half = 1.96 / 52 * (5 - 4 / 52) ** 0.5
    assert (found.low, found.high) == pytest.approx((2 / 52 - half, 2 / 52 + half))
    all_lost = _paired(np.zeros(2, bool), np.ones(2, bool))
    assert all_lost.low == -1.0 <= all_lost.value < all_lost.high


def by_group(groups: Any) -> tuple[dict[str, Any], ...]:
    """Return what is said of the test part of the digits by these groups."""
    task = make_task(trained_mlp(), digits(), threads=1)
    right = np.eye(10, dtype=np.float32)[task.test.targets().numpy()]
    return on_test(task, Answers(right), Answers(right), groups).groups  # type: ignore[arg-type]  # fakes


def test_samples_without_a_group_are_one_of_their_own():
    count = len(make_task(trained_mlp(), digits(), threads=1).test)
    column = np.arange(count) % 3 * 1.0
    column[column == 2] = np.nan
    rows = by_group(column)
    assert [row["group"] for row in rows] == [0.0, 1.0, "unknown"]
    assert sum(row["samples"] for row in rows) == count
    words = pd.Series(["b", None, "a", pd.NA] * count, name="site")[:count]
    rows = by_group(words)
    assert [row["site"] for row in rows] == ["a", "b", "unknown"]
    assert sum(row["samples"] for row in rows) == count
    days = pd.to_datetime(pd.Series(["2026-01-02", "2026-01-01", None] * count))[:count]
    assert [str(row["group"])[:10] for row in by_group(days)] == [
        "2026-01-01", "2026-01-02", "unknown"
    ]  # fmt: skip
    assert len(by_group(iter(column))) == 3
    mixed = by_group([*["x", 1] * (count // 2), *["x"] * (count % 2)])
    assert {row["group"] for row in mixed} == {"x", 1}


@pytest.mark.parametrize("groups", [3, "abc", [[1, 2]]])
def test_groups_that_are_no_column_are_refused(groups):
    with pytest.raises(DataError, match="`groups` must hold one value for each sample"):
        by_group(groups)


def test_classes_of_places_are_counted_place_by_place():
    truth = np.zeros((40, 6, 5), np.int64)
    truth[:, :2] = 1
    truth[:10, 5] = 2
    truth[0, 0, 0] = -100  # not counted
    inputs = np.random.default_rng(0).standard_normal((40, 1, 6, 5)).astype(np.float32)
    network = nn.Conv2d(1, 3, 3, padding=1).eval()
    task = make_task(network, (inputs, truth), request_size=4, threads=1)
    assert task.form.axis == 1
    wanted = task.test.targets().numpy()
    right = np.moveaxis(np.eye(3, dtype=np.float32)[np.where(wanted < 0, 0, wanted)], -1, 1) * 9
    mine = right.copy()
    mine[:, :, 0] = np.roll(mine[:, :, 0], 1, axis=1)  # one of the two rows of class 1
    found = on_test(task, Answers(mine), Answers(right), None)  # type: ignore[arg-type]  # a fake
    rows = {row["class"]: row for row in found.groups}
    assert list(rows) == sorted(set(wanted[wanted >= 0].tolist()))
    assert sum(row["places"] for row in rows.values()) == (wanted >= 0).sum()
    assert rows[1]["samples"] == len(wanted)
    assert rows[1]["this"].value == pytest.approx(0.5, abs=0.02)
    assert rows[1]["original"].value == rows[0]["this"].value == 1
    assert rows[0]["this"].low < 1, "a few samples that are right are no proof"
    assert rows[1]["this"].low < rows[1]["this"].value < rows[1]["this"].high


def test_tokens_are_counted_where_they_are_foretold():
    truth = np.array([[5, 1, 2, 1], [5, 2, 2, -100], [5, 1, 1, 1]])
    outputs = np.zeros((3, 4, 6), np.float32)
    outputs[:, :3, 1] = 1  # always says 1; what is said at the last place counts nowhere
    form = Form("tokens", 2, shift=1)
    rows = class_rows(form, truth, outputs, outputs, 10)
    assert [(row["class"], row["places"], row["this"].value) for row in rows] == [
        (1, 5, 1.0), (2, 3, 0.0)
    ]  # fmt: skip
    assert [row["class"] for row in class_rows(form, truth, outputs, outputs, 1)] == [1]
    assert class_rows(Form("values"), truth, outputs, outputs, 10) == []
    assert class_rows(Form("classes", 1), truth[:, 0], outputs[:, 0], outputs[:, 0], 10) == []


def test_values_are_compared_by_their_distance():
    x, _ = digits()
    y = x[:, :1] * 2 + 1
    task = make_task(trained_mlp_for_values(), (x, y), threads=1)
    answers = np.random.default_rng(0).standard_normal((len(task.test), 1)).astype(np.float32)
    found = on_test(task, Answers(answers + 1), Answers(answers), None)  # type: ignore[arg-type]  # a fake
    assert found.difference is None
    assert found.groups == ()
    assert found.disagreement == pytest.approx(1 / answers.std(), rel=1e-3)


def trained_mlp_for_values() -> object:
    return nn.Linear(64, 1)


# ------------------------------------------------------------------ words and picture


def explanation() -> Explanation:
    told = Story()
    told.record(measured(0, 0.9, 10, 4, role="original"))
    told.record(measured(1, 0.8, 2, 1, recipe=SMALL))
    steps = with_records(steps_to(SMALL), told.history)
    broken = replace(steps[3], record=failed(7, steps[3].recipe))
    return Explanation("<title>", ("it is & fast",), (*steps[:3], broken, *steps[4:]), (), AXES)


def test_an_explanation_is_text_table_and_page_with_everything_escaped():
    found = explanation()
    assert "it is & fast" in repr(found)
    page = found._repr_html_()
    assert "&lt;title&gt;" in page
    assert "it is &amp; fast" in page
    assert "<svg" in page
    table = found.ablation
    assert list(table.index) == [step.slot for step in found.steps]
    assert table.loc["parallel", "latency_ms"] == 2
    assert table.loc["quantization", "note"] == "not by itself: killed by signal 9"
    assert table.loc["student", "note"] == "not measured"


def test_the_picture_draws_what_was_measured_and_says_what_was_not():
    picture = explanation().picture
    assert picture.count('<rect class="ao-accent"') == 2 * 2  # latency and size of both
    assert picture.count("<circle") == 2
    assert "not by itself: killed by signal 9" in picture
    # Ten milliseconds became two, four megabytes one.
    assert "÷ 5.0</tspan>" in picture
    assert "÷ 4.0</tspan>" in picture
    none = steps_svg([StepRow(name="a<b", values={}, missing="")], [])
    assert "a&lt;b" in none
    objective = Objective(name="size", label="size", unit="MB", direction="minimize")
    assert steps_svg([], [objective]).endswith("</svg>")


# ------------------------------------------------------------------ a search


def searched() -> Story:
    """Twelve networks of which the narrow ones are fast and wrong."""
    told = Story(max_drop=0.05)
    told.record(measured(0, 0.9, 10, 4, role="original"))
    told.record(measured(1, 0.9, 8, 4, recipe=Recipe.of({"runtime": ("openvino", {})}),
                         role="uniform"))  # fmt: skip
    fractions = [0.25, 0.375, 0.5, 0.625]
    for number, (runtime, fraction) in enumerate(
        ((r, f) for r in ("eager", "onnxruntime", "openvino") for f in fractions), start=2
    ):
        student = ("width", {"fraction": fraction})
        recipe = Recipe.of({"student": student, "runtime": (runtime, {})})
        told.record(measured(number, 0.8 + fraction / 7, 10 * fraction, fraction, recipe=recipe))
    told.record(measured(14, 0.9, 9, 4, recipe=Recipe.of({"runtime": ("onnxruntime", {})}),
                         role="uniform"))  # fmt: skip
    told.record(failed(20))
    told.record(failed(21, SMALL.replaced(runtime=("eager", {}))))
    return told


def test_what_mattered_is_found_by_optunas_evaluator():
    rows = importances(searched().history)
    slots = {row["slot"]: float(row["importance"]) for row in rows
             if row["objective"] == "size" and not row["setting"]}  # fmt: skip
    assert slots["student"] == max(slots.values())
    assert sum(slots.values()) == pytest.approx(1)


def test_a_search_says_what_failed_whether_it_was_worth_it_and_what_is_next():
    found = explain_search(searched().history)
    (row,) = found.failed.to_dict("records")
    assert (row["count"], row["kind"], row["stage"]) == (2, "crashed", "artifact")
    assert "student width" in row["common"]
    assert found.baselines.loc[0, "role"] == "original"
    said = repr(found)
    assert "Within the bounds the search beat them" in said
    assert "What failed" in said
    assert "killed by signal 9" in found._repr_html_()


def test_a_search_that_did_not_beat_a_single_step_says_so():
    told = Story(max_drop=0.05)
    told.record(measured(0, 0.9, 10, 4, role="original"))
    told.record(measured(1, 0.9, 2, 4, recipe=Recipe.of({"runtime": ("openvino", {})}),
                         role="uniform"))  # fmt: skip
    told.record(measured(2, 0.9, 5, 4, recipe=SMALL))
    words = " ".join(explain_search(told.history).words)
    assert "did not beat" in words
    assert "Too few trials" in words
    assert next_steps(told.history, ())[0].startswith("Search longer")


def test_only_a_search_that_has_begun_can_be_explained():
    from autoopt.history import History

    with pytest.raises(FolderError, match="must have begun"):
        explain_search(History())


# ------------------------------------------------------------------ the real thing


@pytest.fixture
def copied(tmp_path: Path) -> autoopt.Search:
    shutil.copytree(finished_search().folder, tmp_path / "search")
    return autoopt.open(tmp_path / "search")


@pytest.mark.slow
def test_a_strategy_is_explained_from_its_log_and_completed_by_measuring(copied):
    strategy = max(
        copied.strategies, key=lambda s: sum(step.record is None for step in
                                             with_records(steps_to(s.recipe), s.history))
    )  # fmt: skip
    alone = strategy.explain()
    assert alone.test is None
    assert list(alone.layers["layer"])
    assert any("explain(model, data)" in line for line in alone.missing)

    found = strategy.explain(trained_cnn(), images())
    assert all(step.record is not None for step in found.steps)
    assert found.missing == ()
    last = found.ablation.iloc[-1]
    assert last["number"] == strategy.number
    for axis in copied._known().front.axes:
        assert last[axis.column] == strategy[axis.name].value
    assert found.test is not None
    assert strategy.measurement.test is not None
    assert found.test.quality.value == pytest.approx(strategy.measurement.test.value, abs=1e-9)
    # Another look measures nothing again.
    before = (copied.folder / FOLDER).exists() and len(autoopt.open(copied.folder / FOLDER).trials)
    strategy.explain(trained_cnn(), images())
    after = (copied.folder / FOLDER).exists() and len(autoopt.open(copied.folder / FOLDER).trials)
    assert before == after
    with pytest.raises(FolderError, match="its own model and data"):
        strategy.explain(trained_mlp(), digits())
    assert len(copied.trials) == len(finished_search().trials)


@dataclass(frozen=True)
class Moody:
    """A pruning that works only with the file there, and is the person's own."""

    slot = "pruning"
    settings: ClassVar[dict[str, Any]] = {}
    path: ClassVar[str] = ""

    def refuse(self, task, target):
        return None

    def apply(self, model, task):
        if not Path(self.path).exists():
            raise RuntimeError("in a mood")
        return model


@pytest.mark.slow
def test_a_failure_beside_a_search_is_no_last_word_and_its_bounds_do_not_count(tmp_path):
    @dataclass(frozen=True)
    class Here(Moody):
        path: ClassVar[str] = str(tmp_path / "there")

    search = start(tmp_path / "search", budget="1 trial", techniques={"moody": Here},
                   constraints={"size": 1e-4}, max_drop=0.0)  # fmt: skip
    recipe = Recipe.of({"pruning": ("moody", {}), "recovery": ("finetune", {"epochs": 1})})
    history = search._known()
    bare = Strategy(measured(1, 0.9, 1, 1, recipe=recipe), history, search.folder)
    with pytest.raises(FolderError, match=r"handed over again: techniques=\{'moody': \.\.\.\}"):
        task_given(bare, Given(trained_mlp(), digits()))
    again = {"techniques": {"moody": Here}}
    task, own = task_given(bare, Given(trained_mlp(), digits(), again=again))
    assert task is not None
    side = measure_missing(search.folder, history, [recipe], task, own)
    assert tried(recipe, history, side) is None
    failure = side.records[-1].failure
    assert failure is not None
    assert "in a mood" in failure.message
    (tmp_path / "there").touch()
    side = measure_missing(search.folder, history, [recipe], task, own)
    found = tried(recipe, history, side)
    assert found is not None
    assert found.measurement is not None
    assert [record.recipe for record in side.records] == [Recipe.of({}), recipe, recipe]


@pytest.mark.slow
def test_nothing_is_measured_beside_a_search_that_still_runs(tmp_path):
    search = start(tmp_path / "search", budget="200 trials", objectives=["latency"], block=False,
                   space=narrow(parallel=["default", "tuned"], runtime=["eager"]))  # fmt: skip
    until(lambda: len(search.strategies) >= 2, "two candidates")
    strategy = search.pick(0)
    assert strategy.explain().test is None
    with pytest.raises(SearchError, match="still runs, and measuring beside it would spoil"):
        strategy.explain(trained_mlp(), digits())
    with pytest.raises(SearchError, match=r"wait\(\) for its end, stop\(\) or pause\(\) it"):
        strategy.export(tmp_path / "export", format="onnx", model=trained_mlp(), data=digits())
    assert not (tmp_path / "export").exists()
    search.stop()
    search.wait(60)
    assert strategy.explain(trained_mlp(), digits()).test is not None


@pytest.mark.slow
def test_an_export_in_another_format_is_explained_with_what_it_was_given(copied, tmp_path):
    known = {record.recipe for record in copied._known().records}
    strategy, wanted = next(
        (s, name) for s in copied.strategies for name, (runtime, *_) in FORMATS.items()
        if s.recipe["quantization"].option == "float32"
        and s.recipe.replaced(runtime=(runtime, {})) not in known
    )  # fmt: skip
    given: dict[str, Any] = {"model": trained_cnn(), "data": images()}
    folder = strategy.export(tmp_path / "new", format=wanted, **given)
    report = (folder / "report.html").read_text()
    assert "On the test part" in report
    assert "not measured;" not in report
    # All of it lies beside the search, and travels with it.
    assert [item.name for item in (copied.folder / FOLDER).iterdir() if item.name == FOLDER] == []
    with zipfile.ZipFile(copied.pack(tmp_path / "sent.zip")) as archive:
        archive.extractall(tmp_path / "sent")
    with sqlite3.connect(tmp_path / "sent" / "search" / LOG) as log:  # no such cache there
        log.execute("UPDATE events SET payload=replace(payload, ?, '/nowhere')",
                    [copied.settings.cache])  # fmt: skip
    sent = autoopt.open(tmp_path / "sent" / "search")
    again = sent.pick(strategy.number)
    assert [step.record for step in again.explain().steps] == [
        step.record for step in strategy.explain().steps
    ]
    assert sent.settings.cache == "/nowhere"
    assert again.export(tmp_path / "again", format=wanted).is_dir()


@pytest.mark.slow
def test_what_cannot_be_written_is_refused_before_anything_is_built(copied, tmp_path, monkeypatch):
    def built(*_: Any) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr("autoopt.handle.export.in_format", built)
    monkeypatch.setattr("autoopt.handle.export.explain_strategy", built)
    strategy = copied.pick(0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    given: dict[str, Any] = {"format": "onnx", "model": trained_cnn(), "data": images()}
    with pytest.raises(FolderError, match="something else than an export"):
        strategy.export(tmp_path / "mine", **given)
    with pytest.raises(ArtifactError, match="which has 10"):
        strategy.export(tmp_path / "new", labels=["a", "b"], **given)
    with pytest.raises(ArtifactError, match="`explanation` must be that of what is exported"):
        strategy.export(tmp_path / "new", explanation=explanation())
    with pytest.raises(ArtifactError, match="`explanation` must be that of what is exported"):
        strategy.export(tmp_path / "new", explanation=strategy.explain(), **given)
    with pytest.raises(ArtifactError, match="plain values"):
        strategy.export(tmp_path / "new", preprocessing=object(), **given)


@pytest.mark.slow
def test_the_layers_that_were_kept_and_are_sensitive_are_named(copied):
    whole = [s for s in copied.strategies if s.recipe["quantization"].option == "static_int8"]
    found = whole[0].explain(trained_cnn(), images())
    assert found.sensitivity is not None
    assert set(found.sensitivity) == {"0", "4", "8"}
    assert "sensitivity" in found.layers
    assert any(line.startswith("Most sensitive") for line in found.words)
