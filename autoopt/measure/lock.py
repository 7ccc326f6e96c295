"""One measurement at a time on one device, over all processes of the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.devices import device_of
from autoopt.errors import SearchError

WAIT_SECONDS = 90.0
"""Less than any stage may take: who waits in vain learns it before it is cut off."""


@contextmanager
def device_lock(device: str, *, timeout: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the device's lane; the operating system frees it when its holder dies.

    ``cuda`` and ``cuda:0`` are one device, and one lane.

    Raises
    ------
    SearchError
        If another process measures on the device for longer than `timeout` seconds.
    """
    import filelock

    device = device_of(device)
    path = Path(tempfile.gettempdir()) / f"autoopt-{device.replace(':', '-')}.lock"
    lock = filelock.FileLock(path, timeout=timeout, mode=0o666)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise SearchError(
            f"another process has been measuring on {device!r} for {timeout:.0f} s ({path}); "
            "stop the other search or wait for its end, then go on with autoopt.resume"
        ) from error
    try:
        yield
    finally:
        lock.release()
