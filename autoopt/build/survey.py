"""What cannot run here, asked before the first candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from autoopt.devices import device_of
from autoopt.runtimes.opening import cannot_serve
from autoopt.techniques import load_technique
from search_spaces import NEUTRAL, STAGES, SearchSpace

if TYPE_CHECKING:
    from autoopt.build.bench import Bench

MOST_LOOKED_AT = 2000
"""Combinations of settings of one option; with more, a wrong one fails when it is tried."""

Question = Callable[[], str | None]


def survey(bench: Bench, space: SearchSpace) -> Iterator[tuple[dict[str, Any], Question]]:
    """Yield each choice of a space that may be refused, and the question that says why."""
    for slot in STAGES["network"]:
        for option in space.slots[slot]:
            if option == NEUTRAL[slot]:
                continue
            ask = partial(_refuses, bench, slot, option, space.usual(slot, option))
            yield {slot: {"option": option}}, ask
            for settings in _combinations(space, slot, option):
                when = {slot: {"option": option, **settings}}
                yield when, partial(_out_of_bounds, bench, slot, option, settings)
    for runtime in space.slots["runtime"]:
        for option, settings in _requests(space):
            when = {
                "runtime": {"option": runtime},
                "quantization": {"option": option, **settings},
            }
            yield when, partial(_cannot_run, bench, runtime, option, settings)
        for option in space.slots["parallel"]:
            when = {"runtime": {"option": runtime}, "parallel": {"option": option}}
            settings = space.usual("parallel", option)
            yield when, partial(_cannot_serve, bench, runtime, option, settings)


def _refuses(bench: Bench, slot: str, option: str, settings: Mapping[str, Any]) -> str | None:
    cls = bench.techniques.get(option) or load_technique(slot, option)
    reason: str | None = cls(**settings).refuse(bench.task, bench.target)
    return reason


def _combinations(space: SearchSpace, slot: str, option: str) -> Iterator[dict[str, Any]]:
    """Yield the settings of an option, where they can be listed and are not too many to look at."""
    dimensions = space.slots[slot][option]
    if math.prod(dimension.size for dimension in dimensions.values()) <= MOST_LOOKED_AT:
        for values in itertools.product(*(d.values_list() for d in dimensions.values())):
            yield dict(zip(dimensions, values, strict=True))


def _out_of_bounds(bench: Bench, slot: str, option: str, settings: Mapping[str, Any]) -> str | None:
    """Return what a technique says when it is made with settings that it does not take, or None."""
    cls = bench.techniques.get(option) or load_technique(slot, option)
    try:
        cls(**settings)
    except ValueError as error:
        return str(error)
    return None


def _cannot_run(bench: Bench, runtime: str, option: str, settings: Mapping[str, Any]) -> str | None:
    cls = bench.techniques.get(option) or load_technique("quantization", option)
    return bench.refused(runtime, cls(**settings).request())


def _cannot_serve(
    bench: Bench, runtime: str, option: str, settings: Mapping[str, Any]
) -> str | None:
    cls = bench.techniques.get(option) or load_technique("parallel", option)
    config = cls(**settings).config(bench.task)
    return cannot_serve(runtime, config, device_of(bench.target.name))


def _requests(space: SearchSpace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every quantization of the space, float32 among them."""
    yield NEUTRAL["quantization"], {}
    for option, dimensions in space.slots["quantization"].items():
        if option == NEUTRAL["quantization"]:
            continue
        for values in itertools.product(*(d.values_list() for d in dimensions.values())):
            yield option, dict(zip(dimensions, values, strict=True))
