"""The search benchmark: its problem, its accounting and its figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.recipe import Recipe
from tests.benchmarks import search, search_figures
from tests.benchmarks.search_methods import METHODS
from tests.benchmarks.search_problem import Problem, read_problem
from tests.benchmarks.search_run import Run, cost_to, curve, handed_in, hypervolume
from tests.benchmarks.search_run import search as run_search
from tests.benchmarks.search_synthetic import Synthetic, code_of, recipe_of, space

SMALL = """
from search_spaces import quick

space = quick(2).narrow(
    student=["none"], pruning=["none"], recovery=["none"],
    quantization=["float32", "bfloat16"], runtime=["eager", "openvino"], parallel=["tuned"],
)
ERROR = {"float32": 0.1, "bfloat16": 0.2}
TIME = {"eager": 4.0, "openvino": 1.0}


def evaluate(recipe, seed):
    bits, runtime = recipe["quantization"].option, recipe["runtime"].option
    batch = recipe["parallel"].settings["batch"]
    return {"error": ERROR[bits], "time": TIME[runtime] / (2 if bits == "bfloat16" else 1) + batch}


def cost(stage, recipe):
    return 1.0


reference = {"error": 0.3, "time": 5.0}


def exact_front():
    return [{"error": 0.1, "time": 1.0}, {"error": 0.2, "time": 0.5}]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "problem.py"
    path.write_text(SMALL)
    return path


def random_codes(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    sizes = (6, 5, 7, 7, 7, 4, 4, 4, 5, 4, 3)
    return np.stack([random.integers(0, size, count) for size in sizes], axis=1)


def test_the_synthetic_space_has_the_size_that_is_said() -> None:
    assert space().size == 39_513_600


def test_recipes_and_codes_of_the_synthetic_problem_are_the_same_points() -> None:
    for code in random_codes(50):
        recipe = recipe_of(code)
        assert space().contains(recipe.point())
        assert code_of(recipe).tolist() == code.tolist()


def test_a_measurement_is_noisy_but_the_same_seed_measures_the_same() -> None:
    synthetic = Synthetic()
    recipe = recipe_of(random_codes(1)[0])
    assert synthetic.evaluate(recipe, 1) == synthetic.evaluate(recipe, 1)
    assert synthetic.evaluate(recipe, 1) != synthetic.evaluate(recipe, 2)
    latencies = [synthetic.evaluate(recipe, seed)["log_latency"] for seed in range(400)]
    assert np.median(latencies) == pytest.approx(synthetic.exact(recipe)["log_latency"], abs=0.01)
    assert 0.04 < np.std(latencies) < 0.08


@pytest.mark.slow
def test_no_point_of_the_synthetic_space_dominates_its_exact_front() -> None:
    synthetic = Synthetic()
    front = np.array([list(point.values()) for point in synthetic.exact_front()])
    reference = np.array(list(synthetic.reference.values()))
    sample = synthetic.truth(random_codes(200_000))
    sample = sample[(sample < reference).all(axis=1)]
    assert len(sample) > 1000
    # A sample adds nothing to the volume of the front, which holds the best of all points.
    assert hypervolume(np.vstack([front, sample]), reference) == pytest.approx(
        hypervolume(front, reference)
    )


def test_features_are_computed_and_tell_neither_luck_nor_noise() -> None:
    synthetic = Synthetic()
    recipe = recipe_of(random_codes(1)[0])
    known = synthetic.features(recipe)
    assert set(known) == set(synthetic.features(recipe_of(np.zeros(11, dtype=np.int64))))
    assert known["log_serving_bytes"] == pytest.approx(
        np.log(np.exp(synthetic.exact(recipe)["log_memory"]) - 0.2), abs=1e-9
    )


def test_a_network_is_paid_for_once() -> None:
    problem = Synthetic().problem()
    run = run_search(problem, METHODS["tpe_multivariate_reuse"], 0, 120.0)
    assert run.costs[-1] <= 120.0
    prices = np.diff([0.0, *run.costs])
    assert set(np.round(prices, 6)) <= {0.4, 1.0, 10.4, 11.0}
    assert (prices > 5).sum() == run.networks[-1] - 1


def test_ours_finds_more_than_chance_for_the_same_cost() -> None:
    problem = Synthetic().problem()
    reference = np.array(list(problem.reference.values()))
    found = {}
    for name in ("staged", "random"):
        run = run_search(problem, METHODS[name], 0, 150.0)
        found[name] = hypervolume(np.array(run.true), reference)
    assert found["staged"] > 1.5 * found["random"]


def test_the_cost_to_a_share_is_that_of_the_trial_that_reached_it(small: Path) -> None:
    problem = read_problem(small)
    points = [np.array([0.1, 4.0]), np.array([0.1, 1.0]), np.array([0.2, 0.5])]
    run = Run(10.0, [3.0, 6.0, 9.0], points, points, [0.0] * 3, [1, 1, 1])
    exact = hypervolume(np.array(points), np.array([0.3, 5.0]))
    assert exact == pytest.approx(0.2 * 4 + 0.1 * 0.5)
    assert cost_to(run, problem, exact, 0.8) == 6.0
    assert cost_to(run, problem, 2 * exact, 0.8) == float("inf")
    assert curve(run, problem, exact, [2.0, 9.0]) == [0.0, pytest.approx(1.0)]


def test_at_most_so_many_are_handed_in_and_the_best_first() -> None:
    random = np.random.default_rng(0)
    points = random.random((200, 3))
    chosen = handed_in(points, np.ones(3), 5)
    assert len(chosen) == len(set(chosen)) == 5
    alone = [hypervolume(points[[index]], np.ones(3)) for index in range(200)]
    assert chosen[0] == int(np.argmax(alone))


def test_a_person_may_bring_a_problem_of_their_own(small: Path, tmp_path: Path) -> None:
    found = search.run(["--problem", str(small), "--seeds", "1", "--methods", "staged,random"])
    assert found["problem_cost_to_0.8_staged"] < 30
    assert "problem_hv16_at_500" in found
    assert found["problem_hv16_at_500"] == pytest.approx(1.0, abs=0.05)


def test_a_problem_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "problem.py"
    path.write_text("space = None\n")
    with pytest.raises(ValueError, match=r"must define space, evaluate, .* lacks 'evaluate'"):
        read_problem(path)


def test_the_gap_is_to_the_best_of_those_that_could_spend_as_much(small: Path) -> None:
    problem = read_problem(small)

    def runs(budget: float, point: list[float]) -> list[Run]:
        rows = [np.array(point)]
        return [Run(budget, [1.0], rows, rows, [0.0], [1]) for _ in range(3)]

    found = {
        "staged": runs(600.0, [0.1, 1.0]),
        "random": runs(600.0, [0.1, 3.0]),
        "gp": runs(100.0, [0.1, 0.5]),
    }
    others = ["random", "gp"]
    assert search_figures.gaps(found, others, problem, 1.0)["gap_lower"] == pytest.approx(0.4)


def test_what_is_reported_too_well_is_optimism() -> None:
    reported, true = np.array([[0.1, 1.0], [0.2, 0.5]]), np.array([[0.1, 1.2], [0.2, 0.6]])
    assert search_figures.reported_too_well(reported, true) == pytest.approx(0.15)


def test_a_problem_holds_its_objectives_in_order() -> None:
    problem: Problem = Synthetic().problem()
    assert problem.objectives == ("error", "log_latency", "log_memory")
    assert problem.bounds == {"error": pytest.approx(0.11)}
    assert problem.first[0] == recipe_of(np.zeros(11, dtype=np.int64))
    assert isinstance(problem.first[0], Recipe)
