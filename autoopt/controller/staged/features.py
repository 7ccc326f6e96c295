"""What is known of a recipe without building it."""

from __future__ import annotations

from collections.abc import Mapping
from math import log, log2

from autoopt.controller.costs import relative_size, trained_epochs
from autoopt.recipe import Recipe

BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
"""Bits of options that do not bear them in a setting; others are taken to be of eight."""


def recipe_features(recipe: Recipe) -> Mapping[str, float]:
    """Return sizes, bits and training, always under the same names.

    They are relative to the original, so that nothing has to be known of the network itself.
    """
    request = recipe["quantization"]
    bits = float(
        request.settings.get("bits")
        or request.settings.get("mean_bits")
        or BITS.get(request.option, 8)
    )
    size, epochs = relative_size(recipe), trained_epochs(recipe)
    cut = -log(size)
    return {
        "cut": cut,
        "log_bytes": log(size) + log(bits / 32),
        "log_bits": log2(bits),
        "few_bits_in_a_small_network": cut / bits,
        "log_epochs": log(1 + epochs),
        "cut_without_training": cut * (epochs == 0),
        "cut_with_little_training": cut / (1 + epochs),
    }


def stands_for_its_shape(recipe: Recipe) -> bool:
    """Say whether a network tells something of its like.

    What was cut and not trained says little of what training would make of it.
    """
    return recipe.is_original or trained_epochs(recipe) > 0
