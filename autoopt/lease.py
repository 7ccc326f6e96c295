"""Who works on an entry of a shared cache right now, so that nobody does the same beside.

A lease is a small file that its holder touches again and again. Whoever finds one waits until it
is given back, or until its holder is lost: at once where the holder was a process of this machine
that has ended, and else when the file has not been touched for some time. Times are taken on the
clock of who waits, so the clocks of two machines need not agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

BEAT_SECONDS = 5.0
"""How often a holder says that it is still there."""

LOST_SECONDS = 60.0
"""Silence after which a holder on another machine is taken to be lost."""

POLL_SECONDS = 0.2


@contextmanager
def lease(path: Path, *, beat: float = BEAT_SECONDS, lost: float = LOST_SECONDS) -> Iterator[None]:
    """Hold the lease of a path; wait while another process holds it.

    Parameters
    ----------
    path
        The file; its folder is made.
    beat, lost
        Seconds between two signs of life, and without one, after which a holder is lost.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    said = json.dumps({"machine": _machine(), "pid": os.getpid(), "since": _since(os.getpid()),
                       "token": uuid.uuid4().hex})  # fmt: skip
    _take(path, said, lost)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(path, said, beat, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        if _read(path) == said:
            path.unlink(missing_ok=True)


def _take(path: Path, said: str, lost: float) -> None:
    """Write the file, once there is none or its holder is lost."""
    seen, since = "", time.monotonic()
    while True:
        with contextlib.suppress(FileExistsError), path.open("x") as file:
            file.write(said)
            return
        held, beaten = _read(path), _beaten(path)
        if (sign := f"{held} {beaten}") != seen:
            seen, since = sign, time.monotonic()
        if _is_gone(held) or time.monotonic() - since > lost:
            _remove(path, held)
        else:
            time.sleep(POLL_SECONDS)


def _remove(path: Path, held: str) -> None:
    """Remove what a lost holder left; a successor's lease, should one be there by now, stays."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != held:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _keep(path: Path, said: str, beat: float, ended: threading.Event) -> None:
    while not ended.wait(beat):
        with contextlib.suppress(OSError):
            if _read(path) == said:
                os.utime(path)


def _is_gone(held: str) -> bool:
    """Say whether a holder was a process of this machine that is not there any more."""
    try:
        holder = json.loads(held)
        if holder["machine"] != _machine():
            return False
        return bool(_since(holder["pid"]) != holder["since"])
    except (ValueError, LookupError, TypeError):
        return False  # being written just now, or by another version


def _since(pid: int) -> float | None:
    """Return when a process began, or None if there is none that lives."""
    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else round(process.create_time(), 1)
    except psutil.NoSuchProcess:
        return None


@cache
def _machine() -> str:
    """Name what a process number is valid in: a machine since its start, or a container of it."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        words.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(words)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _beaten(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
