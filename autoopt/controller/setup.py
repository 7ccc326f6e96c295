"""From a job to what its workers need."""

from __future__ import annotations

from pathlib import Path

import psutil

from autoopt.constraint import parse_constraints
from autoopt.controller.baselines import original
from autoopt.controller.job import WORKER_LOG, Job
from autoopt.devices import CPU, device_of
from autoopt.executors import WorkerSetup
from autoopt.executors.interface import MEMORY_SHARE


def worker_setup(job: Job) -> WorkerSetup:
    """Return the setup of a job's workers."""
    settings = job.settings
    limit = settings.limits.memory
    if limit is None and device_of(settings.target) != CPU:
        # A driver maps far more than it uses, and the device's own memory has its own bounds.
        limit = 0
    elif limit is None and job.cluster is None:
        limit = int(MEMORY_SHARE * psutil.virtual_memory().available) // settings.workers
    return WorkerSetup(
        payload=job.payload,
        snapshot=job.snapshot,
        cache=Path(settings.cache),
        scope="" if settings.stable else job.study,
        target=settings.target,
        objectives=settings.measured,
        space=settings.space,
        reference=original(),
        measure_seconds=settings.measure_seconds,
        memory_limit=limit,
        caps=parse_constraints(settings.constraints, settings.bounded_axes),
        log=job.folder / WORKER_LOG,
        workers=settings.workers,
        cluster=job.cluster,
    )
