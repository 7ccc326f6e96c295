"""Students, trainings and students' shapes that are not the table's usual ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import autoopt
from autoopt.build import Bench
from autoopt.cache import Cache
from autoopt.errors import DivergedError, FolderError, ModelError, RefusedError
from autoopt.plan import Drop, Keep
from autoopt.recipe import Recipe
from autoopt.replay import replay
from autoopt.task import Task
from autoopt.techniques._fresh import with_fresh_weights
from autoopt.techniques.given import GivenStudent, GivenTraining
from autoopt.techniques.students import FreshStudent, WidthDepthStudent
from tests.architectures import untrained_task
from tests.small_searches import digits, narrow, trained_mlp
from tests.technique_models import HERE, task_of


def tiny() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def narrow_outputs() -> nn.Module:
    return nn.Linear(64, 3)


def few_steps(network: nn.Module, task: Task) -> None:
    """Train in place, as a person would."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network.train()
    for (x,), y in task.train.batches(64, seed=0):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()


def mlp_bench(folder: Path, **own: Any) -> Bench:
    from autoopt.task import make_task

    task = make_task(trained_mlp(), digits(), threads=1)
    return Bench(task, HERE, Cache(folder), own)


# ------------------------------------------------------------------ shapes


@pytest.mark.parametrize("kind", ["residual", "attention"])
def test_width_and_depth_at_once_leave_less_than_either(kind: str) -> None:
    task = task_of(kind)
    edits = WidthDepthStudent(0.5, 0.5).edits(task.model, task)
    assert {type(edit) for edit in edits} == {Drop, Keep}

    def count(width: float, depth: float) -> int:
        found = WidthDepthStudent(width, depth).edits(task.model, task)
        return sum(p.numel() for p in replay(task.model, found).parameters())

    assert count(0.5, 0.5) < min(count(0.5, 1), count(1, 0.5))
    assert WidthDepthStudent(1, 1).edits(task.model, task) == ()


def test_only_what_is_cut_can_be_refused() -> None:
    plain, shared = task_of("plain"), task_of("shared")
    computed = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 4)))
    task = dataclasses.replace(plain, model=computed)
    assert "parametrization" in str(WidthDepthStudent(0.5, 1).refuse(task, HERE))
    assert WidthDepthStudent(1, 1).refuse(task, HERE) is None
    assert "no repeated blocks" in str(WidthDepthStudent(1, 0.5).refuse(shared, HERE))
    with pytest.raises(ValueError, match="`depth` must be above 0 and at most 1, but got 0"):
        WidthDepthStudent(depth=0)


@pytest.mark.parametrize("name", ["resnet", "vit", "gpt2", "lstm"])
def test_fresh_weights_are_new_the_same_for_a_seed_and_of_the_usual_scale(name: str) -> None:
    task = untrained_task(name)
    first, again = with_fresh_weights(task.model, 3), with_fresh_weights(task.model, 3)
    other = with_fresh_weights(task.model, 4)
    old = task.model.state_dict()
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        if value.ndim > 1 and value.is_floating_point():
            assert not torch.equal(value, old[key])
            assert not torch.equal(value, other.state_dict()[key])
    with torch.no_grad():
        assert bool(task.forward(first.eval(), task.example).isfinite().all())


def test_fresh_embeddings_have_the_spread_of_those_they_replace() -> None:
    table = nn.Embedding(200, 16)
    nn.init.normal_(table.weight, std=0.02)
    spread = float(with_fresh_weights(table, 0).get_parameter("weight").detach().std())
    assert spread == pytest.approx(0.02, rel=0.1)


def test_fresh_padding_is_zero_and_scales_start_alike() -> None:
    network = nn.Sequential(nn.Embedding(9, 4, padding_idx=2), nn.RMSNorm(4))
    nn.init.normal_(network.get_parameter("1.weight"), mean=1.0, std=0.1)
    fresh = with_fresh_weights(network, 0)
    table, scale = fresh.get_parameter("0.weight"), fresh.get_parameter("1.weight")
    assert not table[2].any()
    assert table[3].all()
    assert torch.equal(scale, scale[:1].expand(4))


def test_a_fresh_student_needs_a_recovery_that_trains(tmp_path: Path) -> None:
    bench = mlp_bench(tmp_path)
    fresh = {"student": ("fresh", {"width": 0.5, "depth": 1.0})}
    for recovery in ("none", "recalibrate"):
        with pytest.raises(RefusedError, match=r"a recovery that trains must follow|batch norm"):
            bench.build_network(Recipe.of({**fresh, "recovery": (recovery, {})}))
    trained = Recipe.of({**fresh, "recovery": ("finetune", {"epochs": 1, "learning_rate": 1e-3})})
    bench.build_network(trained)
    edits = FreshStudent(0.5).edits(bench.task.model, bench.task)
    inherited = replay(bench.task.model, edits).state_dict()
    found = bench.network(trained).state_dict()
    weight = "0.weight"
    assert found[weight].shape == inherited[weight].shape
    correlation = torch.corrcoef(
        torch.stack([found[weight].flatten(), inherited[weight].flatten()])
    )
    assert abs(float(correlation[0, 1])) < 0.3


