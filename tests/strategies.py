"""Hypothesis strategies for dimensions, spaces, points, layers, plans and weights."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from autoopt.plan import Drop, Edit, Factor, Keep, Tie
from search_spaces import NEUTRAL, SLOTS, Choice, Dimension, Float, Int, Point, SearchSpace

scalars = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    # What YAML would read as something else if it were not quoted.
    st.sampled_from(["1e-3", "null", "yes", "0x10", "1:30", "2020-01-01", "~", "", "[a]", "# x"]),
)

names = st.from_regex(r"[a-z_][a-z0-9_]{0,7}", fullmatch=True)
option_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,7}", fullmatch=True)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    values = draw(st.lists(scalars, min_size=1, max_size=4, unique=True))
    return Choice(values, usual=draw(st.sampled_from(values)))


@st.composite
def ints(draw: st.DrawFn) -> Int:
    log = draw(st.booleans())
    low = draw(st.integers(1, 20) if log else st.integers(-20, 20))
    step = 1 if log else draw(st.integers(1, 5))
    steps = draw(st.integers(0, 3))
    usual = low + step * draw(st.integers(0, steps))
    return Int(low, low + step * steps, step=step, log=log, usual=usual)


@st.composite
def float_grids(draw: st.DrawFn) -> Float:
    step = draw(st.sampled_from([0.001, 0.1, 0.25, 0.3, 1.0, 7.5]))
    steps = draw(st.integers(0, 3))
    first = draw(st.integers(-10, 10))
    # Decimal places that float products have beyond the step's own are no part of a grid.
    low, high = round(first * step, 6), round((first + steps) * step, 6)
    usual = round((first + draw(st.integers(0, steps))) * step, 6)
    return Float(low, high, step=step, usual=usual)


@st.composite
def continuous_floats(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    bounds = st.floats(1e-6, 1e6) if log else st.floats(-1e6, 1e6)
    low, high = sorted(draw(st.lists(bounds, min_size=2, max_size=2, unique=True)))
    return Float(low, high, log=log, usual=draw(st.floats(low, high)))


finite_dimensions = st.one_of(choices(), ints(), float_grids())
dimensions = st.one_of(finite_dimensions, continuous_floats())


@st.composite
def _spaces(draw: st.DrawFn, of: st.SearchStrategy[Dimension]) -> SearchSpace:
    settings = st.dictionaries(names, of, max_size=2)
    slots: dict[str, Any] = {slot: {NEUTRAL[slot]: {}} for slot in SLOTS}
    # Two rich slots show every interaction; six would only be slow.
    for slot in draw(st.lists(st.sampled_from(SLOTS), min_size=1, max_size=2, unique=True)):
        slots[slot] = draw(st.dictionaries(option_names, settings, min_size=1, max_size=3))
    return SearchSpace(slots)


def spaces() -> st.SearchStrategy[SearchSpace]:
    """Spaces of any kind, among them infinite ones."""
    return _spaces(dimensions)


def finite_spaces(max_size: int = 600) -> st.SearchStrategy[SearchSpace]:
    """Spaces whose points can be listed."""
    return _spaces(finite_dimensions).filter(lambda space: space.size <= max_size)


def _sampler(space: SearchSpace) -> Callable[[int], Point]:
    return lambda seed: space.sample(Random(seed))


def points_of(space: SearchSpace) -> st.SearchStrategy[Point]:
    """Points of one space."""
    return st.integers(0, 2**32).map(_sampler(space))


@st.composite
def narrowings(draw: st.DrawFn, space: SearchSpace) -> dict[str, Any]:
    """Arguments of `narrow` that are fit for `space`: some slots, options and values of it."""
    arguments: dict[str, Any] = {}
    for slot in draw(st.lists(st.sampled_from(SLOTS), max_size=3, unique=True)):
        options = space.slots[slot]
        kept = draw(st.lists(st.sampled_from(list(options)), min_size=1, unique=True))
        if draw(st.booleans()):
            arguments[slot] = kept
            continue
        arguments[slot] = {
            option: {
                name: [dimension.sample(Random(draw(st.integers(0, 2**32))))]
                for name, dimension in options[option].items()
                if draw(st.booleans())
            }
            for option in kept
        }
    return arguments


def weight_rows() -> st.SearchStrategy[np.ndarray]:
    """Matrices of float32 weights, one row an output channel; zeros and equal ones among them."""
    sizes = st.floats(-4, 4, width=32).map(lambda x: x if abs(x) > 1e-6 else 0.0)
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 20))
    return arrays.arrays(np.float32, shapes, elements=sizes)


@st.composite
def factorable_layers(draw: st.DrawFn) -> tuple[Any, Any, torch.Tensor]:
    """Layers that can be split into two, with a scheme and an input."""
    seed = draw(st.integers(0, 2**31))
    taken, given = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    bias = draw(st.booleans())
    kind = draw(st.sampled_from(["linear", "series", "image"]))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        if kind == "linear":
            return nn.Linear(taken, given, bias=bias), "channel", torch.randn(3, taken)
        sizes = st.integers(2, 3)
        if kind == "series":
            layer: Any = nn.Conv1d(taken, given, draw(sizes), padding=1, bias=bias)
            return layer, "channel", torch.randn(2, taken, 9)
        layer = nn.Conv2d(
            taken,
            given,
            (draw(sizes), draw(sizes)),
            stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            padding=(draw(st.integers(0, 1)), draw(st.integers(0, 1))),
            dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            bias=bias,
        )
        scheme = draw(st.sampled_from(["channel", "spatial"]))
        return layer, scheme, torch.randn(2, taken, 9, 8)


@st.composite
def cut_plans(draw: st.DrawFn) -> tuple[nn.Module, tuple[Edit, ...]]:
    """Small networks and plans of every kind of edit that fit them."""
    width, depth = draw(st.integers(3, 8)), draw(st.integers(1, 3))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(draw(st.integers(0, 2**31)))
        blocks = [nn.Linear(width, width) for _ in range(depth)]
        model = nn.Sequential(nn.Linear(4, width), *blocks, nn.Linear(width, 3))
    plan: list[Edit] = []
    if draw(st.booleans()):
        kept = sorted(draw(st.sets(st.integers(0, width - 1), min_size=1)))
        plan += [Keep("0", "out", tuple(kept)), Keep("1", "in", tuple(kept))]
    elif depth > 1 and draw(st.booleans()):
        plan.append(Drop("2"))
    elif depth > 1 and draw(st.booleans()):
        plan.append(Tie(tuple(str(number + 1) for number in range(depth))))
    if draw(st.booleans()):
        plan.append(Factor(str(depth + 1), draw(st.integers(1, 3))))
    return model, tuple(plan)


@st.composite
def matrices(draw: st.DrawFn, *, columns: int | None = None) -> torch.Tensor:
    """Small float32 matrices, some with zeros and with equal values."""
    shape = (draw(st.integers(1, 6)), columns or draw(st.integers(1, 9)))
    values = st.one_of(st.floats(-4, 4, width=32), st.sampled_from([0.0, 1.0, -1.0]))
    count = shape[0] * shape[1]
    return torch.tensor(draw(st.lists(values, min_size=count, max_size=count))).reshape(shape)
