"""Recipes from wherever a person has them: an object, a file, an export, a search."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from autoopt.controller.costs import trained_epochs
from autoopt.controller.job import LOG
from autoopt.errors import ArtifactError, FolderError
from autoopt.handle.handle import Search
from autoopt.handle.reading import open_search
from autoopt.handle.strategy import Strategy
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.runtimes.artifact import NAME, checksum, read_manifest
from search_spaces import Choice, SearchSpace

if TYPE_CHECKING:
    from autoopt.build import Layer

RECIPE = "recipe.yaml"
"""Name of the recipe in an export."""


@dataclass(frozen=True)
class Source:
    """Recipes that were found together.

    Attributes
    ----------
    name
        Where they are from, for messages.
    recipes
        The best first.
    layers
        Name and kind of the layers of the model on which they were found; empty where unknown.
    """

    name: str
    recipes: tuple[Recipe, ...]
    layers: tuple[tuple[str, str], ...] = ()

    def layer_list(self) -> tuple[Layer, ...]:
        """Return the layers as the workplace takes them."""
        from autoopt.build import Layer

        return tuple(Layer(name, kind) for name, kind in self.layers)


def recipe_source(given: Any) -> Source:
    """Read recipes.

    Parameters
    ----------
    given
        A `Recipe`, `Strategy` or `Search`; the path of a recipe, of an export or of a search's
        folder; or the text of a recipe. Of a search the front is taken.

    Raises
    ------
    FolderError
        If there is nothing of that kind, or it is damaged or of a newer format.
    TypeError
        If it is none of these.
    """
    if isinstance(given, Recipe):
        return Source("a recipe", (given,))
    if isinstance(given, Strategy):
        return Source(f"strategy {given.number}", (given.recipe,), _layers(given.history))
    if isinstance(given, Search):
        return _of_search(given)
    if isinstance(given, str) and "\n" in given:
        return _parsed(given, "the recipe given")
    if not isinstance(given, str | Path):
        raise TypeError(
            "a recipe must be a Recipe, a Strategy, a Search, or the path of a recipe, an export "
            f"or a search, but got {type(given).__name__}"
        )
    path = Path(given)
    if (path / LOG).is_file():
        return _of_search(open_search(path))
    return _of_file(path / RECIPE if path.is_dir() else path)


def one_recipe(given: Any) -> Source:
    """Read one recipe, as `recipe_source`.

    Raises
    ------
    FolderError
        If it is a search, which holds many.
    """
    source = recipe_source(given)
    if len(source.recipes) != 1:
        raise FolderError(
            f"one recipe must be given, but {source.name} holds {len(source.recipes)}: give one of "
            "its strategies, such as search.best()"
        )
    return source


def _of_search(search: Search) -> Source:
    history = search._known()
    ranked = history.front.by_contribution(lambda record: not trained_epochs(record.recipe))
    found = [record.recipe for record in ranked if record.role != "original"]
    return Source(f"the search in {search.folder}", tuple(found), _layers(history))


def _of_file(path: Path) -> Source:
    if path.is_symlink():
        raise FolderError(f"{path} is a symbolic link; give the file itself")
    if not path.is_file():
        raise FolderError(
            f"there is no recipe at {path}: give a recipe.yaml, an export or a search's folder"
        )
    _warn_if_changed(path)
    try:
        return _parsed(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise FolderError(f"{path} is no recipe: it is not text ({error})") from error


def _warn_if_changed(path: Path) -> None:
    """Say that the recipe of an export is not the one that it was exported with.

    One that was cut short may still be a recipe; one that a person changed is meant as it is.
    """
    if not (path.parent / NAME).is_file():
        return
    try:
        expected = read_manifest(path.parent).texts.get(path.name)
    except ArtifactError:  # the recipe does not depend on the model beside it
        return
    if expected is not None and checksum(path) != expected:
        warnings.warn(
            f"{path} is not what was exported: it was changed or cut short, and is taken as it is.",
            stacklevel=2,
        )


def _parsed(text: str, name: str) -> Source:
    try:
        recipe, data = Recipe.from_yaml(text), yaml.safe_load(text)
        layers = tuple(
            (str(layer), str(kind)) for layer, kind in (data.get("layers") or {}).items()
        )
    except RecursionError as error:
        raise FolderError(f"{name} cannot be read as a recipe: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise FolderError(f"{name} cannot be read as a recipe: {error}") from error
    return Source(name, (recipe,), layers)


def _layers(history: History) -> tuple[tuple[str, str], ...]:
    return history.settings.layers if history.settings else ()


def space_of(recipes: Sequence[Recipe]) -> SearchSpace:
    """Return the smallest space that holds the original and some recipes."""
    values: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for recipe in (Recipe.of({}), *recipes):
        for slot, (option, settings) in recipe.point().items():
            kept = values.setdefault(slot, {}).setdefault(option, {})
            for name, value in settings.items():
                if value not in kept.setdefault(name, []):
                    kept[name].append(value)
    return SearchSpace(
        {
            slot: {
                option: {name: Choice(known) for name, known in settings.items()}
                for option, settings in options.items()
            }
            for slot, options in values.items()
        }
    )
