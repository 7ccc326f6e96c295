"""From a job to what its workers need."""

from __future__ import annotations

from pathlib import Path

import psutil

from autoopt.controller.baselines import original
from autoopt.controller.job import WORKER_LOG, Job
from autoopt.executors import WorkerSetup

MEMORY_SHARE = 0.8
"""Share of the memory that is free at the start which workers may take together."""


def worker_setup(job: Job) -> WorkerSetup:
    """Return the setup of a job's workers."""
    settings = job.settings
    limit = settings.limits.memory
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
        memory_limit=(
            int(MEMORY_SHARE * psutil.virtual_memory().available) // settings.workers
            if limit is None
            else limit
        ),
        log=job.folder / WORKER_LOG,
        workers=settings.workers,
    )
