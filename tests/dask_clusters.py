"""Real Dask clusters on this machine, quiet and gone at the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster


@contextmanager
def local_cluster(folder: Path, workers: int) -> Iterator[Client]:
    """A client of so many workers with a process and a thread each, all on one machine."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(folder / "dask"),
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def two_machines(folder: Path, workers: int) -> Iterator[Client]:
    """A client of workers on one address of this machine, and one that measures on another.

    To Dask, and so to a search, they are two machines.
    """
    common = {
        "nthreads": 1,
        "local_directory": str(folder / "dask"),
        "dashboard_address": None,
        "silence_logs": logging.ERROR,
    }
    far: dict[str, Any] = {**common, "host": "127.0.0.2", "resources": {"measure": 1}}
    near: dict[str, Any] = {**common, "host": "127.0.0.1"}
    specification: dict[Any, Any] = {
        "far": {"cls": Nanny, "options": far},
        **{number: {"cls": Nanny, "options": near} for number in range(workers)},
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    with (
        SpecCluster(specification, scheduler, silence_logs=logging.ERROR) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers + 1)
        yield client
