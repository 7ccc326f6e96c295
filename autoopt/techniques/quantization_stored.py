"""Requests for weights stored in few bits; computation stays in float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoopt.interfaces import Quantization
from autoopt.techniques._bounds import check_choice, check_number, check_text, check_whole
from autoopt.techniques.quantization import (
    GRANULARITIES,
    GROUP,
    SCHEMES,
    Granularity,
    Keep,
    Scheme,
    check_group,
    check_percentile,
)

CALIBRATIONS = ("usual", "minmax", "percentile", "mse", "entropy")
KEEPS = ("none", "first_last", "first_last_int8")
FLOAT = 32


@dataclass(frozen=True)
class WeightOnly:
    """Weights on an even grid of few bits.

    Attributes
    ----------
    bits
        Bits a weight takes: 8, 4 or 2.
    scheme
        A grid evenly about zero, or one from the least to the largest weight.
    group
        Weights of an output channel that share a scale; 0: all of them, or, with a `granularity`
        of ``"per_group"``, 32.
    keep
        What becomes of the first and the last layer: nothing special, float, or 8 bits.
    granularity
        One scale a weight tensor, one an output channel, or one a group of a channel.
    calibration
        Which weights the grid covers: those between the least and the largest, within a
        percentile, in the range of least squared error, or of least divergence (a scale a tensor
        only); ``"usual"`` is least squared error on symmetric grids of 4 bits and fewer, otherwise
        all.
    percentile
        Percent of the weights that a percentile's range holds, above 50.
    """

    bits: Literal[8, 4, 2] = 8
    scheme: Scheme = "symmetric"
    group: int = 0
    keep: Keep = "none"
    granularity: Granularity = "per_channel"
    calibration: Literal["usual", "minmax", "percentile", "mse", "entropy"] = "usual"
    percentile: float = 99.9

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("bits", self.bits, (8, 4, 2))
        check_choice("scheme", self.scheme, SCHEMES)
        check_choice("keep", self.keep, KEEPS)
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_choice("calibration", self.calibration, CALIBRATIONS)
        check_group(self.group)
        check_percentile(self.percentile)
        if self.group and self.granularity == "per_tensor":
            raise ValueError(
                "a scale a tensor has no groups, but got "
                f"(granularity='per_tensor', group={self.group})."
            )

    def request(self) -> Quantization:
        """Return the request."""
        group = self.group or (GROUP if self.granularity == "per_group" else 0)
        return Quantization(
            "weight_only",
            self.bits,
            "per_group" if group else self.granularity,
            self.keep,
            scheme=self.scheme,
            group=group,
            weight_ranges=self.calibration,
            percentile=self.percentile,
        )


@dataclass(frozen=True)
class Codebook:
    """Weights of a layer share a few numbers found by k-means (Han et al., arXiv 1510.00149).

    Attributes
    ----------
    clusters
        Numbers a layer, from 4 to 256; a weight takes log2 of it in bits, rounded up.
    keep
        What becomes of the first and the last layer: nothing special, float, or 8 bits.
    """

    clusters: int = 16
    keep: Keep = "none"

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_whole("clusters", self.clusters, 4, 256)
        check_choice("keep", self.keep, KEEPS)

    def request(self) -> Quantization:
        """Return the request."""
        bits = (self.clusters - 1).bit_length()
        return Quantization("codebook", bits, "per_tensor", self.keep, clusters=self.clusters)


@dataclass(frozen=True)
class Binary:
    """Weights are a scale times their sign (XNOR-Net, arXiv 1603.05279).

    Attributes
    ----------
    group
        Weights of an output channel that share a scale; 0: all of them.
    keep
        What becomes of the first and the last layer: nothing special, float, or 8 bits.
    """

    group: int = 0
    keep: Keep = "first_last_int8"

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_group(self.group)
        check_choice("keep", self.keep, KEEPS)

    def request(self) -> Quantization:
        """Return the request."""
        granularity = "per_group" if self.group else "per_channel"
        return Quantization("binary", 1, granularity, self.keep, group=self.group)


@dataclass(frozen=True)
class MixedPrecision:
    """Weights in few bits, but in more where it matters.

    Attributes
    ----------
    bits
        Bits of most layers: 4 or 2.
    raised
        Bits of the others: 8, 4, or 32 for float.
    share
        Share of the layers that are raised, from 0 to below 1.
    order
        Which: those that a profile of the network finds most sensitive, those at its front, or
        those at its back.
    scheme
        A grid evenly about zero, or one from the least to the largest weight.
    group
        Weights of an output channel that share a scale; 0: all of them.
    """

    bits: Literal[4, 2] = 4
    raised: Literal[8, 4, 32] = 8
    share: float = 0.25
    order: Literal["sensitivity", "front", "back"] = "sensitivity"
    scheme: Literal["symmetric", "affine"] = "affine"
    group: int = 32

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("bits", self.bits, (4, 2))
        check_choice("raised", self.raised, (8, 4, FLOAT))
        check_choice("order", self.order, ("sensitivity", "front", "back"))
        check_choice("scheme", self.scheme, ("symmetric", "affine"))
        check_number("share", self.share, least=0, below=1)
        check_group(self.group)
        if self.raised <= self.bits:
            raise ValueError(
                "`raised` must be more than `bits`, but got "
                f"(bits={self.bits}, raised={self.raised})."
            )

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization(
            "weight_only",
            self.bits,
            "per_group" if self.group else "per_channel",
            scheme=self.scheme,
            group=self.group,
            share=self.share,
            raised=self.raised,
            order=self.order,
        )


@dataclass(frozen=True)
class BitBudget:
    """Each layer has 2, 4, 8 or 32 bits, as many as a budget of the whole network allows.

    An integer program on a profile of the network decides which, so that a search has one dimension
    for all layers (HAWQ-V3, arXiv 2011.10680).

    Attributes
    ----------
    mean_bits
        Bits that a weight takes on average, scales and zeros included, from 1 to 32.
    scheme, group
        Of the layers of 2 bits; the others lie on an even grid about zero with a scale a channel.
    """

    mean_bits: float = 4.0
    scheme: Literal["symmetric", "affine"] = "affine"
    group: int = 128

    def __post_init__(self) -> None:
        """Hold the bounds."""
        check_number("mean_bits", self.mean_bits, least=1, below=FLOAT)
        check_choice("scheme", self.scheme, ("symmetric", "affine"))
        check_group(self.group)

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization(
            "weight_only",
            2,
            "per_group" if self.group else "per_channel",
            scheme=self.scheme,
            group=self.group,
            mean_bits=self.mean_bits,
        )


@dataclass(frozen=True)
class PerLayer:
    """Bits for each layer, or for each stage or block of the network, by its name.

    Attributes
    ----------
    layers
        Such as ``"stem=8, blocks=4, blocks.0.conv1=8, head=32"``; 8, 4, 2, or 32 for float. A
        name more closely given counts more.
    bits
        Those of the layers that are not named: 8, 4, 2, or 32.
    """

    layers: str = ""
    bits: Literal[8, 4, 2] = 8

    def __post_init__(self) -> None:
        """Read the assignment once, so that what is wrong with it shows at once."""
        check_choice("bits", self.bits, (8, 4, 2))
        check_text("layers", self.layers)
        self.request()

    def request(self) -> Quantization:
        """Return the request."""
        pairs = [_assigned(item) for item in self.layers.split(",") if item.strip()]
        names = [name for name, _ in pairs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"`layers` must name each layer once, but got {twice[0]!r} twice.")
        return Quantization("weight_only", self.bits, layers=tuple(sorted(pairs)))


def _assigned(item: str) -> tuple[str, int]:
    name, _, bits = item.partition("=")
    if not name.strip() or bits.strip() not in {"8", "4", "2", "32"}:
        raise ValueError(
            f"`layers` must read 'name=bits, …' with 8, 4, 2 or 32 bits, but got {item.strip()!r}."
        )
    return name.strip(), int(bits)
