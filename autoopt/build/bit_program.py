"""Bits for each layer by an integer program: least loss within a budget (HAWQ-V3, 2011.10680).

Each layer takes one of a few precisions. What all lose together is taken to be the sum of what each
loses alone, and the budget is of bytes; HiGHS, in `scipy.optimize.milp`, finds the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autoopt.errors import RefusedError
from autoopt.precision import store
from autoopt.runtimes.layers import FLOAT, LAYER_BITS, grid_of, reachable

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Quantization

Table = Mapping[str, Mapping[int, float]]
"""Layer to bits to a figure."""

SCALE = 1e4
"""What the largest loss counts in the program: solvers stop at differences of a millionth."""


def budgeted(
    request: Quantization, network: nn.Module, losses: Mapping[int, Mapping[str, float]]
) -> Quantization:
    """Return a request that names the bits of each layer, within its mean bits.

    Parameters
    ----------
    request
        With mean bits a weight: what codes, scales, zeros and codebooks take together.
    network
        Holds the weights.
    losses
        Bits to layer to what is lost when that layer alone has them.

    Raises
    ------
    RefusedError
        If not even the fewest bits everywhere keep the budget.
    """
    weights = reachable(request, network)
    # Tied weights are stored once, in the bits of the layer that comes first.
    first: dict[int, str] = {}
    for name, weight in weights.items():
        first.setdefault(id(weight.tensor), name)
    names = list(first.values())
    sizes = {name: weights[name].tensor.numel() for name in names}
    costs = {
        name: {bits: _stored_bits(request, weights[name].rows(), bits) for bits in (*losses, FLOAT)}
        for name in names
    }
    lost = {
        name: {**{bits: found[name] for bits, found in losses.items()}, FLOAT: 0.0}
        for name in names
    }
    least = sum(min(each.values()) for each in costs.values()) / max(1, sum(sizes.values()))
    chosen = least_loss(lost, costs, request.mean_bits * sum(sizes.values()))
    if chosen is None:
        raise RefusedError(
            f"`mean_bits` must be at least {least:.3g} for this network, which the fewest bits "
            f"with their scales take, but got {request.mean_bits:g}."
        )
    shared = {name: chosen[first[id(weight.tensor)]] for name, weight in weights.items()}
    layers = {**shared, **dict(request.layers)}
    return replace(request, mean_bits=0.0, layers=tuple(sorted(layers.items())))


def precisions(request: Quantization) -> dict[int, Quantization]:
    """Return for each number of bits a layer may have the request that a profile is made of."""
    plain = {
        bits: replace(request, bits=bits, granularity="per_channel", scheme="symmetric", group=0)
        for bits in LAYER_BITS[request.name]
        if bits < FLOAT
    }
    return {**plain, request.bits: request}


def least_loss(losses: Table, costs: Table, budget: float) -> dict[str, int] | None:
    """Return the bits of each layer that lose least together, or None where none fit.

    Parameters
    ----------
    losses, costs
        Layer to bits to what these lose and cost.
    budget
        What all may cost together.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import block_diag

    if not losses:
        return {}
    options = [(name, bits) for name, found in losses.items() for bits in found]
    loss = np.array([losses[name][bits] for name, bits in options])
    cost = np.array([costs[name][bits] for name, bits in options])
    once = block_diag([np.ones((1, len(found))) for found in losses.values()], format="csr")
    top = float(np.abs(loss).max()) or 1.0
    found = milp(
        loss * SCALE / top,
        integrality=np.ones(len(options)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(once, 1, 1), LinearConstraint(cost[None], -np.inf, budget)],
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    taken = [option for option, share in zip(options, found.x, strict=True) if share > 0.5]
    return _kept(taken, losses, costs, budget)


def _kept(
    taken: Sequence[tuple[str, int]], losses: Table, costs: Table, budget: float
) -> dict[str, int]:
    """Return what was taken, brought within the budget where rounding in the solver broke it."""
    chosen = dict(taken)
    while sum(costs[name][bits] for name, bits in chosen.items()) > budget * (1 + 1e-12):
        cheaper = [
            (losses[name][other] - losses[name][bits], name, other)
            for name, bits in chosen.items()
            for other in costs[name]
            if costs[name][other] < costs[name][bits]
        ]
        if not cheaper:
            break
        _, name, bits = min(cheaper)
        chosen[name] = bits
    return chosen


def _stored_bits(request: Quantization, rows: np.ndarray, bits: int) -> float:
    """Return what a layer takes in so many bits, with all that turns its codes into numbers."""
    if bits == FLOAT:
        return float(FLOAT * rows.size)
    return 8.0 * store(rows, grid_of(request, bits)).size
