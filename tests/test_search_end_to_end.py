"""One finished search, looked at from every side, and searches over other kinds of data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import nn

import autoopt
from autoopt.errors import ConstraintError, SearchError
from tests.small_searches import (
    REPOSITORY,
    alive,
    cnn,
    digits,
    family,
    finished_search,
    fit,
    history,
    images,
    mlp,
    narrow,
    start,
    trained_cnn,
)


def test_a_finished_search_says_what_it_did() -> None:
    status = finished_search().status
    assert status.state == "finished"
    assert (status.trials, status.trials_total) == (8, 8)
    assert status.networks_trained == 0
    assert status.artifacts_built >= 4
    assert status.seconds_elapsed > 1
    assert status.seconds_left is None
    assert status.now == ""
    assert "×" in status.best
    assert status.message == "the budget in trials is spent"
    assert str(status).startswith("Finished · 8/8 trials")


def test_tables_carry_units_in_the_names_of_their_columns() -> None:
    search = finished_search()
    assert {"strategy", "accuracy", "latency_ms", "size_mb", "speedup", "test_accuracy"} <= set(
        search.front.columns
    )
    wanted = {"latency_ms_low", "latency_ms_high", "network_s", "deployment_s", "runtime"}
    assert wanted <= set(search.trials.columns)
    assert search.trials.index.name == search.front.index.name == "number"
    assert len(search.trials) == 8


def test_intervals_hold_their_values() -> None:
    table = finished_search().trials.dropna(subset=["latency_ms"])
    assert (table["latency_ms_low"] <= table["latency_ms"]).all()
    assert (table["latency_ms"] <= table["latency_ms_high"]).all()


def test_the_front_is_feasible_non_dominated_and_fastest_first() -> None:
    front = finished_search().front
    assert front["latency_ms"].is_monotonic_increasing
    points = front[["accuracy", "latency_ms", "size_mb"]].to_numpy() * [-1, 1, 1]
    for one in points:
        assert not any((other <= one).all() and (other < one).any() for other in points)
    original = finished_search().pick(0)["accuracy"].value
    assert (front["accuracy"] >= original - 0.05 - 1e-6).all()


def test_the_best_is_the_fastest_and_another_objective_can_be_named() -> None:
    search = finished_search()
    assert search.best().number == search.front.index[0]
    smallest = search.front["size_mb"].min()
    assert search.best("size")["size"].value == smallest


def test_a_bound_that_nothing_keeps_names_the_nearest() -> None:
    with pytest.raises(ConstraintError, match=r"none of \d measured .* the nearest is number \d"):
        finished_search().best(constraints={"size": 1e-6})


def test_unknown_objectives_and_numbers_are_told_what_there_is() -> None:
    search = finished_search()
    with pytest.raises(autoopt.AutooptError, match=r"accuracy.*latency.*size"):
        search.best("beauty")
    with pytest.raises(ConstraintError, match="numbers known: 0 to 7"):
        search.pick(99)


def test_the_reprs_show_status_front_and_recipe() -> None:
    search = finished_search()
    assert "Finished" in repr(search)
    assert "latency_ms" in repr(search)
    html = search._repr_html_()
    assert "<svg" in html
    assert "<script" not in html
    strategy = search.best()
    assert strategy.recipe.summary in repr(strategy)
    assert "×" in repr(strategy)
    assert "latency" in strategy._repr_html_()


def test_a_strategy_predicts_what_the_network_does() -> None:
    x, _ = images()
    with torch.no_grad():
        expected = trained_cnn()(torch.from_numpy(x[:32])).numpy()
    float32 = [s for s in finished_search().strategies if "float32" in s.recipe.summary]
    assert len(float32) >= 3
    for strategy in float32:
        np.testing.assert_allclose(strategy.predict(x[:32]), expected, atol=1e-3)


def test_an_export_answers_the_same_in_a_new_process(tmp_path: Path) -> None:
    strategy = finished_search().best()
    strategy.export(tmp_path / "deploy")
    x, _ = images()
    np.save(tmp_path / "x.npy", x[:16])
    code = (
        "import autoopt, json, numpy, sys\n"
        "predict = autoopt.load('deploy')\n"
        "print(json.dumps(predict(numpy.load('x.npy')).tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), strategy.predict(x[:16]), atol=1e-4)


def test_a_choice_is_remembered() -> None:
    search = finished_search()
    number = search.best().number
    assert search.choose(number).number == number
    assert search.chosen is not None
    assert search.chosen.number == number


def test_model_and_data_are_as_they_were() -> None:
    finished_search()
    torch.manual_seed(0)
    fresh = fit(cnn(), *images(), epochs=4)
    for name, value in fresh.state_dict().items():
        assert torch.equal(trained_cnn().state_dict()[name], value)
    assert not trained_cnn().training


def test_nothing_is_left_of_the_controller() -> None:
    search = finished_search()
    run = history(search.folder).runs[-1]
    assert not [process for process in family(run["pid"]) if alive(process)]
    assert not list(search.folder.glob("snapshot*"))


@pytest.mark.slow
def test_a_regression_on_a_table_of_pandas_is_judged_by_r2(tmp_path: Path) -> None:
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, as_frame=True)
    y = (y - y.mean()) / y.std()
    table, targets = np.array(x, np.float32), np.array(y, np.float32)[:, None]
    model = fit(mlp(10, 1), table, targets, epochs=40)
    search = autoopt.search(
        model,
        (x.astype("float32"), y.astype("float32")),
        space=narrow(),
        budget="3 trials",
        objectives=["size"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    assert search.trials["r2"].notna().all()
    assert search.best("size")["size"].value < search.pick(0)["size"].value
    assert any("r2" in note.lower() or "R²" in note for note in search.notes)


class Encoder(nn.Module):
    """Takes keywords and gives an object with logits, as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(17, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, input_ids, attention_mask):
        weights = attention_mask.unsqueeze(-1).float()
        mean = (self.words(input_ids) * weights).sum(1) / weights.sum(1)
        return {"logits": self.head(mean)}


