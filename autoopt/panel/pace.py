"""How often a panel speaks: at once after a silence, else a few times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import final


@final
class Pace:
    """Call `send` when asked, but with at least `seconds` between two calls.

    Parameters
    ----------
    send
        Called with the lock held, in the thread that asked or in one of a timer. It returns the
        moment (of ``time.monotonic``) at which it wants to be called again unasked, or None.
    seconds
        Least distance of two calls.

    Attributes
    ----------
    lock
        Held while `send` runs; what `send` reads should be changed under it.
    """

    def __init__(self, send: Callable[[], float | None], seconds: float) -> None:
        self.lock = threading.RLock()
        self._send = send
        self._seconds = seconds
        self._timer: threading.Timer | None = None
        self._due = 0.0
        self._sent = time.monotonic() - seconds
        self._stopped = False

    def ask(self) -> None:
        """Send as soon as the pace allows it."""
        with self.lock:
            self._schedule(self._sent + self._seconds)

    def now(self) -> None:
        """Send at once."""
        with self.lock:
            self._fire()

    def stop(self) -> None:
        """Never send again."""
        with self.lock:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _schedule(self, moment: float) -> None:
        """Send at `moment`, at once if it has passed; one timer waits for the earliest."""
        if self._timer is not None:
            if self._due <= moment:
                return
            self._timer.cancel()
            self._timer = None
        wait = moment - time.monotonic()
        if wait <= 0:
            self._fire()
            return
        self._due = moment
        self._timer = threading.Timer(wait, self._on_timer)
        self._timer.daemon = True
        self._timer.start()

    def _on_timer(self) -> None:
        with self.lock:
            self._timer = None
            self._fire()

    def _fire(self) -> None:
        if self._stopped:
            return
        again = self._send()
        self._sent = time.monotonic()
        if again is not None:
            self._schedule(max(again, self._sent + self._seconds))
