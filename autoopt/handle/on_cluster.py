"""A client that a person hands over, checked before anything is started."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import SearchError

if TYPE_CHECKING:
    from autoopt.executors import Cluster


def checked_cluster(client: Any, cache: Path, workers: int) -> Cluster | None:
    """Return what reaches the cluster of a client from another process, or None for no client.

    Parameters
    ----------
    client
        What was handed over.
    cache
        Folder that all workers must share with this process.
    workers
        What was said about workers of this machine.

    Raises
    ------
    TypeError
        If it is no client of Dask's that can be asked and waited for.
    ValueError
        If it is closed, its scheduler cannot be reached from another process, or workers of this
        machine are asked for as well.
    SearchError
        If the cluster has no workers, or none of them can serve.
    """
    if client is None:
        return None
    from autoopt.executors import Cluster
    from autoopt.executors.cluster import members, unfit

    if not hasattr(client, "scheduler_info") or isinstance(client, type):
        raise TypeError(f"`client` must be a dask.distributed.Client, but got {client!r}")
    if client.asynchronous:
        raise TypeError("`client` must not be asynchronous: Client(...) without asynchronous=True")
    if workers != 1:
        raise ValueError(
            f"`workers` is for one machine; with a client every worker of its cluster is used, but "
            f"got workers={workers!r}"
        )
    if client.status != "running":
        raise ValueError(
            f"`client` must be connected, but it is {client.status}: make a new one, "
            "dask.distributed.Client(address)"
        )
    address = str(client.scheduler.address)
    if address.startswith("inproc"):
        raise ValueError(
            "the scheduler must be reachable from other processes, but that of `client` lives in "
            f"this one ({address}): use LocalCluster(processes=True) or the address of a scheduler"
        )
    found = members(client)
    if not found:
        raise SearchError(
            f"the cluster at {address} has no workers: start some (`dask worker {address}`, or "
            "cluster.scale(2)), then search again"
        )
    reasons = unfit(client, found, cache)
    if len(reasons) == len(found):
        worker, reason = next(iter(reasons.items()))
        raise SearchError(f"no worker of the cluster can serve; {worker}: {reason}")
    return Cluster(address, _portable(client.security))


def _portable(security: Any) -> Any:
    """Return what a client encrypts with, if it does.

    Raises
    ------
    TypeError
        If that cannot go to another process.
    """
    try:
        pickle.dumps(security)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise TypeError(
            f"the `security` of `client` cannot go to the controller's process ({error}): give it "
            "files of keys and certificates"
        ) from error
    return security