@pytest.mark.slow
def test_batches_of_dicts_are_searched_as_those_of_transformers(tmp_path: Path) -> None:
    x, y = digits()
    words = torch.from_numpy((x[:400] * 16).astype(np.int64))
    batches: Any = [
        {
            "input_ids": words[i],
            "attention_mask": torch.ones(64, dtype=torch.int64),
            "labels": int(y[i]),
        }
        for i in range(400)
    ]
    search = autoopt.search(
        Encoder().eval(),
        torch.utils.data.DataLoader(batches, batch_size=8),
        space=narrow(quantization=["float32"]),
        budget="2 trials",
        objectives=["size"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    assert search.status.failed == 0
    assert search.settings.request_size == 8


@pytest.mark.slow
def test_a_budget_in_seconds_is_kept(tmp_path: Path) -> None:
    start_time = time.monotonic()
    space = narrow(parallel=["default", "tuned"], runtime=["eager", "onnxruntime"])
    search = start(tmp_path / "search", space=space, budget=40, objectives=["latency"])
    assert time.monotonic() - start_time < 40 * 1.1 + 5
    assert search.status.state == "finished"
    assert search.status.seconds_elapsed < 40 * 1.1 + 3


@pytest.mark.slow
def test_a_budget_too_short_for_one_candidate_still_gives_the_original(tmp_path: Path) -> None:
    search = start(tmp_path / "search", budget=0.5)
    assert search.status.trials == 1
    assert search.best("size").number == 0


@pytest.mark.slow
def test_another_storage_holds_the_study_and_max_drop_is_a_constraint_there(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    search = start(tmp_path / "search", storage=url, max_drop=0.02)
    (name,) = optuna.get_all_study_names(url)
    assert name.startswith("search-")
    trials = optuna.load_study(study_name=name, storage=url).get_trials()
    assert len(trials) == 3
    (key,) = {key for trial in trials for key in trial.constraints}
    assert key.startswith("accuracy >= ")
    assert all(set(trial.constraints) == {key} for trial in trials)
    assert not (search.folder / "study.sqlite").exists()


class Broken(nn.Module):
    """Runs here, and nowhere else."""

    def __init__(self, home: int) -> None:
        super().__init__()
        self.home = home
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        import os

        if os.getpid() != self.home:
            raise RuntimeError("far from home")
        return self.layer(x)


@pytest.mark.slow
def test_waiting_for_a_search_whose_original_fails_raises_its_error(tmp_path: Path) -> None:
    import os

    search = autoopt.search(
        Broken(os.getpid()).eval(),
        digits(),
        space=narrow(),
        budget="3 trials",
        objectives=["size"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=False,
    )
    with pytest.raises(SearchError, match="far from home"):
        search.wait(120)
    assert search.status.state == "failed"
    with pytest.raises(ConstraintError, match="no strategy was measured yet"):
        search.best()


@pytest.mark.slow
def test_a_search_with_two_workers_trains_every_network_once_and_measures_all(
    tmp_path: Path,
) -> None:
    search = start(
        tmp_path / "search",
        space=narrow(
            student={"none": {}, "width": {"fraction": [0.25, 0.5]}},
            recovery={"none": {}, "finetune": {}},
            quantization=["float32"],
        ),
        objectives=["latency"],
        budget="10 trials",
        workers=2,
    )
    known = history(tmp_path / "search")
    assert known.settings is not None
    assert known.settings.workers == 2
    assert search.status.trials == 10
    assert search.status.failed == 0
    keys = [s["key"] for s in known.stages if s.get("trained") and not s["cached"]]
    assert len(keys) == len(set(keys)) >= 2
    assert "measured at least 3 times" in str(search.status)
