"""The controller over an executor that answers at once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from autoopt.controller import SearchController
from autoopt.controller.baselines import original
from autoopt.errors import SearchError
from autoopt.handle.verification import verification
from autoopt.outcome import Done, Survey
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.settings import SAMPLERS, Budget
from tests.fakes import (
    FakeExecutor,
    fake_measurement,
    history_of,
    is_executor,
    job,
    log_of,
    small_space,
    usual_answer,
)


def run(folder: Path, executor: FakeExecutor | None = None, **changes: Any):
    executor = executor or FakeExecutor()
    log = log_of(folder)
    reason = SearchController(job(folder, **changes), is_executor(executor), log).run()
    return history_of(log), reason


def storage(folder: Path) -> str:
    return f"sqlite:///{folder / 'own.sqlite'}"


def hang_after(stages: int):
    """Everything goes well until so many stages are done; the next one never ends."""
    count = iter(range(10**6))
    return lambda stage, recipe: (
        usual_answer(stage, recipe) if stage == "survey" or next(count) < stages else None
    )


def test_the_original_comes_first_then_it_in_other_runtimes_then_each_technique(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=20))
    roles = [record.role for record in history.records]
    assert roles[:3] == ["original", "baseline", "baseline"]
    assert history.records[0].recipe == original()
    order = ["original", "baseline", "uniform", "search"]
    assert roles == sorted(roles, key=order.index)
    assert set(roles) == set(order)


def test_a_warm_start_trains_no_single_steps(tmp_path) -> None:
    for name in ("cold", "warm", "plain"):
        (tmp_path / name).mkdir()
    cold, _ = run(tmp_path / "cold", budget=Budget(trials=20))
    trained = next(r.recipe for r in cold.records if r.role == "uniform"
                   and r.recipe["recovery"].option == "distill")  # fmt: skip
    singles = {r.recipe.stage_id("network") for r in cold.records if r.role == "uniform"}
    assert len(singles) > 1
    given = trained.replaced(student=("width", {"fraction": 0.25}))
    warm, _ = run(tmp_path / "warm", budget=Budget(trials=20), given=(given.to_dict(),))
    roles = [record.role for record in warm.records]
    order = ["original", "baseline", "given", "uniform", "search"]
    assert roles == sorted(roles, key=order.index)
    uniform = {r.recipe.stage_id("network") for r in warm.records if r.role == "uniform"}
    assert uniform == {original().stage_id("network")}
    assert any("single steps are not trained" in note for note in warm.notes)
    # A recipe without training says nothing about networks.
    plain = original().replaced(runtime=("onnxruntime", {}), quantization=("static_int8", {}))
    other, _ = run(tmp_path / "plain", budget=Budget(trials=20), given=(plain.to_dict(),))
    assert singles <= {r.recipe.stage_id("network") for r in other.records}


def test_no_recipe_is_measured_twice_and_every_number_is_its_own(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=25))
    assert len({record.recipe.id for record in history.records}) == len(history.records) == 25
    assert [record.number for record in history.records] == list(range(25))


def test_a_budget_in_trials_counts_the_baselines(tmp_path) -> None:
    history, reason = run(tmp_path, budget=Budget(trials=5))
    assert len(history.raw) == 5
    assert reason == "the budget in trials is spent"


def test_a_small_space_is_measured_to_its_last_point(tmp_path) -> None:
    space = small_space(
        student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
        quantization=["float32", "bfloat16"],
    )
    history, reason = run(tmp_path, space=space, budget=Budget(trials=100))
    assert {r.recipe.id for r in history.records} == {Recipe.of(p).id for p in space.points()}
    assert reason == "every point of the space that can run here was measured"


def test_the_original_is_measured_even_if_the_budget_is_too_short_for_it(tmp_path) -> None:
    history, reason = run(tmp_path, budget=Budget(seconds=1e-6))
    assert [record.role for record in history.records] == ["original"]
    assert reason == "the budget in seconds is spent"


def test_a_candidate_that_the_budget_cuts_off_is_no_record(tmp_path) -> None:
    executor = FakeExecutor(hang_after(4))
    start = time.monotonic()
    history, reason = run(tmp_path, executor, budget=Budget(seconds=2.0))
    assert 1.5 < time.monotonic() - start < 8
    assert list(history.raw) == list(history.started) == [0]
    assert executor.pending[-1].cancelled
    assert reason == "the budget in seconds is spent"


def test_an_original_that_fails_ends_the_search_with_its_failure(tmp_path) -> None:
    failure = Failure("artifact", "error", "no such operator", "the traceback")
    executor = FakeExecutor(lambda stage, _: failure if stage == "artifact" else Done(0.0))
    with pytest.raises(SearchError, match=r"no such operator\nthe traceback"):
        run(tmp_path, executor)


def test_an_original_that_failed_is_tried_again_when_the_search_is_resumed(tmp_path) -> None:
    executor = FakeExecutor(lambda *_: Failure("network", "error", "the machine was ill"))
    with pytest.raises(SearchError):
        run(tmp_path, executor)
    history, _ = run(tmp_path, budget=Budget(trials=4))
    assert len(history.raw) == 4
    assert history.raw[0].measurement is not None


def test_a_failure_is_recorded_and_its_further_stages_are_left_out(tmp_path) -> None:
    def answer(stage, recipe):
        if stage == "artifact" and recipe["quantization"].option == "bfloat16":
            return Failure(stage, "crashed", "the worker died", "its last words")
        return usual_answer(stage, recipe)

    space = small_space(quantization=["float32", "bfloat16"])
    history, _ = run(tmp_path, FakeExecutor(answer), space=space)
    failed = [record for record in history.records if record.failure]
    assert {record.recipe["quantization"].option for record in failed} == {"bfloat16"}
    assert all(record.failure.log == "its last words" for record in failed)
    assert len(history.raw) == 4


def test_a_network_that_failed_is_not_tried_in_the_other_runtimes(tmp_path) -> None:
    def answer(stage, recipe):
        if stage == "network" and not recipe.is_original:
            return Failure(stage, "timed_out", "hung")
        return usual_answer(stage, recipe)

    space = small_space(
        student={"none": {}, "width": {"fraction": [0.5]}},
        runtime=["eager", "onnxruntime", "openvino"],
    )
    history, _ = run(tmp_path, FakeExecutor(answer), space=space)
    assert len([record for record in history.records if record.failure]) == 1


def test_what_the_survey_refuses_is_never_tried(tmp_path) -> None:
    refusal = {"when": {"runtime": {"option": "openvino"}}, "reason": "not installed"}

    def answer(stage, recipe):
        if stage == "survey":
            return Done(0.0, survey=Survey((refusal,)))
        return usual_answer(stage, recipe)

    history, _ = run(tmp_path, FakeExecutor(answer), budget=Budget(trials=20))
    assert history.refusals == [refusal]
    assert all(r.recipe["runtime"].option != "openvino" for r in history.records)


def test_each_stage_has_its_own_time_limit(tmp_path) -> None:
    executor = FakeExecutor()
    run(tmp_path, executor, budget=Budget(trials=1))
    limits = job(tmp_path).settings.limits
    # The first of each: whatever is measured later has the original to go by.
    asked = {stage: timeout for stage, _, timeout in reversed(executor.asked)}
    for stage in ("network", "artifact", "deployment"):
        assert asked[stage] == limits.seconds(stage)


def test_members_of_the_front_get_their_memory_measured_at_the_end(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=8))
    assert {record.number for record in history.front.members} == set(history.memory)


def test_members_of_the_front_are_measured_three_times_one_after_the_other(tmp_path) -> None:
    executor = FakeExecutor()
    history, _ = run(tmp_path, executor, budget=Budget(trials=8))
    members = [record.number for record in history.front.members]
    assert all(len(history.again[number]) == 2 for number in members)
    deployed = [recipe.id for stage, recipe, _ in executor.asked if stage == "deployment"]
    turns = deployed[8:]
    assert len(set(turns[: len(members)])) == len(members)
    assert len(history.raw) == 8


def test_a_lucky_first_measurement_is_put_right_at_the_end(tmp_path) -> None:
    seen: set[str] = set()

    def answer(stage, recipe):
        lucky = recipe["quantization"].option == "bfloat16" and stage == "deployment"
        if not lucky or recipe.id in seen:
            return usual_answer(stage, recipe)
        seen.add(recipe.id)
        usual = fake_measurement(recipe)
        stats = {**usual.stats, "latency": usual.stats["latency"].scaled(0.8)}
        return Done(0.0, measurement=replace(usual, stats=stats))

    space = small_space(quantization=["float32", "bfloat16"])
    history, _ = run(tmp_path, FakeExecutor(answer), space=space, budget=Budget(trials=4))
    fastest = history.front.members[0]
    first, *later = (m.stats["latency"].value for m in history.measurements(fastest.number))
    assert first < 0.9 * min(later)
    assert verification(history).optimism["latency"] > 0.05


def test_what_fails_when_it_is_measured_again_is_said_and_left(tmp_path) -> None:
    count = iter(range(100))

    def answer(stage, recipe):
        if stage == "deployment" and next(count) >= 4:
            return Failure(stage, "crashed", "the worker died")
        return usual_answer(stage, recipe)

    history, reason = run(tmp_path, FakeExecutor(answer), budget=Budget(trials=4))
    assert reason == "the budget in trials is spent"
    assert not history.again
    assert any("could not be measured again" in note for note in history.notes)


def test_measuring_again_keeps_to_what_is_left_of_the_budget(tmp_path) -> None:
    hung = FakeExecutor()

    def answer(stage, recipe):
        deployed = sum(asked == "deployment" for asked, _, _ in hung.asked)
        return None if stage == "deployment" and deployed > 2 else usual_answer(stage, recipe)

    hung.answer = answer
    begun = time.monotonic()
    history, _ = run(tmp_path, hung, space=small_space(), budget=Budget(seconds=2.0))
    assert len(history.raw) == 2
    assert time.monotonic() - begun < 2.0 * 1.05 + 1.0


def test_a_single_step_that_is_not_likely_to_fit_is_left_out_and_that_is_said(tmp_path) -> None:
    def answer(stage, recipe):
        if stage == "deployment":
            return Done(40.0, measurement=fake_measurement(recipe))
        return usual_answer(stage, recipe)

    executor = FakeExecutor(answer)
    history, _ = run(tmp_path, executor, budget=Budget(seconds=30.0))
    assert [record.role for record in history.records] == ["original"]
    assert [stage for stage, _, _ in executor.asked].count("network") == 1
    assert any("were left out, because they were not likely to fit" in n for n in history.notes)


def test_a_budget_shorter_than_the_original_is_said(tmp_path) -> None:
    def answer(stage, recipe):
        time.sleep(0.2)
        if stage == "deployment":
            return Done(0.2, measurement=fake_measurement(recipe))
        return usual_answer(stage, recipe)

    history, reason = run(tmp_path, FakeExecutor(answer), budget=Budget(seconds=0.1))
    assert len(history.raw) == 1
    assert "was spent on the original alone" in reason


def test_a_candidate_that_a_killed_controller_left_is_tried_again(tmp_path) -> None:
    log = log_of(tmp_path)
    executor = FakeExecutor(hang_after(3 + 3 + 2))
    broken = threading.Thread(
        target=SearchController(job(tmp_path), is_executor(executor), log).run, daemon=True
    )
    broken.start()
    while len(history_of(log).started) < 3:
        time.sleep(0.02)
    left = history_of(log).started[2]
    # What it writes from now on would be another controller's.
    executor.answer = lambda *_: None
    events = log.read()
    other = tmp_path / "other"
    other.mkdir()
    copied = log_of(other)
    for event in events:
        copied.append(event.kind, event.payload)
    log.append("command", {"command": "stop"})
    broken.join(10)
    history, _ = run(other)
    assert left.id in {record.recipe.id for record in history.records}
    assert len({record.recipe.id for record in history.records}) == 10
    assert set(history.started) == set(history.raw)


def test_the_original_that_a_killed_controller_left_keeps_number_zero(tmp_path) -> None:
    log = log_of(tmp_path)
    plain = job(tmp_path)
    log.append(
        "opened",
        {"settings": plain.settings.to_dict(), "launched": time.time(), "pid": 1, "study": "s"},
    )
    log.append("started", {"number": 0, "recipe": original().to_dict(), "role": "original"})
    history, _ = run(tmp_path, budget=Budget(trials=3))
    assert sorted(history.raw) == [0, 1, 2]
    assert history.raw[0].role == "original"


def test_a_cut_off_candidate_keeps_its_number_to_itself(tmp_path) -> None:
    before, _ = run(tmp_path, FakeExecutor(hang_after(3 + 1)), budget=Budget(seconds=1.0))
    assert 0.0 < before.cut_off_seconds <= 1.0
    assert before.work_seconds >= before.cut_off_seconds
    history, _ = run(tmp_path, budget=Budget(seconds=1000.0, trials=4))
    stages = [s for s in history.stages if s["number"] == 1]
    assert stages
    assert 1 not in history.raw
    assert len(history.raw) == 4


def test_a_stop_that_comes_while_the_controller_starts_is_obeyed(tmp_path) -> None:
    wanted = job(tmp_path, budget=Budget(trials=50))
    log = log_of(tmp_path)
    log.append("command", {"command": "stop", "reason": "changed my mind"})
    executor = FakeExecutor(lambda stage, recipe: None)
    assert SearchController(wanted, is_executor(executor), log).run() == "changed my mind"


def test_a_stop_to_an_earlier_run_is_not_for_the_next(tmp_path) -> None:
    log_of(tmp_path).append("command", {"command": "stop"})
    time.sleep(0.01)
    history, _ = run(tmp_path, budget=Budget(trials=3))
    assert len(history.raw) == 3


def test_a_pause_costs_no_budget_and_go_on_ends_it(tmp_path) -> None:
    log = log_of(tmp_path)
    wanted = job(tmp_path, budget=Budget(seconds=2.0), space=small_space())
    log.append("command", {"command": "pause"})
    thread = threading.Thread(
        target=SearchController(wanted, is_executor(FakeExecutor()), log).run, daemon=True
    )
    thread.start()
    time.sleep(3.0)
    assert not history_of(log).raw
    log.append("command", {"command": "go_on"})
    thread.join(10)
    history = history_of(log)
    assert len(history.raw) == 2
    assert history.spent(now=time.time()) < 2.0


def test_an_extended_budget_is_used_and_shown(tmp_path) -> None:
    wanted = job(tmp_path, budget=Budget(trials=3))
    log = log_of(tmp_path)
    count = iter(range(100))

    def answer(stage, recipe):
        if next(count) == 4:
            log.append("command", {"command": "extend", "seconds": None, "trials": 4})
        return usual_answer(stage, recipe)

    SearchController(wanted, is_executor(FakeExecutor(answer)), log).run()
    history = history_of(log)
    assert len(history.raw) == 7
    assert history.settings is not None
    assert history.settings.budget.trials == 7


def test_a_resumed_search_lives_by_its_new_budget(tmp_path) -> None:
    run(tmp_path, budget=Budget(trials=3))
    history, _ = run(tmp_path, budget=Budget(trials=6))
    assert len(history.raw) == 6
    assert history.settings is not None
    assert history.settings.budget.trials == 6


def test_all_constraints_stand_on_every_complete_trial_of_the_study(tmp_path) -> None:
    def answer(stage, recipe):
        if stage == "artifact" and recipe["quantization"].option == "bfloat16":
            return Failure(stage, "error", "no")
        return usual_answer(stage, recipe)

    url = storage(tmp_path)
    changes = {"max_drop": 0.01, "constraints": {"latency": 3}, "storage": url}
    history, _ = run(tmp_path, FakeExecutor(answer), budget=Budget(trials=15), **changes)
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert len(trials) == 15
    complete = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert 0 < len(complete) < 15
    names = {str(constraint) for constraint in history.constraints}
    assert len(names) == 2
    assert all(set(trial.constraints) == names for trial in complete)
    slow = next(t for t in complete if t.user_attrs["number"] == 0)
    assert max(slow.constraints.values()) == pytest.approx(5.0)


def test_a_resume_brings_a_lost_study_back(tmp_path) -> None:
    run(tmp_path, budget=Budget(trials=4), storage=storage(tmp_path))
    (tmp_path / "own.sqlite").unlink()
    run(tmp_path, budget=Budget(trials=6), storage=storage(tmp_path))
    trials = optuna.load_study(study_name="study", storage=storage(tmp_path)).get_trials()
    assert [trial.user_attrs["number"] for trial in trials] == list(range(6))


def test_two_seeds_search_in_different_orders(tmp_path) -> None:
    orders = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        history, _ = run(folder, budget=Budget(trials=24), seed=seed)
        orders.append([record.recipe.id for record in history.records])
    assert orders[0][:5] == orders[1][:5]
    assert orders[0] != orders[1]


def test_trained_networks_are_limited_by_the_trials(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=36))
    trained = {s["key"] for s in history.stages if s.get("trained")}
    assert 1 <= len(trained) <= 6


def test_training_takes_its_share_of_a_budget_in_seconds_and_no_more(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(seconds=60.0, trials=30))
    searched = {
        stage["key"]: stage["cost"]
        for stage in history.stages
        if stage["stage"] == "network" and stage.get("trained")
    }
    assert sum(searched.values()) <= 0.45 * 60 + 12


def test_the_settings_of_the_job_are_what_the_log_holds(tmp_path) -> None:
    history, _ = run(tmp_path, budget=Budget(trials=1))
    expected = replace(job(tmp_path).settings, budget=Budget(trials=1))
    assert history.settings == expected


def test_any_sampler_of_optuna_may_choose_and_networks_are_reused(tmp_path) -> None:
    wanted = replace(
        job(tmp_path, budget=Budget(trials=30)), sampler=optuna.samplers.NSGAIISampler()
    )
    wanted = replace(wanted, settings=replace(wanted.settings, sampler="NSGAIISampler"))
    log = log_of(tmp_path)
    SearchController(wanted, is_executor(FakeExecutor()), log).run()
    recipes = [record.recipe for record in history_of(log).records if record.role == "search"]
    assert len({recipe.id for recipe in recipes}) == len(recipes) > 10
    assert len({recipe.stage_id("network") for recipe in recipes}) < len(recipes) / 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_sequence(tmp_path, sampler: str) -> None:
    orders = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        history, _ = run(folder, budget=Budget(trials=22), sampler=sampler)
        orders.append([record.recipe.id for record in history.records])
    assert orders[0] == orders[1]


def test_a_trial_says_how_noisy_its_values_are_and_a_failure_whether_its_network_is_there(
    tmp_path,
) -> None:
    def answer(stage, recipe):
        if stage == "artifact" and recipe["quantization"].option == "bfloat16":
            return Failure(stage, "error", "no")
        return usual_answer(stage, recipe)

    url = storage(tmp_path)
    run(tmp_path, FakeExecutor(answer), budget=Budget(trials=12), storage=url)
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    failed = [t for t in trials if t.state == optuna.trial.TrialState.FAIL]
    assert failed
    assert all(trial.user_attrs["network"] is True for trial in failed)
    assert trials[0].user_attrs["noise"] == pytest.approx([0.95 / 196, 8.0 / 196, 1.0 / 196])
