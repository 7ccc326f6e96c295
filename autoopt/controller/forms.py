"""One form for parallel configurations that do the same."""

from __future__ import annotations

from autoopt.recipe import Recipe
from search_spaces import NEUTRAL


def one_form(recipe: Recipe, *, threads: int, request_size: int) -> Recipe:
    """Return a recipe with its parallel configuration in one form for all that do the same.

    Parameters
    ----------
    threads, request_size
        Of the search: what a configuration is that is not tuned.
    """
    pick = recipe["parallel"]
    values = dict(pick.settings)
    for parts in ("stages", "shards"):
        if parts in values:
            # Each needs a thread.
            values[parts] = min(values[parts], values["threads"])
            return recipe.replaced(parallel=(pick.option, values))
    if not {"threads", "replicas", "batch"} <= set(values):
        return recipe
    # A replica needs a thread.
    values["replicas"] = min(values["replicas"], values["threads"])
    if values["batch"] >= request_size:
        # The whole request is one call: further replicas would have nothing to do.
        values |= {"batch": 0, "replicas": 1}
    if pick.option == "tuned" and values == {"threads": threads, "replicas": 1, "batch": 0}:
        return recipe.replaced(parallel=(NEUTRAL["parallel"], {}))
    return recipe.replaced(parallel=(pick.option, values))
