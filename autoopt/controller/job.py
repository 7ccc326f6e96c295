"""What a controller is handed when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.executors.cluster import Cluster
from autoopt.settings import Settings

LOG = "log.sqlite"
"""Name of the log in a search's folder."""

STUDY = "study.sqlite"
"""Name of the Optuna study in a search's folder, unless another storage is asked for."""

CONTROLLER_LOG = "controller.log"
WORKER_LOG = "worker.log"
LOCK = "controller.lock"
"""Held by the one controller that a folder has."""


@dataclass(frozen=True)
class Job:
    """One run of a search.

    Attributes
    ----------
    folder
        The search's folder.
    settings
        What was asked for; a resume hands over what the log says, with a new budget.
    payload
        Task and a person's own techniques and objectives, packed.
    snapshot
        Folder of the large tensors that belong to `payload`; removed at the end of the run.
    launched
        Seconds since the epoch when the person called.
    study
        Name of the study in the storage.
    executor
        Name of the executor.
    cluster
        Where the executor of a cluster finds its workers.
    sampler
        A person's own Optuna sampler, typed as Any because who writes a job never imports Optuna.
    """

    folder: Path
    settings: Settings
    payload: bytes
    snapshot: Path
    launched: float
    study: str
    executor: str = "processes"
    cluster: Cluster | None = None
    sampler: Any = None
