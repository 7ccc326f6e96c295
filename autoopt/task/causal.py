"""Causal language models that keep keys and values of what they have read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task.task import Task

NO_MODEL = (
    "tokens per second are those of a causal language model of transformers that keeps keys and "
    "values (`use_cache`), but this model {}; ask for latency and throughput instead."
)

TOKENS = "input_ids"
"""What transformers calls the input of tokens."""


def language_model(network: nn.Module) -> nn.Module | None:
    """Return the causal language model of transformers in a network, or None.

    It is known by its make, so that the library need not be installed.
    """
    for module in network.modules():
        makes = {kind.__name__ for kind in type(module).__mro__}
        if {"PreTrainedModel", "GenerationMixin"} <= makes:
            return module
    return None


def token_input(task: Task) -> int | None:
    """Return the place of the tokens among the inputs, or None.

    It is the one that transformers calls so, else the first of whole numbers in two axes.
    """
    texts = [
        place
        for place, tensor in enumerate(task.example)
        if tensor.ndim == 2 and not tensor.is_floating_point() and tensor.shape[1] > 1
    ]
    named = [place for place in texts if task.input_names[place] == TOKENS]
    return next(iter(named or texts), None)


def refuse_decoding(task: Task) -> str | None:
    """Say why a task's model does not read token after token, or None."""
    if language_model(task.model) is None:
        return NO_MODEL.format("holds none")
    if token_input(task) is None:
        return NO_MODEL.format("takes no texts of two tokens and more")
    return None
