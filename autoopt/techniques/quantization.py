"""Requests for precision; the runtimes realise them with their own kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoopt.interfaces import Quantization
from autoopt.techniques._bounds import check_choice, check_number, check_whole

Calibration = Literal["minmax", "percentile", "mse", "entropy"]
Keep = Literal["none", "first_last", "first_last_int8"]
Granularity = Literal["per_tensor", "per_channel", "per_group"]
Scheme = Literal["symmetric", "affine"]

GRANULARITIES = ("per_tensor", "per_channel", "per_group")
SCHEMES = ("symmetric", "affine")
GROUP = 32
"""Weights that share a scale where groups are asked for and nothing is said of their size."""


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
class Float16:
    """Weights in float16; what computes in it is the runtime's affair, and is written down."""

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization(name="float16", bits=16)


@dataclass(frozen=True)
class StaticInt8:
    """Weights and activations in 8 bits, ranges calibrated on data.

    Attributes
    ----------
    granularity
        One scale a weight tensor, or one an output channel; no kernel here multiplies integers
        whose scale changes within a channel, so the runtimes refuse ``"per_group"``.
    scheme
        Weights evenly about zero, or from the least to the largest.
    keep
        Layers that stay in float: none, or the first and the last.
    calibration
        How ranges are found: least and largest value, a percentile, least squared error, or
        least divergence.
    percentile
        Percent of the values that a percentile's range holds, above 50.
    activations
        Activations from the least to the largest value, or evenly about zero.
    sensitive
        Share of the layers, the most sensitive ones, that stay in float; from 0 to below 1.
    """

    granularity: Granularity = "per_channel"
    keep: Literal["none", "first_last"] = "none"
    calibration: Calibration = "minmax"
    percentile: float = 99.99
    activations: Literal["affine", "symmetric"] = "affine"
    sensitive: float = 0.0
    scheme: Scheme = "symmetric"

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_choice("scheme", self.scheme, SCHEMES)
        check_choice("keep", self.keep, ("none", "first_last"))
        check_choice("calibration", self.calibration, ("minmax", "percentile", "mse", "entropy"))
        check_choice("activations", self.activations, ("affine", "symmetric"))
        check_number("sensitive", self.sensitive, least=0, below=1)
        check_percentile(self.percentile)

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization(
            "static",
            8,
            self.granularity,
            self.keep,
            scheme=self.scheme,
            group=GROUP if self.granularity == "per_group" else 0,
            calibration=self.calibration,
            percentile=self.percentile,
            activations=self.activations,
            share=self.sensitive,
        )


@dataclass(frozen=True)
class DynamicInt8:
    """Weights in 8 bits, and activations too, in ranges found anew for every request.

    Attributes
    ----------
    granularity
        One scale a weight tensor, one an output channel, or one for `group` weights of a channel.
    scheme
        Weights evenly about zero, or from the least to the largest.
    group
        Weights that share a scale with ``"per_group"``.
    """

    granularity: Granularity = "per_channel"
    scheme: Scheme = "symmetric"
    group: int = GROUP

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_choice("scheme", self.scheme, SCHEMES)
        check_group(self.group)
        if not self.group:
            raise ValueError("`group` must be from 2, but got 0.")

    def request(self) -> Quantization:
        """Return the request."""
        group = self.group if self.granularity == "per_group" else 0
        return Quantization("dynamic", 8, self.granularity, scheme=self.scheme, group=group)


def check_percentile(percentile: object) -> None:
    """Hold the bounds of a percentile of values that a range takes in."""
    check_number("percentile", percentile, above=50, most=100)


def check_group(group: object) -> None:
    """Hold that a group is none or has several weights."""
    if group == 1:
        raise ValueError("`group` must be 0 (none) or a whole number from 2, but got 1.")
    check_whole("group", group, 0)
