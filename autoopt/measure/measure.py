"""From an artefact's files to a `Measurement`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU, device_of
from autoopt.errors import DivergedError, RefusedError
from autoopt.interfaces import Decoder, Deployment, Objective, Parallel, Probe, Reading
from autoopt.measure.conditions import Conditions
from autoopt.measure.device_conditions import device_conditions
from autoopt.measure.environment import environment_of
from autoopt.measure.lock import device_lock
from autoopt.measure.memory import serving_device_memory, serving_memory
from autoopt.measurement import Measurement, Stat
from autoopt.objectives import load_objective
from autoopt.runtimes.artifact import artifact_size, read_artifact
from autoopt.runtimes.opening import open_own, refuse_parallel

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array
    from autoopt.task import Task


PARTS = ("train", "calibration", "validation", "test")


@dataclass(frozen=True)
class MeasurePlan:
    """What to measure and how long.

    Attributes
    ----------
    objectives
        Names out of the table of objectives.
    seconds
        Time that each timing objective may take.
    device
        The lane that is held meanwhile.
    own
        A person's own objectives by name.
    """

    objectives: tuple[str, ...]
    seconds: float = 1.2
    device: str = "cpu"
    own: Mapping[str, Objective] = field(default_factory=dict)

    @property
    def decodes(self) -> bool:
        """Whether an objective needs language models to run token after token."""
        chosen = (self.own.get(name) or load_objective(name) for name in self.objectives)
        return any(getattr(objective, "decodes", False) for objective in chosen)


def measure_artifact(
    task: Task,
    folder: Path,
    parallel: Parallel,
    *,
    plan: MeasurePlan,
    reference: Callable[[], Deployment],
    build_seconds: float | None = None,
    network: Callable[[], nn.Module] | None = None,
) -> Measurement:
    """Run an artefact as it will be served and measure every objective.

    Parameters
    ----------
    task
        Gives the parts, the metric and the request.
    folder
        The artefact.
    parallel
        How a request is spread.
    plan
        What to measure.
    reference
        Gives the original in eager float32, running in this process.
    build_seconds
        What making the artefact took, where it is known.
    network
        Gives what the artefact was built from, which some need to run or to be measured.

    Raises
    ------
    RefusedError
        If the configuration cannot run on this machine.
    DivergedError
        If an answer is not finite.
    """
    artifact = read_artifact(folder)
    if reason := refuse_parallel(artifact["runtime"], parallel, device_of(plan.device)):
        raise RefusedError(reason)
    request = [tensor.numpy() for tensor in task.example]
    with closing(open_own(folder, parallel, network=network)) as deployment:
        probe = Probe(
            deployment=deployment,
            reference=reference(),
            request=request,
            parallel=parallel,
            size_bytes=artifact_size(folder),
            open=lambda other: open_own(folder, other, network=network),
            memory=lambda: serving_memory(folder, parallel, request),
            device_memory=lambda: serving_device_memory(folder, parallel, request),
            score=lambda part: score(task, deployment, part),
            seconds=plan.seconds,
            build_seconds=build_seconds,
            decoder=lambda: _decoder(folder, parallel),
            network=network,
        )
        environment = environment_of(plan.device)
        readings = {name: _reading(name, probe, plan) for name in plan.objectives}
        test = score(task, deployment, "test")
    timed = next((reading for reading in readings.values() if reading.speedup), None)
    return Measurement(
        stats=_stats(task, readings),
        test=test,
        speedup=timed.speedup if timed else None,
        reference_ms=_reference(readings),
        samples=timed.samples if timed else {},
        realised=artifact.get("realised", {}),
        target=plan.device,
        environment=environment,
        protocol={
            "deployment": {**_deployed(artifact, parallel, request), "task": _asked(task, plan)},
            **{name: reading.protocol for name, reading in readings.items() if reading.protocol},
        },
    )


def _stats(task: Task, readings: Mapping[str, Reading]) -> dict[str, Stat]:
    """Return the figures; the quality goes by its metric's name."""
    return {
        task.metric.name if name == "quality" else name: reading.stat
        for name, reading in readings.items()
    }


def _decoder(folder: Path, parallel: Parallel) -> Decoder:
    """Start an artefact's graphs for one token after the other, with all threads."""
    from autoopt.runtimes.decoding import open_decoder

    return open_decoder(folder, threads=parallel.threads)


def _deployed(
    artifact: Mapping[str, Any], parallel: Parallel, request: Sequence[Array]
) -> dict[str, Any]:
    """Return what was measured: runtime, checksums, parallel configuration and request."""
    return {
        "runtime": artifact["runtime"],
        "files": artifact["files"],
        "parallel": asdict(parallel),
        "request": [[list(array.shape), str(array.dtype)] for array in request],
    }


def _asked(task: Task, plan: MeasurePlan) -> dict[str, Any]:
    """Return what it was measured with: model and data, seed, samples of each part, time."""
    return {
        "fingerprint": task.fingerprint,
        "seed": task.seed,
        "samples": {part: len(getattr(task, part)) for part in PARTS},
        "request_size": task.request_size,
        "objectives": list(plan.objectives),
        "seconds": plan.seconds,
    }


def _reading(name: str, probe: Probe, plan: MeasurePlan) -> Reading:
    """Measure one objective; what time depends on has the device to itself."""
    objective = plan.own.get(name) or load_objective(name)
    if not getattr(objective, "exclusive", False):
        return objective.measure(probe)
    with device_lock(plan.device):
        before = Conditions.now()
        reading = objective.measure(probe)
        conditions = Conditions.now().since(before)
        # While it is still warm: a device that idles lowers its clocks at once.
        if (device := device_of(plan.device)) != CPU:
            conditions["device"] = device_conditions(device)
    return replace(reading, protocol={**reading.protocol, "conditions": conditions})


def score(task: Task, deployment: Deployment, part: str) -> Stat:
    """Return the task's metric of what a deployment answers to one part.

    Raises
    ------
    DivergedError
        If an answer is not finite.
    """
    import numpy as np

    answers, wanted = [], []
    # In one go: data read when asked for takes as long as the answers, and may differ next time.
    for inputs, targets in getattr(task, part).batches(task.request_size):
        answers.append(deployment(*(tensor.numpy() for tensor in inputs)))
        wanted.append(targets.numpy())
    outputs = np.concatenate(answers)
    if not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).any(axis=tuple(range(1, outputs.ndim))).sum())
        raise DivergedError(
            f"the artefact's answers must be finite, but {bad} of {len(outputs)} on the {part} "
            "part are not"
        )
    return task.metric.stat(np.concatenate(wanted), outputs)


def _reference(readings: Mapping[str, Reading]) -> float | None:
    """Return the reference's milliseconds during the first timing objective."""
    times = [r.reference_ms for r in readings.values() if r.reference_ms is not None]
    return times[0] if times else None
