"""Losers are stopped in training, late bloomers are not, and what was stopped goes on."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autoopt.build import Bench
from autoopt.build.checkpoints import checkpointed
from autoopt.cache import Cache
from autoopt.controller.bars import quality_bar
from autoopt.controller.staged.hope import largest_loss
from autoopt.errors import StoppedEarlyError
from autoopt.evaluate import as_failure
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.settings import Budget
from autoopt.targets import load_target
from autoopt.techniques import TECHNIQUES, _training, load_technique
from autoopt.techniques.distill_inside import DistillFeatures
from autoopt.techniques.finetune import FineTune
from autoopt.watch import Watch, best_possible
from tests.benchmarks import early_stop
from tests.fakes import FakeExecutor, small_space, usual_answer
from tests.small_searches import narrow, start
from tests.technique_models import task_of
from tests.test_controller_controller import run
from tests.test_controller_staged import followed, staged, values


def watch(bar: float | None) -> Watch:
    return Watch(bar, lambda: None, lambda _: None)


# ------------------------------------------------------------------ the rule


def test_the_bound_is_the_best_so_far_and_the_largest_of_the_last_gains_for_each_epoch_left() -> (
    None
):
    assert best_possible([0.1, 0.6, 0.7, 0.75, 0.76], 8) == pytest.approx(0.76 + 3 * 0.1)
    assert best_possible([0.8, 0.7, 0.6], 10) == 0.8
    assert best_possible([0.5], 10) == 0.5


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [([], 6), ([0.1], 6), ([0.1, 0.1], 12), ([0.1, 0.1, 0.1], 3)],
    ids=["untrained", "one-epoch", "first-third", "at-its-end"],
)
def test_nothing_is_given_up_too_early_or_when_it_is_done(scores: list[float], epochs: int) -> None:
    assert not watch(0.9).hopeless(scores, epochs)


def test_a_loser_is_hopeless_and_a_late_bloomer_within_the_bound_is_not() -> None:
    assert watch(0.9).hopeless([0.1, 0.12, 0.13, 0.13], 12)
    assert not watch(0.9).hopeless([0.1, 0.1, 0.1, 0.2], 12)
    assert not watch(None).hopeless([0.1, 0.1, 0.1, 0.1], 12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(1, 20))
def test_no_curve_whose_gains_shrink_ends_above_the_bound(falls: list[float], left: int) -> None:
    gains = sorted(falls, reverse=True)
    curve = list(itertools.accumulate([0.0, *gains]))
    for done in range(2, len(curve)):
        assert best_possible(curve[:done], len(curve)) >= curve[-1] - 1e-9
        assert best_possible(curve[:done], len(curve) + left) >= curve[-1] - 1e-9


# ------------------------------------------------------------------ the training


def counted(monkeypatch: Any) -> list[int]:
    """Numbers of the epochs that are trained from now on."""
    plain, numbers = _training.Course.epoch, list[int]()

    def epoch(self: Any, number: int) -> None:
        numbers.append(number)
        plain(self, number)

    monkeypatch.setattr(_training.Course, "epoch", epoch)
    return numbers


@pytest.fixture
def patient(monkeypatch: Any) -> None:
    """No training ends because it has reached enough or stagnates."""
    monkeypatch.setattr(_training, "REACHED", 100)
    monkeypatch.setattr(_training, "PATIENCE", 100)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    mine, other = first.state_dict(), second.state_dict()
    return all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("technique", [FineTune(epochs=5), DistillFeatures(epochs=5)], ids=repr)
def test_what_is_gone_on_with_ends_as_if_it_had_never_been_stopped(
    technique: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    task = task_of("residual")
    whole = technique.apply(task.model, task)
    epochs, cache = counted(monkeypatch), Cache(tmp_path)
    with pytest.raises(StoppedEarlyError, match=r"after epoch 2 of 5: at most .* but below 9 no"):
        technique.apply(task.model, task, checkpointed(cache, "k", 9.0))
    assert epochs == [0, 1]
    again = technique.apply(task.model, task, checkpointed(cache, "k", None))
    assert epochs == [0, 1, 2, 3, 4]
    assert same(whole, again)


@pytest.mark.usefixtures("patient")
def test_a_longer_training_goes_on_and_a_shorter_one_begins_anew(
    tmp_path: Path, monkeypatch: Any
) -> None:
    task, cache = task_of("plain"), Cache(tmp_path)
    with pytest.raises(StoppedEarlyError):
        FineTune(epochs=5).apply(task.model, task, checkpointed(cache, "k", 9.0))
    epochs = counted(monkeypatch)
    FineTune(epochs=3).apply(task.model, task, checkpointed(cache, "k", None))
    assert epochs == [0, 1, 2]
    epochs.clear()
    FineTune(epochs=7).apply(task.model, task, checkpointed(cache, "k", None))
    assert epochs == [2, 3, 4, 5, 6]


@pytest.mark.usefixtures("patient")
def test_what_was_hopeless_and_still_is_is_not_trained_a_step_further(
    tmp_path: Path, monkeypatch: Any
) -> None:
    task, watched = task_of("plain"), checkpointed(Cache(tmp_path), "k", 9.0)
    with pytest.raises(StoppedEarlyError) as first:
        FineTune(epochs=5).apply(task.model, task, watched)
    epochs = counted(monkeypatch)
    with pytest.raises(StoppedEarlyError) as second:
        FineTune(epochs=5).apply(task.model, task, watched)
    assert (epochs, str(first.value)) == ([], str(second.value))


def test_a_training_that_keeps_the_bar_is_as_without_one(tmp_path: Path) -> None:
    task = task_of("residual")
    plain = FineTune(epochs=4).apply(task.model, task)
    assert same(plain, FineTune(epochs=4).apply(task.model, task, watch(0.0)))


def test_every_recovery_that_says_so_can_be_watched() -> None:
    classes = {name: load_technique("recovery", name) for name in TECHNIQUES["recovery"]}
    watched = {name for name, found in classes.items() if getattr(found, "watched", False)}
    assert watched == {
        "finetune", "distill", "distill_logits", "distill_features", "distill_attention"
    }  # fmt: skip


def test_the_benchmark_counts_the_epochs_that_were_trained() -> None:
    task, technique, student = next(early_stop.trainings())
    whole, barred = early_stop.watched(None), early_stop.watched(9.0)
    technique.apply(student, task, whole)
    with pytest.raises(StoppedEarlyError):
        technique.apply(student, task, barred)
    assert 2 == barred.count.epochs < whole.count.epochs <= technique.epochs


# ------------------------------------------------------------------ the workplace


def recipe(epochs: int) -> Recipe:
    return Recipe.of(
        {"student": ("width", {"fraction": 0.5}), "recovery": ("finetune", {"epochs": epochs})}
    )


@pytest.mark.usefixtures("patient")
def test_a_network_that_was_stopped_is_not_there_and_is_finished_when_it_is_wanted_again(
    tmp_path: Path,
) -> None:
    task, target = task_of("residual"), load_target("cpu")
    bench = Bench(task, target, Cache(tmp_path / "one"))
    with pytest.raises(StoppedEarlyError) as raised:
        bench.build_network(recipe(4), bar=9.0)
    assert as_failure("network", raised.value).kind == "stopped"
    assert not bench.holds_network(recipe(4))
    assert bench.build_network(recipe(4), bar=0.0).trained
    other = Bench(task, target, Cache(tmp_path / "other"))
    other.build_network(recipe(4))
    assert same(bench.network(recipe(4)), other.network(recipe(4)))


@pytest.mark.usefixtures("patient")
def test_a_longer_recovery_goes_on_from_the_checkpoint_of_a_shorter(
    tmp_path: Path, monkeypatch: Any
) -> None:
    bench = Bench(task_of("residual"), load_target("cpu"), Cache(tmp_path))
    with pytest.raises(StoppedEarlyError):
        bench.build_network(recipe(4), bar=9.0)
    epochs = counted(monkeypatch)
    bench.build_network(recipe(6))
    assert epochs == [2, 3, 4, 5]


# ------------------------------------------------------------------ the bar

TABLE = hnp.arrays(float, (5, 3), elements=st.integers(0, 4).map(float))


@given(TABLE, TABLE, st.integers(0, 2))
def test_beyond_the_largest_loss_every_completion_is_dominated_and_below_it_one_is_not(
    hoped: Any, front: Any, quality: int
) -> None:
    def dominated(value: float) -> bool:
        points = hoped.copy()
        points[:, quality] = value
        return all(any((f <= p).all() and (f < p).any() for f in front) for p in points)

    loss = largest_loss(hoped, front, quality)
    if np.isinf(loss):
        assert not dominated(1e9)
    else:
        assert dominated(loss + 0.5)
        assert not dominated(loss - 0.5)


WIDE = small_space(
    student={"none": {}, "width": {"fraction": [0.25, 0.375, 0.5]}},
    recovery=["none", "finetune"],
    quantization=["float32", "bfloat16"],
    runtime=["eager", "onnxruntime", "openvino"],
)


def test_what_falls_below_the_bar_of_the_front_is_dominated_in_every_completion() -> None:
    """Whatever quality a network had: the truth of the other axes is that of the fake machine."""
    search = staged(WIDE)
    observed = np.array([values(recipe) for recipe in followed(search, 30)])
    every = [Recipe.of(point) for point in WIDE.points()]
    barred = 0
    for network in {recipe.stage_id("network"): recipe for recipe in every}.values():
        loss = search.largest_loss(network)
        if np.isinf(loss):
            continue
        barred += 1
        key = network.stage_id("network")
        for recipe in every:
            if recipe.stage_id("network") == key:
                point = np.array([loss + 1e-9, *values(recipe)[1:]])
                assert (observed <= point + 1e-9).all(axis=1).any()
    assert barred


def test_asking_for_the_bar_changes_no_decision() -> None:
    def decided(*, asks: bool) -> list[Recipe]:
        search, found = staged(WIDE), []
        for recipe in followed(search, 25):
            if asks:
                search.largest_loss(recipe)
            found.append(recipe)
        return found

    assert decided(asks=True) == decided(asks=False)


def test_of_a_search_that_knows_nothing_the_bar_is_nowhere() -> None:
    assert np.isinf(staged(WIDE).largest_loss(Recipe.of({})))


SPACE = small_space(
    student={"none": {}, "width": {"fraction": [0.25, 0.375, 0.5]}},
    recovery=["none", "distill"],
    quantization=["float32", "bfloat16"],
    runtime=["eager", "onnxruntime"],
)


@pytest.mark.parametrize("sampler", ["tpe", "staged"])
def test_networks_of_the_search_are_held_to_the_bar_and_those_that_always_run_are_not(
    tmp_path: Path, sampler: str
) -> None:
    executor = FakeExecutor()
    history, _ = run(
        tmp_path, executor, space=SPACE, budget=Budget(trials=60), max_drop=0.03, sampler=sampler
    )
    roles = {record.recipe.stage_id("network"): record.role for record in reversed(history.records)}
    barred = {number.stage_id("network"): bar for number, bar in executor.bars if bar is not None}
    assert barred
    assert {roles[network] for network in barred} == {"search"}
    asked = quality_bar(history)
    assert asked is not None
    # 0.95 less 0.03, and half of the interval of 1 %.
    assert asked == pytest.approx(0.95 - 0.03 - 0.0095)
    assert min(barred.values()) == pytest.approx(asked) or sampler == "staged"
    assert min(barred.values()) >= asked - 1e-12


def test_without_a_bound_on_the_quality_there_is_no_bar(tmp_path: Path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=4), constraints={"latency": "<= 5"})
    assert quality_bar(history) is None


def test_a_stopped_network_is_a_record_and_is_not_tried_in_other_completions(
    tmp_path: Path,
) -> None:
    def answer(stage: Any, recipe: Recipe) -> Any:
        if stage == "network" and recipe["student"].settings.get("fraction") == 0.25:
            return Failure("network", "stopped", "stopped early after epoch 2 of 6")
        return usual_answer(stage, recipe)

    history, _ = run(tmp_path, FakeExecutor(answer), space=SPACE, budget=Budget(trials=100))
    stopped = [record for record in history.records if record.failure]
    networks = [record.recipe.stage_id("network") for record in stopped]
    assert len(networks) == len(set(networks)) > 0


def test_a_real_search_gives_up_what_cannot_matter_and_says_why(tmp_path: Path) -> None:
    space = narrow(
        student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
        recovery=["none", "distill"],
        quantization=["float32"],
        runtime=["eager"],
    )
    bounds = {"accuracy": ">= 1.5"}
    search = start(tmp_path / "search", space=space, budget="14 trials", constraints=bounds)
    failed = [r.failure for r in search._known().records if r.failure and r.role == "search"]
    said = [str(failure) for failure in failed if failure.kind == "stopped"]
    assert said
    for text in said:
        assert re.search(r"stopped early after epoch \d+ of (6|12): at most .* is in reach", text)
