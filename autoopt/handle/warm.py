"""A search that begins with what worked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from autoopt.handle.recipes import Source, recipe_source
from autoopt.handle.request import Own
from autoopt.recipe import Recipe
from autoopt.settings import Settings

if TYPE_CHECKING:
    from autoopt.task import Task


def with_warm_start(settings: Settings, sources: Sequence[Any], task: Task, own: Own) -> Settings:
    """Return settings whose search tries the recipes of some sources first.

    Each is fitted to the task; what does not fit into it or the search's space is left out, and a
    note says why.

    Raises
    ------
    TypeError
        If the sources are no list.
    FolderError
        If one cannot be read.
    """
    if isinstance(sources, str) or not isinstance(sources, Sequence):
        raise TypeError(
            "`warm_start` must be a list of recipes or folders, such as ['earlier-search/'], but "
            f"got {sources!r}"
        )
    given: dict[str, Recipe] = {}
    notes: list[str] = []
    for source in map(recipe_source, sources):
        fitted, lost = _fitted(source, settings, task, own)
        given |= {recipe.id: recipe for recipe in fitted}
        notes += lost
        notes.append(f"warm start: {len(fitted)} of {len(source.recipes)} from {source.name}")
    return replace(
        settings,
        given=tuple(recipe.to_dict() for recipe in given.values()),
        notes=(*settings.notes, *dict.fromkeys(notes)),
    )


def _fitted(
    source: Source, settings: Settings, task: Task, own: Own
) -> tuple[list[Recipe], list[str]]:
    """Return the recipes of a source that fit, and why others do not, in sentences."""
    from autoopt.build import Fitting
    from autoopt.targets import load_target

    fitting = Fitting(task, load_target(settings.target), own.techniques)
    kept, lost = list[Recipe](), list[str]()
    for recipe in source.recipes:
        fitted, changes = fitting.fit(recipe, source.layer_list())
        outside = _outside(fitted, settings)
        lost += [f"warm start, {recipe.summary}: {change}" for change in changes]
        if outside:
            lost.append(f"warm start, {recipe.summary}: left out, because {outside}")
        elif fitted != Recipe.of({}):
            kept.append(fitted)
    return kept, lost


def _outside(recipe: Recipe, settings: Settings) -> str:
    """Say which choice of a recipe the search's space does not hold; empty where it holds all."""
    inside, point = settings.space.sample(Random(0)), recipe.point()
    for slot, (option, values) in point.items():
        if recipe[slot] == Recipe.of({})[slot]:
            continue
        if not settings.space.contains({**inside, slot: (option, values)}):
            shown = ", ".join(f"{name}={value}" for name, value in values.items())
            return f"the space of this search does not hold {slot} {option} ({shown})"
    return ""
