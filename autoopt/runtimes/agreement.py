"""Does the artefact say what the network says? Checked for every build."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from autoopt.errors import DisagreementError, DivergedError

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Deployment
    from autoopt.task import Task

SAMPLES = 64
# Beyond these an artefact is wrong, not merely rounded: several times what networks lose that were
# built rightly. By the beginning of what the build calls its precision.
BOUNDS: Mapping[str, float] = MappingProxyType(
    {"float32": 1e-2, "float16": 0.1, "bfloat16": 0.3, "int8 weights": 0.5, "fp8": 0.5}
)
# Integers, and weights in fewer bits, move outputs further where they do not matter: there the
# classes judge, or an error as large as the outputs themselves.
ROUNDED_ERROR = 1.0
SAME_CLASS = 0.5
# How often its own noise an artefact of a network that is random may be away from it.
NOISE = 4.0


def check_agreement(
    network: nn.Module, deployment: Deployment, task: Task, *, precision: str
) -> dict[str, float]:
    """Compare an artefact with its network on calibration samples.

    Parameters
    ----------
    network
        What the artefact was built from, in float32.
    deployment
        The artefact, loaded.
    task
        Gives the samples and says how the network is called.
    precision
        What the build made of it, such as ``"bfloat16"``; it decides about the bound.

    Returns
    -------
    dict
        ``relative_error`` (norm of the difference over norm of the network's outputs), ``bound``
        (which it had to keep, unless classes judged), ``samples`` and, where classes win,
        ``same_class`` (share of predictions with the same winner).

    Raises
    ------
    DivergedError
        If the network or the artefact gives numbers that are not finite.
    DisagreementError
        If the artefact is further away than its precision explains.
    """
    import torch

    inputs = task.calibration.inputs(min(SAMPLES, len(task.calibration)))
    with torch.no_grad():
        expected = task.forward(network, inputs).float().numpy()
    found = deployment(*(x.numpy() for x in inputs))
    if not np.isfinite(expected).all():
        raise DivergedError("the network's own outputs are not finite on calibration samples.")
    # One token in many is a matter of rounding: there the outputs themselves are compared.
    axis = task.form.axis if task.form.name == "classes" else None
    return compare(expected, found, bound=bound_of(precision), axis=axis, noise=task.noise)


def bound_of(precision: str) -> float | None:
    """Return the largest relative error of a precision, or None where classes judge."""
    return next((bound for name, bound in BOUNDS.items() if precision.startswith(name)), None)


def compare(
    expected: Array, found: Array, *, bound: float | None, axis: int | None, noise: float = 0.0
) -> dict[str, float]:
    """Compare outputs, first axis samples; see `check_agreement`.

    Parameters
    ----------
    expected, found
        Of the network and of the artefact.
    bound
        As `bound_of` gives it.
    axis
        The one that holds the classes; None if no class wins.
    noise
        How far two answers of the network itself are apart.
    """
    if found.shape != expected.shape:
        raise DisagreementError(
            f"the artefact gives outputs of shape {found.shape}, the network {expected.shape}."
        )
    if not np.isfinite(found).all():
        raise DivergedError("the artefact's outputs are not finite where the network's are.")
    norm = float(np.linalg.norm(expected)) or 1.0
    error = float(np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64))) / norm
    result = {"relative_error": error, "samples": float(len(expected))}
    if bound is not None:
        result["bound"] = bound
    limit = ROUNDED_ERROR if bound is None else bound
    gross = error > limit + NOISE * noise
    if axis is not None:
        same = float((expected.argmax(axis=axis) == found.argmax(axis=axis)).mean())
        result["same_class"] = same
        # Where classes are the outcome they are the better judge of rounding, but not of noise.
        if bound is None:
            gross = same < SAME_CLASS and error > NOISE * noise
    if gross:
        figures = ", ".join(f"{name}={value:.3g}" for name, value in result.items())
        raise DisagreementError(
            f"the artefact does not agree with its network on calibration samples ({figures})."
        )
    return result
