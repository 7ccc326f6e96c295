"""One stage of one candidate, from which every error comes back as a `Failure`."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from autoopt.build import Bench, survey
from autoopt.disk import full_disk
from autoopt.errors import DivergedError, OverCapError, RefusedError, SearchError, StoppedEarlyError
from autoopt.measure import MeasurePlan, measure_artifact
from autoopt.outcome import Done, Outcome, Stage, Survey
from autoopt.recipe import Recipe
from autoopt.record import Failure, FailureKind
from autoopt.runtimes.opening import open_own
from search_spaces import SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment

_SAID = ("refused", "over_cap", "stopped", "diverged")
"""Kinds whose message says all."""

_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc", "out of memory")


_T = TypeVar("_T")


@dataclass
class Evaluator:
    """Runs stages in this process, one after the other.

    Attributes
    ----------
    bench
        Where networks and artefacts are built.
    plan
        What is measured.
    space
        The joint space, for the survey.
    reference_recipe
        The original in eager float32, which every timing runs against.
    """

    bench: Bench
    plan: MeasurePlan
    space: SearchSpace
    reference_recipe: Recipe
    _open: dict[str, Deployment] = field(default_factory=dict, repr=False)

    def run(self, stage: Stage, recipe: Recipe, bar: float | None = None) -> Outcome:
        """Do one stage; an error of the candidate's comes back as a `Failure`.

        Parameters
        ----------
        stage, recipe
            What to do of which candidate.
        bar
            Quality that a network must be able to reach while it is trained; None for any.

        Raises
        ------
        SearchError
            If the disk is full or the device is taken, which is no fault of the candidate's.
        """
        start = time.perf_counter()
        done = _attempt(lambda: self._run(stage, recipe, bar))
        if isinstance(done, Exception):
            if isinstance(done, SearchError):
                raise done
            if message := full_disk(self.bench.cache.folder, done):
                raise SearchError(f"{message} ({type(done).__name__}: {done})") from done
            return as_failure(stage, done)
        return Done(time.perf_counter() - start, **done)

    def _run(self, stage: Stage, recipe: Recipe, bar: float | None) -> dict[str, Any]:
        if stage == "survey":
            return {
                "survey": Survey(
                    tuple(self._refusals()),
                    tuple(self.bench.paid()),
                    self.bench.builders(self.space),
                )
            }
        if stage == "network":
            return {"built": self.bench.build_network(recipe, bar)}
        if stage == "artifact":
            return {"built": self.bench.build_artifact(recipe)}
        key = self.bench.artifact_key(recipe)
        folder = self.bench.artifact_folder(key)
        parallel = self.bench.parallel(recipe)
        if stage == "memory":
            from autoopt.measure import serving_memory

            request = [tensor.numpy() for tensor in self.bench.task.example]
            return {"memory": serving_memory(folder, parallel, request)}
        return {
            "measurement": measure_artifact(
                self.bench.task,
                folder,
                parallel,
                plan=self.plan,
                reference=self._reference,
                build_seconds=self.bench.artifact_seconds(key),
                network=lambda: self._faced(recipe),
            )
        }

    def _refusals(self) -> Iterator[dict[str, Any]]:
        """Yield what cannot run here; what fails while it is asked counts as refused."""
        for when, ask in survey(self.bench, self.space):
            reason = _attempt(ask)
            if isinstance(reason, Exception):
                reason = f"asked beforehand, it raised {type(reason).__name__}: {reason}"
            if reason:
                yield {"when": when, "reason": reason}

    def _reference(self) -> Deployment:
        """Return the original in eager float32, started once in this process."""
        if "reference" not in self._open:
            built = self.bench.build_artifact(self.reference_recipe)
            folder = self.bench.artifact_folder(built.key)
            parallel = self.bench.parallel(self.reference_recipe)
            self._open["reference"] = open_own(
                folder, parallel, network=lambda: self._faced(self.reference_recipe)
            )
        return self._open["reference"]

    def _faced(self, recipe: Recipe) -> nn.Module:
        """Return the network of a recipe with its positional face."""
        return self.bench.task.wrapped(self.bench.network(recipe))


def _attempt(call: Callable[[], _T]) -> _T | Exception:
    """Return what a call gives, or what it raised.

    This is the one place that catches everything: a candidate runs foreign code, and what it may
    raise is unknown.
    """
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - see above
        return error


def as_failure(stage: Stage, error: Exception) -> Failure:
    """Return the failure that an exception means."""
    kind: FailureKind = "error"
    text = str(error) or repr(error)
    slots: tuple[str, ...] = ()
    if isinstance(error, OverCapError):
        kind, slots = "over_cap", error.slots
    elif isinstance(error, StoppedEarlyError):
        kind = "stopped"
    elif isinstance(error, RefusedError):
        kind = "refused"
    elif isinstance(error, DivergedError):
        kind = "diverged"
    elif isinstance(error, MemoryError) or any(word in text.lower() for word in _MEMORY_WORDS):
        kind = "out_of_memory"
    message = text if kind in _SAID else f"{type(error).__name__}: {text}"
    log = (
        ""
        if kind in ("refused", "over_cap", "stopped")
        else "".join(traceback.format_exception(error))
    )
    return Failure(stage, kind, message[:2000], log[-8000:], slots)
