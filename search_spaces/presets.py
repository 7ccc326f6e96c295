"""Whole spaces, ready to search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from search_spaces.cores import usable_cores
from search_spaces.dimensions import Choice
from search_spaces.errors import UnknownNameError
from search_spaces.factorization import FACTORIZATION
from search_spaces.parallel import PARALLEL, cap_threads
from search_spaces.pruning import PRUNING
from search_spaces.quantization import QUANTIZATION
from search_spaces.recovery import RECOVERY
from search_spaces.runtimes import RUNTIMES
from search_spaces.space import SearchSpace
from search_spaces.students import STUDENTS

__all__ = ["PRESETS", "balanced", "cuda", "edge", "preset", "quick", "thorough"]


def quick(cores: int | None = None) -> SearchSpace:
    """Give a space for minutes: few settings, and no runtime that builds slowly.

    Parameters
    ----------
    cores : int, optional
        Cores that candidates may use; those that this process may use by default.
    """
    return balanced(cores).narrow(
        student={"none": {}, "width": {"fraction": [0.25, 0.375, 0.5]}},
        pruning={"none": {}, "magnitude": {"ratio": [0.5, 0.625]}},
        recovery={
            "none": {},
            "recalibrate": {},
            "finetune": {"epochs": [4], "learning_rate": [1e-3]},
            # The longer distillation stays: it is what makes the smallest networks usable.
            "distill": {"temperature": [4.0], "learning_rate": [3e-3]},
        },
        quantization={
            "float32": {},
            "bfloat16": {},
            "static_int8": {"granularity": ["per_channel"], "keep": ["none"]},
            "weight_only": {"bits": [8]},
        },
        runtime=["eager", "onnxruntime", "openvino"],
        parallel={"default": {}, "tuned": {"batch": [0, 4, 8]}},
    )


def balanced(cores: int | None = None) -> SearchSpace:
    """Give what usually wins, in the ranges of the files of this package: for an hour.

    Parameters
    ----------
    cores : int, optional
        Cores that candidates may use; those that this process may use by default.
    """
    space = _whole_menu().narrow(
        student=["none", "width", "depth"],
        pruning=["none", "magnitude"],
        factorization=["none"],
        recovery=["none", "recalibrate", "finetune", "distill"],
        quantization={
            "float32": {},
            "bfloat16": {},
            "static_int8": {},
            "weight_only": {"granularity": ["per_channel"], "scheme": ["symmetric"]},
        },
        runtime=["eager", "compiled", "onnxruntime", "openvino"],
        parallel=["default", "tuned"],
    )
    return _capped(space, cores)


def thorough(cores: int | None = None) -> SearchSpace:
    """Give the whole menu, and then some: finer ratios, longer training. For a night.

    Parameters
    ----------
    cores : int, optional
        Cores that candidates may use; those that this process may use by default.
    """
    space = _whole_menu().extend(
        student={
            "width": {"fraction": Choice([0.125, 0.3125, 0.4375, 0.625, 0.875])},
            "depth": {"fraction": Choice([0.25])},
        },
        pruning={"magnitude": {"ratio": Choice([0.125, 0.3125, 0.4375, 0.5625, 0.6875, 0.875])}},
        recovery={
            "finetune": {"epochs": Choice([16, 32]), "learning_rate": Choice([3e-4])},
            "distill": {
                "epochs": Choice([24, 48]),
                "temperature": Choice([1.0, 8.0]),
                "learning_rate": Choice([3e-4]),
            },
        },
        parallel={
            "tuned": {
                "threads": Choice([8, 16, 32]),
                "replicas": Choice([4, 8]),
                "batch": Choice([2, 32]),
            }
        },
    )
    return _capped(space, cores)


def edge(cores: int | None = None) -> SearchSpace:
    """Give what makes the smallest files: cut networks and weights in 8 bits and fewer.

    Parameters
    ----------
    cores : int, optional
        Cores that candidates may use; those of this machine by default.
    """
    space = _whole_menu().narrow(
        student=["none", "width", "depth"],
        pruning=["none", "magnitude"],
        factorization=["none"],
        recovery=["none", "recalibrate", "finetune", "distill"],
        quantization=[
            "float32",
            "static_int8",
            "packed",
            "codebook",
            "binary",
            "mixed",
            "budgeted",
        ],
        runtime=["eager", "onnxruntime", "openvino"],
        # Small devices answer one request at a time.
        parallel=["default"],
    )
    return _capped(space, cores)


def cuda(cores: int | None = None) -> SearchSpace:
    """Give what runs on a CUDA device: few bits on tensor cores, three ways to launch kernels.

    Parameters
    ----------
    cores : int, optional
        Cores that candidates may use; those that this process may use by default.
    """
    space = _whole_menu().narrow(
        student=["none", "width", "depth"],
        pruning=["none", "magnitude"],
        factorization=["none"],
        recovery=["none", "recalibrate", "finetune", "distill"],
        quantization={
            "float32": {},
            "bfloat16": {},
            "float16": {},
            "dynamic_int8": {"granularity": ["per_channel"], "scheme": ["symmetric"]},
            "fp8": {"mode": ["dynamic"]},
            "int4": {},
        },
        runtime=["eager", "compiled", "cudagraphs"],
        # A device answers one request after the other.
        parallel=["default"],
    )
    return _capped(space, cores)


PRESETS: Final[Mapping[str, Callable[[int | None], SearchSpace]]] = MappingProxyType(
    {"quick": quick, "balanced": balanced, "thorough": thorough, "edge": edge, "cuda": cuda}
)
"""Name → function that gives the space for a number of cores (None: those to use)."""


def preset(name: str, cores: int | None = None) -> SearchSpace:
    """Give the preset of that name.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name](cores)


def _whole_menu() -> SearchSpace:
    return SearchSpace(
        {
            "student": STUDENTS,
            "pruning": PRUNING,
            "factorization": FACTORIZATION,
            "recovery": RECOVERY,
            # Without names of layers it is nothing but 8 bits.
            "quantization": {k: v for k, v in QUANTIZATION.items() if k != "per_layer"},
            "runtime": RUNTIMES,
            "parallel": PARALLEL,
        }
    )


def _capped(space: SearchSpace, cores: int | None) -> SearchSpace:
    available = usable_cores() if cores is None else cores
    return SearchSpace({**space.slots, "parallel": cap_threads(space.slots["parallel"], available)})
