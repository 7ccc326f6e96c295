"""The numbers that the artefact computes with: a request, which each runtime realises."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["QUANTIZATION"]

QUANTIZATION: Options = {
    # Stated explicitly, because some runtimes compute in bfloat16 unless they are told not to.
    "float32": {},
    "bfloat16": {},
    # Half the size at hardly any loss; few processors compute in it.
    "float16": {},
    # Weights and activations in 8 bits, ranges from calibration data. One scale a channel is more
    # accurate, one a tensor sometimes faster; first and last layer are the most sensitive.
    "static_int8": {
        "granularity": Choice(["per_channel", "per_tensor"], usual="per_channel"),
        "keep": Choice(["none", "first_last"], usual="none"),
    },
    # The same with every way to find ranges, and with the layers that a profile of the network
    # finds most sensitive left in float: up to a quarter, more gives the speed away.
    "calibrated_int8": {
        "granularity": Choice(["per_channel", "per_tensor"], usual="per_channel"),
        "calibration": Choice(["minmax", "percentile", "mse", "entropy"], usual="mse"),
        "activations": Choice(["affine", "symmetric"], usual="affine"),
        "sensitive": Choice([0.0, 0.125, 0.25], usual=0.0),
    },
    # Ranges of activations found anew for every request: no calibration, for text models above all.
    # Only openvino multiplies integers whose scale changes within a channel.
    "dynamic_int8": {
        "granularity": Choice(["per_channel", "per_tensor", "per_group"], usual="per_channel"),
        "scheme": Choice(["symmetric", "affine"], usual="symmetric"),
        "group": Choice([32]),
    },
    # Only the weights are stored in few bits: smaller, and faster where memory is the limit.
    # A scale for 32 weights costs a bit each, which 4 bits are often worth.
    "weight_only": {
        "bits": Choice([8, 4], usual=8),
        "granularity": Choice(["per_channel", "per_tensor", "per_group"], usual="per_channel"),
        "scheme": Choice(["symmetric", "affine"], usual="symmetric"),
    },
    # The same down to 2 bits. The fewer the bits, the more a scale for every 32 or 128 weights and
    # a first and last layer in 8 bits win; smaller groups would cost a bit a weight.
    "packed": {
        "bits": Choice([8, 4, 2], usual=4),
        "scheme": Choice(["symmetric", "affine"], usual="symmetric"),
        "group": Choice([0, 32, 128], usual=32),
        "keep": Choice(["none", "first_last_int8"], usual="none"),
        # Which weights the grid covers; the usual way searches for the least squared error where
        # it pays, and outliers cost an affine grid as much.
        "calibration": Choice(["usual", "minmax", "percentile", "mse"], usual="usual"),
    },
    # Weights share a few numbers found by k-means: 2 to 8 bits a weight, uneven grids.
    "codebook": {
        "clusters": Choice([4, 8, 16, 32, 64, 256], usual=16),
        "keep": Choice(["none", "first_last_int8"], usual="none"),
    },
    # A sign a weight. Without a first and last layer in 8 bits hardly a network survives it.
    "binary": {
        "group": Choice([0, 64], usual=0),
        "keep": Choice(["first_last_int8", "first_last"], usual="first_last_int8"),
    },
    # Few bits for most layers and more for some: the most sensitive, or one end of the network.
    # At 2 bits an uneven grid keeps what an even one, of three numbers, loses. Beside 2 bits, 4
    # may be the higher precision: extend it, with `bits` narrowed to 2.
    "mixed": {
        "bits": Choice([4, 2], usual=4),
        "raised": Choice([8, 32], usual=8),
        "share": Choice([0.125, 0.25, 0.5], usual=0.25),
        "order": Choice(["sensitivity", "front", "back"], usual="sensitivity"),
        "scheme": Choice(["affine", "symmetric"], usual="affine"),
        "group": Choice([32]),
    },
    # 2, 4, 8 or 32 bits for each layer by an integer program on what a profile says that it loses:
    # one dimension for all layers. Scales and zeros count, so that 2 bits take 2.5.
    "budgeted": {
        "mean_bits": Choice([3.0, 4.0, 5.0, 6.0, 8.0], usual=5.0),
        "scheme": Choice(["affine"]),
        "group": Choice([128]),
    },
    # Bits by name, which only who knows the network can write: no preset offers it. Extend one by
    # it, with names of your layers or stages: Choice(["stem=8, blocks.3=8, head=32"]).
    "per_layer": {"layers": Choice([""]), "bits": Choice([8, 4, 2], usual=8)},
    # Floats of 8 bits by torchao: multiplied on tensor cores from compute capability 8.9 on, or
    # for storage only, which any device can.
    "fp8": {
        "mode": Choice(["dynamic", "weight_only"], usual="dynamic"),
        "granularity": Choice(["per_channel", "per_tensor"], usual="per_channel"),
        "keep": Choice(["none"]),
    },
    # Weights of 4 bits that the kernel unpacks, by torchao on tensor cores; its own group is 128.
    "int4": {"group": Choice([32, 64, 128], usual=128), "keep": Choice(["none"])},
}
