"""Techniques × formats: what is built, exported and loaded in a new process, for test and figure.

Every candidate is measured by one search that is given its candidates.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import autoopt
from autoopt.handle.beginning import begin_search, new_settings, task_of
from autoopt.handle.export import FORMATS
from autoopt.handle.recipes import space_of
from autoopt.handle.request import Own
from autoopt.interfaces import Array
from autoopt.recipe import Recipe
from autoopt.runtimes.artifact import artifact_size
from autoopt.settings import Budget
from search_spaces import SearchSpace, thorough
from tests.small_searches import images, trained_cnn

RUNTIMES: Mapping[str, str] = MappingProxyType(
    {name: runtimes[0] for name, runtimes in FORMATS.items()}
)
"""Format to the runtime that it is built in."""

REQUEST = 8
"""Samples of a request."""

LOAD = """
import json, sys
import numpy as np
import autoopt
x, seconds = np.load(sys.argv[1]), float(sys.argv[2])
for folder in sys.argv[3:]:
    with autoopt.load(folder) as predict:
        np.save(f"{folder}.npy", predict(x))
        again = predict.benchmark(seconds=seconds)
        print(json.dumps({"folder": folder, "samples": again.samples, "ratio": again.ratio,
                          "low": again.latency.low, "high": again.latency.high}))
"""


@dataclass(frozen=True)
class Trip:
    """One export, loaded in a process that has never heard of the search.

    Attributes
    ----------
    strategy
        What was measured.
    folder
        Its export.
    answers, wanted
        What the new process answers, and what the artefact answers that was measured.
    size
        Bytes of the export's model files.
    again
        What `benchmark` said in the new process.
    """

    strategy: autoopt.Strategy
    folder: Path
    answers: Array
    wanted: Array
    size: int
    again: Mapping[str, Any]

    @property
    def within(self) -> bool:
        """Whether the latency measured again and the reported one share a point."""
        reported = self.strategy["latency"]
        return bool(self.again["low"] <= reported.high and reported.low <= self.again["high"])


def usual(space: SearchSpace, slot: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every option of a slot at its usual setting, training cut to one epoch."""
    found = []
    for option in space.slots[slot]:
        settings = dict(space.usual(slot, option))
        found.append((option, {**settings, "epochs": 1} if "epochs" in settings else settings))
    return found


def everywhere(**slots: tuple[str, dict[str, Any]]) -> list[Recipe]:
    """Return a recipe in the runtime of each format."""
    return [Recipe.of({**slots, "runtime": (name, {})}) for name in RUNTIMES.values()]


def all_recipes() -> list[Recipe]:
    """Return every technique of the menu alone, in every format."""
    space, found = thorough(1), list[Recipe]()
    for slot in ("student", "pruning", "factorization", "recovery", "quantization"):
        for choice in usual(space, slot):
            # Of what was not cut nothing has to be recovered.
            cut = {"student": ("width", {"fraction": 0.5})} if slot == "recovery" else {}
            found += everywhere(**{**cut, slot: choice})
    return list(dict.fromkeys(found))


def searched(
    recipes: Sequence[Recipe], folder: Path, *, objectives: Sequence[str], seconds: float
) -> autoopt.Search:
    """Measure recipes on the trained CNN, each for some seconds."""
    options: dict[str, Any] = {"threads": 1, "request_size": REQUEST}
    task = task_of(trained_cnn(), images(), options)
    given = [recipe for recipe in recipes if recipe != Recipe.of({})]
    settings = replace(
        new_settings(task, Own({}), options, objectives=objectives, cache=folder / "cache"),
        given=tuple(recipe.to_dict() for recipe in given),
        only_given=True,
        budget=Budget(trials=1 + len(given)),
        space=space_of(given),
        measure_seconds=seconds,
    )
    return begin_search(
        folder / "search", settings, task, Own({}), study="", launched=time.time(), block=True
    )


def trips(search: autoopt.Search, folder: Path, *, seconds: float) -> list[Trip]:
    """Export every strategy of a search, and load all exports in one new process."""
    x = images()[0][:5]
    np.save(folder / "x.npy", x)
    found = {
        str(strategy.export(folder / f"export-{strategy.number}")): strategy
        for strategy in search.strategies
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder / "x.npy"), str(seconds), *found],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [
        Trip(
            strategy=found[again["folder"]],
            folder=Path(again["folder"]),
            answers=np.load(f"{again['folder']}.npy"),
            wanted=found[again["folder"]].predict(x),
            size=artifact_size(Path(again["folder"])),
            again=again,
        )
        for again in said
    ]
