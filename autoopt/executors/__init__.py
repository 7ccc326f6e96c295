"""Where the stages of a candidate run: one file an executor, one line each in the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from autoopt.executors.cluster import Cluster
from autoopt.executors.interface import Executor, Pending, WorkerSetup
from autoopt.interfaces import load_class

EXECUTORS: Mapping[str, str] = MappingProxyType(
    {
        "dask": "dask:DaskExecutor",
        "inprocess": "inprocess:InProcessExecutor",
        "processes": "processes:ProcessExecutor",
    }
)
"""Name to ``"module:Class"`` in this package."""


def load_executor(name: str, setup: WorkerSetup) -> Executor:
    """Return an executor of a name, set up and ready.

    Raises
    ------
    UnknownNameError
        If there is none; the known ones are listed.
    """
    return cast("Executor", load_class("executor", __name__, EXECUTORS, name)(setup))


__all__ = ["EXECUTORS", "Cluster", "Executor", "Pending", "WorkerSetup", "load_executor"]
