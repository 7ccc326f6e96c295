"""Techniques × formats: built, exported, loaded in a new process, and the same as before."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoopt
from autoopt.errors import ArtifactError, UnknownNameError
from autoopt.handle.beginning import begin_search, new_settings, task_of
from autoopt.handle.export import FORMATS
from autoopt.handle.recipes import space_of
from autoopt.handle.request import Own
from autoopt.recipe import Recipe
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.settings import Budget
from tests.small_searches import finished_search, images, trained_cnn

pytestmark = pytest.mark.slow

CUTS: dict[str, dict[str, Any]] = {
    "original": {},
    "width": {"student": ("width", {"fraction": 0.5}), "recovery": ("finetune", {"epochs": 1})},
    "channels": {"pruning": ("channels", {"ratio": 0.5}), "recovery": ("recalibrate", {})},
    "sparse": {"pruning": ("sparse", {"sparsity": 0.8})},
    "svd": {"factorization": ("svd", {"fraction": 0.25})},
}
PRECISIONS = [("float32", {}), ("packed", {"bits": 4, "group": 0})]
RUNTIMES = {name: runtimes[0] for name, runtimes in FORMATS.items()}

LOAD = """
import json, sys
import numpy as np
import autoopt
x = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    with autoopt.load(folder) as predict:
        np.save(f"{folder}/../{folder.rsplit('/', 1)[1]}.npy", predict(x))
"""


def recipes() -> list[Recipe]:
    return [
        Recipe.of({**cut, "quantization": precision, "runtime": (runtime, {})})
        for cut in CUTS.values()
        for precision in PRECISIONS
        for runtime in RUNTIMES.values()
    ]


@cache
def measured() -> autoopt.Search:
    """All of them, measured by one search that is given its candidates."""
    folder = Path(tempfile.mkdtemp(prefix="autoopt-test-"))
    options: dict[str, Any] = {"threads": 1, "request_size": 8}
    task = task_of(trained_cnn(), images(), options)
    given = [recipe for recipe in recipes() if recipe != Recipe.of({})]
    settings = replace(
        new_settings(task, Own({}), options, objectives=["size"], cache=folder / "cache"),
        given=tuple(recipe.to_dict() for recipe in given),
        only_given=True,
        budget=Budget(trials=1 + len(given)),
        space=space_of(given),
    )
    launched = time.time()
    return begin_search(
        folder / "search", settings, task, Own({}), study="", launched=launched, block=True
    )


def test_an_export_answers_in_a_new_process_bit_for_bit_and_takes_the_same_bytes(tmp_path):
    x = images()[0][:5]
    np.save(tmp_path / "x.npy", x)
    found = {strategy.recipe.id: strategy for strategy in measured().strategies}
    folders = {}
    for recipe in recipes():
        assert recipe.id in found, recipe.summary
        folders[recipe.id] = found[recipe.id].export(tmp_path / recipe.id)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "x.npy"), *map(str, folders.values())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for key, folder in folders.items():
        strategy = found[key]
        answers = np.load(tmp_path / f"{key}.npy")
        np.testing.assert_array_equal(answers, strategy.predict(x))
        assert artifact_size(folder) == pytest.approx(strategy["size"].value * 1e6, abs=0.5)
        assert Recipe.from_yaml(folder / "recipe.yaml") == strategy.recipe
        measurement = json.loads((folder / "measured.json").read_text())["measurement"]
        assert measurement["stats"]["size"]["value"] == strategy["size"].value


def test_formats_agree_on_what_a_network_answers():
    x = images()[0][:64]
    found = {strategy.recipe.id: strategy for strategy in measured().strategies}
    for cut in CUTS.values():
        answers = [
            found[Recipe.of({**cut, "runtime": (runtime, {})}).id].predict(x)
            for runtime in RUNTIMES.values()
        ]
        for other in answers[1:]:
            np.testing.assert_allclose(other, answers[0], rtol=1e-3, atol=1e-3)


def test_the_original_in_any_format_answers_as_the_model_does():
    x = images()[0][:64]
    with torch.no_grad():
        wanted = trained_cnn()(torch.from_numpy(x)).numpy()
    found = {strategy.recipe.id: strategy for strategy in measured().strategies}
    for runtime in RUNTIMES.values():
        answers = found[Recipe.of({"runtime": (runtime, {})}).id].predict(x)
        np.testing.assert_allclose(answers, wanted, rtol=1e-4, atol=1e-4)


def test_a_strategy_is_exported_in_another_format_where_that_was_measured(tmp_path):
    found = {strategy.recipe.id: strategy for strategy in measured().strategies}
    cut = Recipe.of({**CUTS["svd"], "runtime": ("onnxruntime", {})})
    for format_, runtime in RUNTIMES.items():
        folder = found[cut.id].export(tmp_path / format_, format=format_)
        assert read_manifest(folder).runtime == runtime
    with pytest.raises(UnknownNameError, match="unknown format 'tflite'; known: onnx"):
        found[cut.id].export(tmp_path / "no", format="tflite")


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
