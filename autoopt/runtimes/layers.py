"""The bits that a request gives each layer of a network, and what it must not ask for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autoopt.errors import RefusedError
from autoopt.precision import CALIBRATIONS, Grid, Weight, quantizable

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Quantization
    from autoopt.task import Task

FLOAT = 32
# Bits that a layer named on its own, or kept at a higher precision, may have.
LAYER_BITS: Mapping[str, tuple[int, ...]] = {
    "static": (8, FLOAT),
    "dynamic": (8, FLOAT),
    "weight_only": (2, 4, 8, FLOAT),
    "codebook": (8, FLOAT),
    "binary": (8, FLOAT),
    "fp8": (8, FLOAT),
    "fp8_weights": (8, FLOAT),
    "int4": (4, FLOAT),
}
BITS: Mapping[str, tuple[int, ...]] = {
    "float32": (32,),
    "bfloat16": (16,),
    "float16": (16,),
    "static": (8,),
    "dynamic": (8,),
    "weight_only": (8, 4, 2),
    "codebook": (2, 3, 4, 5, 6, 7, 8),
    "binary": (1,),
    "fp8": (8,),
    "fp8_weights": (8,),
    "int4": (4,),
}


def resolve(request: Quantization, network: nn.Module, order: Sequence[str]) -> Quantization:
    """Return the request with the names of the layers that stay at a higher precision.

    Parameters
    ----------
    request
        With a share of layers to raise.
    network
        Gives the names.
    order
        The layers, the most sensitive first; empty where the request's order needs no profile.
    """
    if not request.share:
        return request
    names = list(reachable(request, network))
    if request.order == "sensitivity":
        names = [name for name in order if name in set(names)]
    elif request.order == "back":
        names.reverse()
    raised = names[: math.ceil(request.share * len(names))]
    layers = {**dict.fromkeys(raised, request.raised), **dict(request.layers)}
    return replace(request, share=0.0, layers=tuple(sorted(layers.items())))


def reachable(request: Quantization, network: nn.Module) -> dict[str, Weight]:
    """Return the weights that a request is about: no runtime multiplies recurrent ones in int8."""
    found = quantizable(network).items()
    return {name: weight for name, weight in found if request.stores or not weight.recurrent}


def layer_bits(request: Quantization, names: Sequence[str]) -> dict[str, int]:
    """Return the bits of each layer that a runtime found, in the order they run.

    Raises
    ------
    RefusedError
        If what is kept leaves no layer at the bits asked for.
    """
    if request.share or request.mean_bits:
        raise ValueError("a share or a budget must be resolved into layers before a build.")
    bits = dict.fromkeys(names, request.bits)
    if names and request.keep != "none":
        kept = FLOAT if request.keep == "first_last" else max(8, request.bits)
        bits[names[0]] = bits[names[-1]] = kept
        if request.bits not in bits.values():
            raise RefusedError(
                f"of {len(names)} layers with weights the first and the last stay at a higher "
                f"precision, which leaves none at {request.bits} bits; ask for keep='none'."
            )
    # What is named more closely counts more: a layer of a block before the block.
    for named, count in sorted(request.layers, key=lambda pair: pair[0].count(".")):
        bits |= {name: count for name in bits if _is_within(name, named)}
    return bits


def _is_within(name: str, named: str) -> bool:
    """Say whether a layer is what is named, or lies in the block of that name."""
    return name == named or name.startswith(f"{named}.")


def grid_of(request: Quantization, bits: int) -> Grid:
    """Return the grid of a layer that has these bits."""
    if bits != request.bits:
        # What was raised out of a coarse grid lies on the plain one of its precision.
        return Grid(bits)
    if request.name == "codebook":
        return Grid(bits, "codebook", "per_tensor", clusters=request.clusters)
    scheme: Any = "binary" if request.name == "binary" else request.scheme
    granularity: Any = request.granularity
    return Grid(
        bits,
        scheme,
        granularity,
        request.group,
        ranges=request.weight_ranges,
        percentile=request.percentile,
        whole_zeros=request.name == "dynamic",
    )


def stored_precision(request: Quantization, layers: Mapping[str, int]) -> str:
    """Return the words for stored weights: what they are, and that computation is in float.

    Parameters
    ----------
    request
        What was asked for.
    layers
        The bits that each layer really has.
    """
    kinds = {"codebook": f"codebook of {request.clusters}", "binary": "binary"}
    own = {request.bits: kinds.get(request.name, f"int{request.bits}"), FLOAT: "float32"}
    found = sorted(set(layers.values()), key=lambda bits: (bits != request.bits, bits))
    return f"{'/'.join(own.get(bits, f'int{bits}') for bits in found)} weights, float32 compute"


def refuse_layers(request: Quantization, task: Task) -> str | None:
    """Say that a request does not fit the layers of the task's model, or None."""
    if request.name not in LAYER_BITS:
        return None
    count = len(reachable(request, task.model))
    if not count:
        return "the model has no layer whose weights could be quantized."
    if request.name in ("static", "dynamic") and request.keep == "first_last" and count <= 2:
        return (
            f"the model has {count} layers with weights, so keeping the first and the last in "
            "float leaves none to quantize; ask for keep='none'."
        )
    return _refuse_settings(request) or _refuse_names(request, task.model)


