"""Scikit-learn's handwritten digits as 32×32 images, in three parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

IMAGE_SIZE = 32
CLASSES = 10


Parts = tuple[TensorDataset, TensorDataset, TensorDataset]


def digits(seed: int = 0) -> Parts:
    """Return the train, validation and test parts: 60, 20 and 20 % of 1797 digits.

    Every part holds the classes in the same shares.

    Parameters
    ----------
    seed
        Decides who falls into which part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    _, classes = load_digits(return_X_y=True)
    train, rest = train_test_split(
        range(len(classes)), train_size=0.6, stratify=classes, random_state=seed
    )
    validation, test = train_test_split(
        rest, train_size=0.5, stratify=classes[rest], random_state=seed
    )
    return digits_at(train, validation, test)


def digits_at(train: Sequence[int], validation: Sequence[int], test: Sequence[int]) -> Parts:
    """Return the digits of three lists of rows as train, validation and test part.

    Images are float32 of shape (1, 32, 32), enlarged from 8×8 by bilinear interpolation and
    normalised with the mean and deviation of the train part; targets are int64 classes.
    """
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    images = F.interpolate(
        torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8),
        size=(IMAGE_SIZE, IMAGE_SIZE),
        mode="bilinear",
        align_corners=False,
    )
    targets = torch.from_numpy(classes).long()
    deviation, mean = torch.std_mean(images[train])
    images = (images - mean) / deviation
    return (
        TensorDataset(images[train], targets[train]),
        TensorDataset(images[validation], targets[validation]),
        TensorDataset(images[test], targets[test]),
    )
