"""The recipe of an export: complete, versioned, and with a comment at every choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import yaml

from autoopt.recipe import FORMAT, Recipe
from search_spaces import STAGES

_STAGE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "network": "What the network is and how it was trained: hours where it trains.",
        "artifact": "How it is stored and what runs it: seconds.",
        "deployment": "How a request is spread over the processor.",
    }
)


def recipe_text(recipe: Recipe, *, version: str, layers: Sequence[tuple[str, str]] = ()) -> str:
    """Return a recipe as YAML that `autoopt.apply` reads.

    Parameters
    ----------
    recipe
        The recipe.
    version
        Of the autoopt that writes it.
    layers
        Name and kind of the layers of the model on which it was found, written where the recipe
        names layers, so that those of another model can be matched.
    """
    chosen, lines = recipe.to_dict(), list[str]()
    for stage, slots in STAGES.items():
        lines.append(f"  # {_STAGE_WORDS[stage]}")
        for slot in slots:
            said = _plain(recipe.words(slot))
            body = yaml.safe_dump({slot: chosen[slot]}, sort_keys=False).rstrip()
            lines.append(f"  # {slot}: {said}")
            lines += [f"  {line}" for line in body.splitlines()]
    head = [
        f"# {_plain(recipe.summary)}",
        f"# Written by autoopt {version}; autoopt.apply(this file, model, data) builds it again.",
        f"format: {FORMAT}",
        "recipe:",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    named = any("layers" in choice and choice["layers"] for choice in chosen.values())
    if named and layers:
        known: dict[str, Any] = {"layers": dict(layers)}
        comment = "# The layers of the model it was found on: others are matched by kind and depth."
        text += f"{comment}\n{yaml.safe_dump(known, sort_keys=False)}"
    return text


def _plain(text: str) -> str:
    """Return text that cannot end its comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
