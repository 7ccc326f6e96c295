"""What each step of a strategy cost and gained: the way from the original to it, slot by slot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.controller.job import LOG
from autoopt.errors import FolderError
from autoopt.handle.beginning import begin_search
from autoopt.handle.handle import Search
from autoopt.handle.recipes import space_of
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.record import Record
from autoopt.settings import SAMPLERS, Budget, Settings
from search_spaces import SLOTS

if TYPE_CHECKING:
    from autoopt.handle.request import Own
    from autoopt.task import Task

FOLDER = "explained"
"""Folder within a search's own for what was measured to explain its strategies."""


@dataclass(frozen=True)
class Step:
    """One point on the way from the original to a strategy.

    Attributes
    ----------
    slot
        What was chosen last; ``"original"`` of the first step.
    choice
        That choice in words.
    recipe
        All choices so far.
    record
        What was measured of it, timings on the scale of the search; None where nothing was.
    """

    slot: str
    choice: str
    recipe: Recipe
    record: Record | None = None


def steps_to(recipe: Recipe) -> tuple[Step, ...]:
    """Return the way from the original to a recipe, a slot at a time; nothing is measured yet.

    A slot that changes nothing is no step. Choices that only go together (training for a precision
    fixes the precision) are one.
    """
    steps = [Step("original", "as it came", Recipe.of({}))]
    for end, slot in enumerate(SLOTS, start=1):
        chosen = recipe.point()
        so_far = Recipe.of({name: chosen[name] for name in SLOTS[:end]})
        if so_far != steps[-1].recipe:
            steps.append(Step(slot, recipe.words(slot), so_far))
    return tuple(steps)


def with_records(
    steps: Sequence[Step], history: History, side: History | None = None
) -> tuple[Step, ...]:
    """Return the steps with what was measured of them.

    Parameters
    ----------
    steps
        As `steps_to` gives them.
    history
        Of the strategy's search.
    side
        Of what was measured for explanations; its timings are brought to the search's scale by the
        original, which was timed beside both.
    """
    return tuple(replace(step, record=attempted(step.recipe, history, side)) for step in steps)


def tried(recipe: Recipe, history: History, side: History | None = None) -> Record | None:
    """Return the latest record that says what becomes of a recipe, that of the search first.

    Its timings are on the scale of the search. That a search gave a candidate up, or that a worker
    died over it, says nothing of the recipe. Beside the search only a refusal is a last word.
    """
    own = [record for record in history.records if record.recipe == recipe
           and not (record.failure and record.failure.says_nothing)]  # fmt: skip
    beside = [record for record in _beside(recipe, history, side)
              if record.failure is None or record.failure.kind == "refused"]  # fmt: skip
    return next(reversed(own or beside), None)


def attempted(recipe: Recipe, history: History, side: History | None = None) -> Record | None:
    """Return what `tried` does, and where nothing is settled the latest failure beside the search.

    That is what was found when it was last asked for.
    """
    settled = tried(recipe, history, side)
    return settled or next(reversed(_beside(recipe, history, side)), None)


def _beside(recipe: Recipe, history: History, side: History | None) -> list[Record]:
    records = _scaled(side, history) if side else ()
    return [record for record in records if record.recipe == recipe]


def side_history(folder: Path | None) -> History | None:
    """Return what was measured for explanations of a search, or None."""
    if folder is None or not (folder / FOLDER / LOG).is_file():
        return None
    return Search(folder / FOLDER, None)._known()


def measure_missing(
    folder: Path, history: History, recipes: Sequence[Recipe], task: Task, own: Own
) -> History:
    """Measure recipes as the search did, in a folder within its own; return what is known there.

    Its bounds do not count: a step on the way may break them where the strategy does not.

    Raises
    ------
    FolderError
        If the search was never opened.
    """
    if history.settings is None:
        raise FolderError(f"the search in {folder} was never opened")
    where, earlier = folder / FOLDER, side_history(folder)
    begun = earlier.raw.keys() | earlier.started.keys() if earlier else ()
    known = [record.recipe for record in earlier.records] if earlier else []
    given = tuple(dict.fromkeys(recipes))
    settings = replace(
        _without(history.settings, set(history.settings.own_objectives) - set(own.objectives)),
        given=tuple(recipe.to_dict() for recipe in given),
        only_given=True,
        budget=Budget(trials=len(begun) + 1 + len(given)),
        space=space_of((*known, *given)),
        constraints={},
        max_drop=None,
        sampler=SAMPLERS[0],
        storage=None,
        notes=(),
    )
    study = earlier.study if earlier else ""
    launched = time.time()
    found = begin_search(where, settings, task, own, study=study, launched=launched, block=True)
    return found._known()


def _without(settings: Settings, absent: set[str]) -> Settings:
    """Return settings without a person's own objectives that were not handed over again."""
    return replace(
        settings,
        axes=tuple(axis for axis in settings.axes if axis.name not in absent),
        objectives=tuple(name for name in settings.objectives if name not in absent),
        own_objectives=tuple(name for name in settings.own_objectives if name not in absent),
    )


def _scaled(side: History, history: History) -> Sequence[Record]:
    """Return the records of a side search, timings on the scale of the main one."""
    ours, theirs = history.reference_ms, side.reference_ms
    if not ours or not theirs:
        return side.records
    return [_rescaled(record, ours / theirs) for record in side.records]


def _rescaled(record: Record, factor: float) -> Record:
    measured = record.measurement
    if measured is None:
        return record
    factors: Mapping[str, float] = {"latency": factor, "throughput": 1 / factor}
    stats = {
        name: stat.scaled(factors[name]) if name in factors else stat
        for name, stat in measured.stats.items()
    }
    return replace(record, outcome=replace(measured, stats=stats))