def refuse_known(request: Quantization, runtime: str, known: Sequence[str]) -> str | None:
    """Say that a runtime does not know a precision, or not in these bits, or None."""
    if request.name not in known:
        return f"{runtime} has no precision {request.name!r} here; known: {', '.join(known)}."
    if request.bits not in BITS[request.name]:
        bits = " or ".join(map(str, BITS[request.name]))
        return f"{runtime} realises {request.name!r} in {bits} bits, but got bits={request.bits}."
    return None


def _refuse_settings(request: Quantization) -> str | None:
    if request.calibration not in CALIBRATIONS:
        known = ", ".join(CALIBRATIONS)
        return f"calibration must be one of {known}, but got {request.calibration!r}."
    if reason := _refuse_ranges(request):
        return reason
    asked = [bits for _, bits in request.layers] + ([request.raised] if request.share else [])
    allowed = LAYER_BITS[request.name]
    if wrong := [bits for bits in asked if bits not in allowed]:
        known = " or ".join(map(str, allowed))
        return f"a layer of a {request.name!r} request has {known} bits, but got {wrong[0]}."
    try:
        grid_of(request, request.bits)
    except ValueError as error:
        return str(error)
    return None


def _refuse_ranges(request: Quantization) -> str | None:
    """Say that a calibration has nothing to find where it was asked for, or None."""
    if request.name != "static" and request.calibration != "minmax":
        other = (
            "dynamic activations get their ranges anew at every request"
            if request.name == "dynamic"
            else "only weights are stored, whose ranges `weight_ranges` says"
        )
        return (
            f"calibration={request.calibration!r} finds ranges of activations beforehand, but "
            f"{other}; ask for static."
        )
    if not request.stores and request.weight_ranges != "usual":
        return (
            f"weight_ranges={request.weight_ranges!r} is for weights that are stored only; where "
            "integers are multiplied the runtimes cover all weights."
        )
    if request.name == "static" and request.granularity == "per_group":
        return (
            "static int8 has a scale a channel at most: kernels add up products of integers along "
            "a whole output channel; ask for per_channel, or for dynamic or weight-only "
            "quantization."
        )
    return None


def _refuse_names(request: Quantization, model: nn.Module) -> str | None:
    """Say that a named layer is absent, naming the nearest, or that it cannot be quantized."""
    layers, modules = reachable(request, model), dict(model.named_modules())
    for name, _ in request.layers:
        if any(_is_within(layer, name) for layer in layers):
            continue
        if name in modules:
            kind = type(modules[name]).__name__
            return (
                f"the layer {name!r} is a {kind} that cannot be quantized: only linear layers, "
                "convolutions and, where weights are stored, the matrices of recurrent layers "
                "(such as 'rnn.weight_ih_l0') can, in float32."
            )
        near = difflib.get_close_matches(name, layers, n=3, cutoff=0.3) or list(layers)[:3]
        return f"the model has no layer {name!r}; the nearest are {', '.join(map(repr, near))}."
    return None
