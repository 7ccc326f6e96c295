"""Requests for precision; the runtimes realise them with their own kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoopt.interfaces import Quantization


@dataclass(frozen=True)
class Float32:
    """Compute and store in float32."""

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization()


@dataclass(frozen=True)
class BFloat16:
    """Compute in bfloat16 where the processor can."""

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization(name="bfloat16", bits=16)


@dataclass(frozen=True)
class StaticInt8:
    """Weights and activations in 8 bits, ranges calibrated on data.

    Attributes
    ----------
    granularity
        One scale a weight tensor, or one an output channel.
    keep
        Layers that stay in float: none, or the first and the last.
    """

    granularity: Literal["per_tensor", "per_channel"] = "per_channel"
    keep: Literal["none", "first_last"] = "none"

    def __post_init__(self) -> None:
        """Hold the choices."""
        _check("granularity", self.granularity, ("per_tensor", "per_channel"))
        _check("keep", self.keep, ("none", "first_last"))

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization("static", 8, self.granularity, self.keep)


@dataclass(frozen=True)
class WeightOnly:
    """Weights stored in few bits; computation stays in float.

    Attributes
    ----------
    bits
        Bits a weight takes: 8 or 4.
    """

    bits: Literal[8, 4] = 8

    def __post_init__(self) -> None:
        """Hold the choices."""
        _check("bits", self.bits, (8, 4))

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization("weight_only", self.bits)


def _check(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise ValueError(f"`{name}` must be one of {known}, but got {value!r}.")
