"""Requests that tensor cores realise: floats of 8 bits, and weights of 4 that kernels unpack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoopt.interfaces import Quantization
from autoopt.techniques._bounds import check_choice
from autoopt.techniques.quantization import Keep

GROUPS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Fp8:
    """Linear layers in floats of 8 bits (E4M3; Micikevicius et al. 2022, arXiv 2209.05433).

    Attributes
    ----------
    mode
        ``"dynamic"`` multiplies in them, activations scaled as they come; ``"weight_only"``
        stores weights in them and computes in float.
    granularity
        One scale an output channel (and a sample's row), or one a tensor.
    keep
        Layers that stay in float: none, or the first and the last.
    """

    mode: Literal["dynamic", "weight_only"] = "dynamic"
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    keep: Literal["none", "first_last"] = "none"

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("mode", self.mode, ("dynamic", "weight_only"))
        check_choice("granularity", self.granularity, ("per_channel", "per_tensor"))
        check_choice("keep", self.keep, ("none", "first_last"))

    def request(self) -> Quantization:
        """Return the request."""
        name = "fp8" if self.mode == "dynamic" else "fp8_weights"
        return Quantization(name, 8, self.granularity, self.keep)


@dataclass(frozen=True)
class Int4:
    """Linear layers in bfloat16 with weights of 4 bits, which the kernel itself unpacks.

    Unlike ``packed``, whose weights are unpacked beforehand, it saves memory traffic as well.

    Attributes
    ----------
    group
        Weights of an output channel that share a scale: 32, 64, 128 or 256.
    keep
        Layers that stay in float: none, or the first and the last.
    """

    group: Literal[32, 64, 128, 256] = 128
    keep: Keep = "none"

    def __post_init__(self) -> None:
        """Hold the choices."""
        check_choice("group", self.group, GROUPS)
        check_choice("keep", self.keep, ("none", "first_last"))

    def request(self) -> Quantization:
        """Return the request."""
        return Quantization("int4", 4, "per_group", self.keep, scheme="affine", group=self.group)
