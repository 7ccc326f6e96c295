"""From what the person gave to train, calibration, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoopt.errors import DataError
from autoopt.task.guess import Kind
from autoopt.task.parts import DatasetPart, Part, TensorPart
from autoopt.task.sources import Sources
from autoopt.task.split import HALVES, SIXTY_TWENTY_TWENTY, split

CALIBRATION_SAMPLES = 256
# Fewest samples that can be divided: two to validate on, two to test on, the rest to train on.
FEWEST_IN_ONE = 10
FEWEST_TO_HALVE = 4
FEWEST_IN_A_PART = 2
# Below this many, one sample is more than a point of accuracy.
FEW_TO_JUDGE = 100


@dataclass(frozen=True)
class Division:
    """The parts of a task.

    Attributes
    ----------
    train, calibration, validation, test
        Calibration is a subset of train; the others are disjoint.
    notes
        How they were made, in sentences.
    """

    train: Part
    calibration: Part
    validation: Part
    test: Part
    notes: tuple[str, ...]


def divide(sources: Sources, kind: Kind, seed: int) -> Division:
    """Split what was given as one, halve what was given as two, keep what was given as three.

    Raises
    ------
    DataError
        If there are too few samples; the message says how many are needed.
    """
    whole = sources.train.part
    train: Part
    validation: Part
    test: Part
    if sources.valid is None:
        _need(whole, FEWEST_IN_ONE, "data", "to be split into train, validation and test")
        train, validation, test = _deal(whole, SIXTY_TWENTY_TWENTY, kind, seed)
        how = "split 60/20/20 into train, validation and test"
    elif sources.test is None:
        valid = sources.valid.part
        _need(whole, FEWEST_IN_A_PART, "training data", "to be trained on")
        _need(valid, FEWEST_TO_HALVE, "validation data", "to be halved into validation and test")
        train = whole
        validation, test = _deal(valid, HALVES, kind, seed)
        how = "the validation data was halved into validation and test"
    else:
        train, validation, test = whole, sources.valid.part, sources.test.part
        for part, name in ((train, "training"), (validation, "validation"), (test, "test")):
            _need(part, FEWEST_IN_A_PART, f"{name} data", "to be used")
        how = "train, validation and test as given"
    rows = np.random.default_rng(seed).permutation(len(train))[:CALIBRATION_SAMPLES]
    sentence = (
        f"data: {how} ({len(train)}/{len(validation)}/{len(test)} samples, seed {seed}); "
        f"{len(rows)} of the training samples calibrate"
    )
    notes = [sentence]
    if len(validation) < FEW_TO_JUDGE:
        notes.append(
            f"data: only {len(validation)} validation samples, so a difference of "
            f"{100 / len(validation):.0f} points or less is not visible"
        )
    return Division(train, _held(train.select(rows.tolist())), validation, test, tuple(notes))


def _held(part: Part) -> Part:
    """Return a small part in memory: calibration goes through it again and again."""
    return part.held() if isinstance(part, DatasetPart) else part


def _need(part: Part, fewest: int, name: str, purpose: str) -> None:
    if len(part) < fewest:
        raise DataError(
            f"the {name} must have at least {fewest} samples {purpose}, but it has {len(part)}. "
            "Give more samples, or (train, valid, test) parts of your own."
        )


def _deal(part: Part, pattern: Sequence[int], kind: Kind, seed: int) -> tuple[Part, ...]:
    classes = _classes(part) if kind == "classification" else None
    return tuple(
        part.select(rows) for rows in split(len(part), pattern, seed=seed, classes=classes)
    )


def _classes(part: Part) -> npt.NDArray[np.int64] | None:
    """Return one class a sample to stratify by, or None if there is no such thing."""
    if not isinstance(part, TensorPart):
        # Reading a large dataset only for its labels costs more than a random split loses.
        return None
    targets = part.targets().reshape(len(part), -1)
    if targets.shape[1] == 1:
        return targets[:, 0].long().numpy()
    if bool((targets.sum(dim=1) == 1).all()) and bool(((targets == 0) | (targets == 1)).all()):
        return targets.argmax(dim=1).numpy()
    return None
