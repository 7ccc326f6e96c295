"""A process of our own: it gets one end of a pipe and memory to share, and ends with its pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

END_SECONDS = 3.0
"""How long a process may take to end by itself."""


class ChildProcess:
    """Runs a function of ours in a new process, which talks through a pipe.

    The process lives as long as this end of its pipe: when this process dies, that one ends.

    Parameters
    ----------
    module
        The one whose function ``serve`` is run.
    memory
        Descriptors of what both processes map: the process's arguments after the pipe's.
    name
        What errors call it.
    environment
        Variables besides those of this process.
    """

    def __init__(
        self,
        module: str,
        memory: Sequence[int] = (),
        *,
        name: str = "child process",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self.pipe, other = Pipe()
        ends = (other.fileno(), *memory)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {module} import serve; serve()", *map(str, ends)],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Its package is found where this one is, whatever the working directory.
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **(environment or {}),
            },
        )
        other.close()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Send plain values; that the process has died is found when its answer is waited for."""
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> dict[str, Any]:
        """Wait for an answer.

        Raises
        ------
        RuntimeError
            If the process has died.
        """
        try:
            answer: dict[str, Any] = self.pipe.recv()
        except (EOFError, OSError) as error:
            code: int | None = None
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(END_SECONDS)
            raise RuntimeError(
                f"the {self._name} {self.pid} died (exit status {code}); its last words are in "
                "the log"
            ) from error
        return answer

    def close(self) -> None:
        """Let the process end by itself, and end it when it does not."""
        self.pipe.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self.pipe.close()
        self._process.kill()
        self._process.wait()


def words(error: BaseException) -> str:
    """Return an exception as one line for whoever waits at the other end."""
    return f"{type(error).__name__}: {error}"


def own_pipe() -> Connection[Any, Any]:
    """Return, in the new process, its end of the pipe."""
    return Connection(int(sys.argv[1]))