# ------------------------------------------------------------------ students of one's own


def test_a_given_student_is_built_and_found_again(tmp_path: Path) -> None:
    recipe = Recipe.of({"student": ("tiny", {}), "recovery": ("finetune", {"epochs": 1})})
    bench = mlp_bench(tmp_path, tiny=GivenStudent(tiny))
    bench.build_network(recipe)
    again = mlp_bench(tmp_path, tiny=GivenStudent(tiny))
    assert again.build_network(recipe).cached
    x = bench.task.example
    with torch.no_grad():
        torch.testing.assert_close(again.network(recipe)(*x), bench.network(recipe)(*x))
    other = mlp_bench(tmp_path, tiny=GivenStudent(lambda: nn.Linear(64, 10)))
    assert not other.build_network(recipe).cached


def test_a_given_student_must_be_trained_and_serve(tmp_path: Path) -> None:
    bench = mlp_bench(tmp_path, tiny=GivenStudent(tiny), narrow=GivenStudent(narrow_outputs))
    with pytest.raises(RefusedError, match="a recovery that trains must follow, but it is 'none'"):
        bench.build_network(Recipe.of({"student": ("tiny", {})}))
    reason = GivenStudent(narrow_outputs).refuse(bench.task, HERE)
    assert reason == (
        "the student must give outputs of the model's shape (16, 10), but gives (16, 3)"
    )

    def broken() -> nn.Module:
        raise RuntimeError("planted")

    assert "planted" in str(GivenStudent(broken).refuse(bench.task, HERE))
    misfit = GivenStudent(lambda: nn.Conv2d(3, 3, 3))
    assert "failed on a request" in str(misfit.refuse(bench.task, HERE))
    with pytest.raises(ValueError, match="must be a function that makes a network, but got Linear"):
        GivenStudent(nn.Linear(64, 10))


# ------------------------------------------------------------------ a training of one's own


def test_a_given_training_trains_a_copy(tmp_path: Path) -> None:
    task = mlp_bench(tmp_path).task
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    network = GivenTraining(few_steps).apply(task.model, task)
    assert not network.training
    assert all(torch.equal(before[n], v) for n, v in task.model.state_dict().items())
    assert any(not torch.equal(before[n], v) for n, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        (lambda network, task: 3, ModelError, "must give a network or None, but gave a int"),
        (lambda network, task: nn.Linear(2, 2), ModelError, "must keep the network's layers"),
        (lambda network, task: 1 / 0, ModelError, "your training failed: ZeroDivisionError"),
        (
            lambda network, task: network[0].weight.data.fill_(float("nan")) and None,
            ModelError,
            "your training failed",
        ),
    ],
)
def test_what_a_given_training_owes(train: Any, error: type, message: str, tmp_path: Path) -> None:
    task = mlp_bench(tmp_path).task
    with pytest.raises(error, match=message):
        GivenTraining(train).apply(task.model, task)


def test_a_given_training_that_diverges_is_caught(tmp_path: Path) -> None:
    def explode(network: Any, task: Task) -> None:
        network[0].weight.data.fill_(float("nan"))

    task = mlp_bench(tmp_path).task
    with pytest.raises(DivergedError, match=r"your training left '0\.weight' with NaN"):
        GivenTraining(explode).apply(task.model, task)
    with pytest.raises(ValueError, match="`train` must be a function"):
        GivenTraining(3)  # type: ignore[arg-type]  # that is the test


@pytest.mark.slow
def test_both_travel_to_the_workers_of_a_search(tmp_path: Path) -> None:
    space = narrow(recovery=["none"], quantization=["float32"], runtime=["eager"])
    wanted: dict[str, Any] = {
        "space": space,
        "objectives": ["size"],
        "threads": 1,
        "cache": tmp_path / "cache",
        "block": True,
    }
    search = autoopt.search(
        trained_mlp(),
        digits(),
        students={"tiny": tiny},
        train=few_steps,
        budget="4 trials",
        folder=tmp_path / "search",
        **wanted,
    )
    table = search.trials
    summaries = [strategy.recipe.summary for strategy in search.strategies]
    assert any(text.startswith("tiny · few steps") for text in summaries), table
    with pytest.raises(FolderError, match=r"'few_steps': \.\.\., 'tiny': \.\.\."):
        autoopt.resume(tmp_path / "search", trained_mlp(), digits())
    with pytest.raises(ValueError, match="must differ in name: 'tiny'"):
        autoopt.search(
            trained_mlp(),
            digits(),
            students={"tiny": tiny},
            techniques={"tiny": WidthDepthStudent},
            folder=tmp_path / "other",
        )
