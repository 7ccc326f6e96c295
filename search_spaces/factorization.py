"""Layers replaced by products of smaller ones, or sharing one weight: the third slot."""

from __future__ import annotations

from search_spaces.dimensions import Choice
from search_spaces.menu import Options

__all__ = ["FACTORIZATION"]

FACTORIZATION: Options = {
    "none": {},
    # Truncated SVD at one share of each layer's full rank. A square layer grows from a half on,
    # so the choices stay below it; kernels are split over channels, or into a column and a row.
    "svd": {
        "fraction": Choice([0.125, 0.25, 0.375], usual=0.25),
        "scheme": Choice(["channel", "spatial"], usual="channel"),
    },
    # The rank that keeps a share of each layer's energy (squared singular values). Trained weights
    # have long tails: below 0.8 accuracy goes, above 0.95 nothing gets smaller.
    "svd_energy": {
        "energy": Choice([0.8, 0.9, 0.95], usual=0.9),
        "scheme": Choice(["channel", "spatial"], usual="channel"),
    },
    # SVD that keeps the outputs on calibration data, not the weights: lower ranks stay usable.
    "activation_svd": {
        "fraction": Choice([0.125, 0.25, 0.375], usual=0.25),
        "scheme": Choice(["channel"]),
    },
    # Layers of equal shape that are most alike share one weight: smaller, never faster.
    "tied": {"share": Choice([0.25, 0.5], usual=0.25)},
}
