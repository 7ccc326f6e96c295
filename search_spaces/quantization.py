"""The numbers that the artefact computes with: a request, which each runtime realises."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["QUANTIZATION"]

QUANTIZATION: Options = {
    # Stated explicitly, because some runtimes compute in bfloat16 unless they are told not to.
    "float32": {},
    "bfloat16": {},
    # Weights and activations in 8 bits, ranges from calibration data. One scale a channel is more
    # accurate, one a tensor sometimes faster; first and last layer are the most sensitive.
    "static_int8": {
        "granularity": Choice(["per_channel", "per_tensor"], usual="per_channel"),
        "keep": Choice(["none", "first_last"], usual="none"),
    },
    # Only the weights are stored in few bits: smaller, and faster where memory is the limit.
    "weight_only": {"bits": Choice([8, 4], usual=8)},
}
