"""The replay: candidates of two real models that this project has built and measured."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.controller.staged.features import recipe_features
from autoopt.recipe import Recipe
from tests.benchmarks.search_problem import Problem
from tests.benchmarks.search_table import SUBJECTS, TABLE

WORST_DROP = 0.05
"""Loss of accuracy beyond which a candidate is of no use."""

RUNTIMES = ("eager", "onnxruntime", "openvino")

INTERVAL = 2 * 1.96
"""Standard deviations that a 95 % interval spans."""


@dataclass(frozen=True)
class Replay:
    """One model's part of the table.

    What a candidate cost and measured is looked up; a measurement is drawn anew from the interval
    that was found for its latency. The median of that interval counts as the truth.

    Attributes
    ----------
    model
        Its name in the table.
    table
        The file that ``python -m tests.benchmarks.search_table`` makes.
    """

    model: str
    table: Path = TABLE

    @cached_property
    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Recipe to what is known of it, those that failed included."""
        content = json.loads(gzip.decompress(self.table.read_bytes()))
        return {Recipe.from_dict(row["recipe"]).id: row for row in content[self.model]}

    def problem(self) -> Problem:
        """Return the instance as a problem."""
        original = self.exact(Recipe.of({}))
        return Problem(
            space=SUBJECTS[self.model].space(),
            evaluate=self.evaluate,
            cost=self.cost,
            reference={**original, "error": original["error"] + WORST_DROP},
            exact_front=self.exact_front,
            constraints={"error": f"<= {original['error'] + WORST_DROP}"},
            features=recipe_features,
            truth=self.exact,
            refused=lambda recipe: "failure" in self.rows[recipe.id],
            first=tuple(Recipe.of({}).replaced(runtime=(name, {})) for name in RUNTIMES),
        )

    def exact(self, recipe: Recipe) -> Mapping[str, float]:
        """Return the objectives as the table has them."""
        row = self.rows[recipe.id]
        return {
            "error": row["error"],
            "log_latency": log(row["latency"]),
            "log_size": log(row["size"]),
        }

    def evaluate(self, recipe: Recipe, seed: int) -> Mapping[str, float]:
        """Return one measurement, whose latency is noisy as it was; the same seed, the same."""
        row = self.rows[recipe.id]
        spread = log(row["latency_high"] / row["latency_low"]) / INTERVAL
        random = np.random.default_rng([seed, zlib.crc32(recipe.id.encode())])
        found = dict(self.exact(recipe))
        found["log_latency"] += float(spread * random.normal())
        return found

    def cost(self, stage: str, recipe: Recipe) -> float:
        """Return the seconds that a stage took."""
        return float(self.rows[recipe.id]["seconds"].get(stage, 0.0))

    def exact_front(self) -> list[Mapping[str, float]]:
        """Return every non-dominated candidate of the table."""
        from moocore import is_nondominated

        whole = [row for row in self.rows.values() if "failure" not in row]
        values = [self.exact(Recipe.from_dict(row["recipe"])) for row in whole]
        kept = is_nondominated(np.array([list(value.values()) for value in values]))
        return [value for value, on_front in zip(values, kept, strict=True) if on_front]
