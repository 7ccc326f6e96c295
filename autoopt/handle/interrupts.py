"""Ctrl-C, noted where it comes and answered where it may be."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether Ctrl-C was pressed since the beginning."""

    def __init__(self) -> None:
        self._pressed = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember it."""
        self._pressed = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was pressed."""
        if self._pressed:
            self._pressed = False
            raise KeyboardInterrupt


@contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Have Ctrl-C raise in `Interrupts.check` alone.

    Raised wherever the interpreter happens to be, it may hit a callback of a library or of the
    garbage collector, which print it and go on: the person would have to press again. Whoever has
    a handler of their own keeps it.
    """
    interrupts = Interrupts()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
        interrupts.check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
