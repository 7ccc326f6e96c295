"""Weight sharing: a few numbers found by k-means, and each weight the nearest of them.

Han et al., Deep Compression, arXiv 1510.00149.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Of more weights than this k-means sees the means of as many bins: Lloyd's steps take time
# proportional to them, and bins of a ten-thousandth of the range move no centre visibly.
POINTS = 8192


def share_weights(
    weights: npt.NDArray[np.float32], clusters: int, *, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return a sorted codebook and the code of the nearest entry for each weight.

    Parameters
    ----------
    weights
        Any shape; the codes have it too.
    clusters
        Entries of the codebook, from 2 to 256; there are fewer where fewer weights differ.
    seed
        Decides ties inside scikit-learn.
    """
    if not 2 <= clusters <= 256:
        raise ValueError(f"`clusters` must be from 2 to 256, but got {clusters}.")
    values, counts = _points(weights.reshape(-1).astype(np.float64))
    means = values if len(values) <= clusters else _means(values, counts, clusters, seed)
    book = np.unique(means).astype(np.float32)
    middles = (book[1:] + book[:-1]) / 2
    codes = np.asarray(np.searchsorted(middles, weights.reshape(-1)), np.uint8)
    return book, codes.reshape(weights.shape)


def _points(
    flat: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the different values, or the means of bins where they are too many, with counts."""
    values, counts = np.unique(flat, return_counts=True)
    if len(values) <= POINTS:
        return values, counts
    edges = np.linspace(values[0], values[-1], POINTS + 1)
    held, _ = np.histogram(flat, edges)
    sums, _ = np.histogram(flat, edges, weights=flat)
    full = held > 0
    return sums[full] / held[full], held[full]


def _means(
    values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], clusters: int, seed: int
) -> npt.NDArray[np.float64]:
    from sklearn.cluster import KMeans

    # Evenly over the range: starts that follow the density leave the rare large weights, which
    # matter most, without a centre.
    start = np.linspace(values[0], values[-1], clusters)[:, None]
    means = KMeans(clusters, init=start, n_init=1, random_state=seed)
    means.fit(values[:, None], sample_weight=counts)
    centres: npt.NDArray[np.float64] = means.cluster_centers_[:, 0]
    return centres
