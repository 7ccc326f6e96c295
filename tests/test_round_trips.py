"""Techniques × formats: built, exported, loaded in a new process, and the same as before."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoopt
from autoopt.errors import ArtifactError, UnknownNameError
from autoopt.recipe import Recipe
from autoopt.runtimes.artifact import read_manifest
from search_spaces import thorough
from tests.round_trips import (
    REQUEST,
    RUNTIMES,
    Trip,
    all_recipes,
    everywhere,
    searched,
    trips,
    usual,
)
from tests.small_searches import finished_search, images, trained_cnn

pytestmark = pytest.mark.slow

CUTS: dict[str, dict[str, Any]] = {
    "original": {},
    "width": {"student": ("width", {"fraction": 0.5}), "recovery": ("finetune", {"epochs": 1})},
    "channels": {"pruning": ("channels", {"ratio": 0.5}), "recovery": ("recalibrate", {})},
    "sparse": {"pruning": ("sparse", {"sparsity": 0.8})},
    "svd": {"factorization": ("svd", {"fraction": 0.25})},
}
PRECISIONS = usual(thorough(1), "quantization")
REFUSED = {"static_int8": {"eager"}, "calibrated_int8": {"eager"}, "dynamic_int8": {"eager"}}
"""Precision to the runtimes that cannot compute in it; of the README's table."""


def recipes() -> list[Recipe]:
    """Return every cut in full precision, and one cut in every precision, in every format."""
    found = [recipe for cut in CUTS.values() for recipe in everywhere(**cut)]
    for precision in PRECISIONS:
        found += everywhere(**CUTS["width"], quantization=precision)
    return list(dict.fromkeys(found))


@cache
def measured() -> tuple[autoopt.Search, list[Trip]]:
    """All of them, and their exports in a new process."""
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    search = searched(recipes(), folder, objectives=["latency", "size"], seconds=0.1)
    return search, trips(search, folder, seconds=0.05)


def found(recipe: Recipe) -> autoopt.Strategy:
    return next(s for s in measured()[0].strategies if s.recipe == recipe)


def test_all_that_is_not_refused_by_its_runtime_is_exported():
    search, done = measured()
    refused = {
        record.recipe.id for record in search._known().records
        if record.failure is not None and record.failure.kind == "refused"
    }  # fmt: skip
    assert {trip.strategy.recipe.id for trip in done} | refused == {r.id for r in recipes()}
    for recipe in recipes():
        precision, runtime = recipe["quantization"].option, recipe["runtime"].option
        if runtime in REFUSED.get(precision, ()):
            assert recipe.id in refused, recipe.summary
        elif precision in ("float32", "weight_only", "packed", "codebook", "mixed"):
            assert recipe.id not in refused, recipe.summary


def test_an_export_answers_in_a_new_process_bit_for_bit_and_takes_the_same_bytes():
    for trip in measured()[1]:
        strategy = trip.strategy
        np.testing.assert_array_equal(trip.answers, trip.wanted, strategy.recipe.summary)
        assert trip.size == round(strategy["size"].value * 1e6)
        assert Recipe.from_yaml(trip.folder / "recipe.yaml") == strategy.recipe
        assert read_manifest(trip.folder).runtime == strategy.recipe["runtime"].option


def test_an_export_reports_the_latency_that_was_measured_and_compares_it_again():
    """Whether they agree is a figure of the benchmark `round-trips`: machines are noisy."""
    for trip in measured()[1]:
        said = json.loads((trip.folder / "measured.json").read_text())
        for name in ("latency", "size"):
            stat = trip.strategy[name]
            assert said["measurement"]["stats"][name] == {
                "value": stat.value, "low": stat.low, "high": stat.high, "n": stat.n,
                "unit": stat.unit,
            }  # fmt: skip
        assert said["request_size"] == trip.again["samples"] == REQUEST
        assert 0 < trip.again["low"] <= trip.again["high"]
        middle = trip.again["ratio"] * trip.strategy["latency"].value
        assert trip.again["low"] <= middle <= trip.again["high"] * (1 + 1e-9)


def test_formats_agree_on_what_a_network_answers():
    x = images()[0][:64]
    for cut in CUTS.values():
        answers = [found(recipe).predict(x) for recipe in everywhere(**cut)]
        for other in answers[1:]:
            np.testing.assert_allclose(other, answers[0], rtol=1e-3, atol=1e-3)


def test_the_original_in_any_format_answers_as_the_model_does():
    x = images()[0][:64]
    with torch.no_grad():
        wanted = trained_cnn()(torch.from_numpy(x)).numpy()
    for recipe in everywhere():
        np.testing.assert_allclose(found(recipe).predict(x), wanted, rtol=1e-4, atol=1e-4)


def test_a_strategy_is_exported_in_another_format_where_that_was_measured(tmp_path):
    cut = Recipe.of({**CUTS["svd"], "runtime": ("onnxruntime", {})})
    for format_, runtime in RUNTIMES.items():
        folder = found(cut).export(tmp_path / format_, format=format_)
        assert read_manifest(folder).runtime == runtime
    with pytest.raises(UnknownNameError, match="unknown format 'tflite'; known: onnx"):
        found(cut).export(tmp_path / "no", format="tflite")


def test_another_format_is_built_and_measured_or_refused_with_its_reason(tmp_path):
    search = finished_search()
    whole = {s.recipe["quantization"].option: s for s in search.strategies
             if s.recipe["runtime"].option == "openvino"}  # fmt: skip
    static = whole["static_int8"]
    with pytest.raises(ArtifactError, match="needs model and data"):
        static.export(tmp_path / "pt2", format="pt2")
    with pytest.raises(ArtifactError, match="cannot be exported as 'pt2': static quantization"):
        static.export(tmp_path / "pt2", format="pt2", model=trained_cnn(), data=images())
    assert not (tmp_path / "pt2").exists()


def test_the_benchmark_holds_every_technique_of_the_menu_in_every_format():
    known = {(slot, recipe[slot].option) for recipe in all_recipes() for slot in recipe.picks}
    space = thorough(1)
    for slot in ("student", "pruning", "factorization", "recovery", "quantization"):
        assert {(slot, option) for option in space.slots[slot]} <= known
    assert len(all_recipes()) > 3 * 30
