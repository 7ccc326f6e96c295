"""The bytes that a precision promises to save, and those that the weights in the files do save."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from autoopt.precision import quantizable
from autoopt.runtimes.layer_table import read_layers

TABLES = {"gather", "embedding"}
"""Layers that look numbers up; what they share with a product is counted there."""


def promised_saving(network: nn.Module, bits: Mapping[str, int], usual: int) -> int:
    """Return the bytes that weights in so many bits save against float32; tied ones count once.

    Where no layer is listed, all weights have the usual bits.
    """
    weights = quantizable(network)
    reached = bits or dict.fromkeys(weights, usual)
    once = {id(weights[name].tensor): name for name in reached if name in weights}
    return sum(weights[name].tensor.numel() * (32 - reached[name]) // 8 for name in once.values())


def saved_by_weights(folder: Path) -> int:
    """Return the bytes that the weights of layers save in an artefact's files, read back."""
    layers = [layer for layer in read_layers(folder) if layer.kind.lower() not in TABLES]
    return int(sum(layer.parameters * (32 - layer.bits) / 8 for layer in layers))
