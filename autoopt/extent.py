"""How large a network is and how much it computes: known from its shapes, whatever its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters, those that several layers share once."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(run: Callable[[], Any], samples: int) -> float:
    """Return the multiplications with addition that a network does for one sample.

    Those of matrices, convolutions and attention, which torch counts operator by operator; what is
    done for each number alone is not among them.

    Parameters
    ----------
    run
        Calls the network once.
    samples
        In that call.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Of its own operator for LSTMs torch knows no count.
    own = {torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=own) as counter:
        run()
    return float(counter.get_total_flops()) / 2 / samples


def _recurrent_flops(
    inputs: Sequence[int],
    taken: Sequence[int],
    kept: Sequence[int],
    *_: Any,
    **__: Any,
) -> int:
    """Return two for each number of both matrices, at every step of every sample."""
    return 2 * inputs[0] * inputs[1] * (prod(taken) + prod(kept))


def read_by_data(
    network: nn.Module, layers: Sequence[nn.Module], runs: Sequence[Callable[[], Any]]
) -> list[bool]:
    """Say of each layer whether what it reads differs between two runs on different samples.

    What reads the same whatever comes in, such as the positions of a text, a compiler computes
    beforehand: then its weights need not be stored.
    """
    from torch import nn as modules

    seen: dict[int, list[list[Any]]] = {}

    def note(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        count = 3 if isinstance(layer, modules.MultiheadAttention) else 1
        given = [*args, *named.values()][:count]
        seen[id(layer)][-1].extend(value.detach().clone() for value in given)

    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        for run in runs:
            for layer in layers:
                seen.setdefault(id(layer), []).append([])
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return [_differ(*seen[id(layer)]) for layer in layers]


def _differ(first: list[Any], second: list[Any]) -> bool:
    """Say whether all that was read differs; what was not called, or otherwise, does not."""
    if not first or len(first) != len(second):
        return False
    return all(a.shape == b.shape and not a.equal(b) for a, b in zip(first, second, strict=True))
