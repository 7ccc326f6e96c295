"""Processes that a candidate left behind: found wherever they hide, and ended."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36
SPARED = ("resource_tracker", "torch/_inductor/compile_worker")
"""Helpers of Python and of torch's compiler, which serve a worker for its whole life."""

GONE_SECONDS = 3.0


_adopting = 0
_adopting_lock = threading.Lock()


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ended (Linux).

    What a candidate started stays a descendant then, even where it went to a session of its own.
    It holds until `release_orphans` was called as often.
    """
    global _adopting
    with _adopting_lock:
        _adopting += 1
        _set_subreaper(True)


def release_orphans() -> None:
    """Leave orphans to the system again: who adopts one must wait for its end."""
    global _adopting
    with _adopting_lock:
        _adopting = max(0, _adopting - 1)
        if not _adopting:
            _set_subreaper(False)


def _set_subreaper(on: bool) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def descendants() -> set[psutil.Process]:
    """Return all processes below this one, as they are now."""
    return set(psutil.Process().children(recursive=True))


def strangers(known: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return descendants that are not `known` and not below one that is.

    Helpers that serve for long (`SPARED`) are left out.
    """
    spared = set(known)
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if spared.isdisjoint([process, *process.parents()]) and not _is_helper(process):
                found.append(process)
    return found


def end_all(processes: Iterable[psutil.Process]) -> int:
    """Kill processes, wait until they are gone, and return how many there were."""
    killed = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            killed.append(process)
    psutil.wait_procs(killed, timeout=GONE_SECONDS)
    return len(killed)


def foreign_orphans(since: float) -> list[psutil.Process]:
    """Return what this process adopted after `since` seconds of the epoch from a dead worker.

    A worker leads a session of its own, so what came from it is in another session than this
    process; what else this process started is in the same. Workers that live are left out.
    """
    found = []
    workers = {worker.pid for worker in multiprocessing.active_children()}
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if child.pid in workers or child.create_time() < since:
                continue
            if os.getsid(child.pid) != os.getsid(0):
                found += [child, *child.children(recursive=True)]
    return found


def _is_helper(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return any(name in words for name in SPARED)
