"""One measurement at a time on one device, over all processes of the machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 120.0


@contextmanager
def device_lock(device: str, *, timeout: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the device's lane; the operating system frees it when its holder dies.

    Raises
    ------
    TimeoutError
        If another process measures on the device for longer than `timeout` seconds.
    """
    import filelock

    path = Path(tempfile.gettempdir()) / f"autoopt-{device.replace(':', '-')}.lock"
    lock = filelock.FileLock(path, timeout=timeout, mode=0o666)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise TimeoutError(
            f"another process has been measuring on {device!r} for {timeout:.0f} s ({path}); "
            "stop the other search or wait for its end"
        ) from error
    try:
        yield
    finally:
        lock.release()
