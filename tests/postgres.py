"""A private PostgreSQL for tests: installed where that is allowed, started, stopped, removed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

WANTED = (
    "needs PostgreSQL's server: apt-get install postgresql (or initdb and pg_ctl on PATH), and the "
    "driver: pip install psycopg2-binary"
)


@dataclass(frozen=True)
class Postgres:
    """A database cluster in a folder.

    Attributes
    ----------
    folder
        Of its data.
    port
        On 127.0.0.1.
    user
        Who runs it: PostgreSQL refuses to be run by root.
    """

    folder: Path
    port: int
    user: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://tester@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "server.log", "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", "data")

    def _run(self, program: str, *words: str) -> None:
        as_root = os.geteuid() == 0
        done = subprocess.run(
            [f"{programs()}/{program}", *words],
            cwd=self.folder,
            user=self.user if as_root else None,
            group=pwd.getpwnam(self.user).pw_gid if as_root else None,
            # A server that inherited a pipe would hold it open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        if done.returncode:
            log = self.folder / "server.log"
            raise RuntimeError(f"{program} failed: {log.read_text() if log.exists() else words}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of an empty database, which anybody on this machine may use; or a skipped test."""
    pytest.importorskip("psycopg2", reason=WANTED)
    if programs() is None:
        pytest.skip(WANTED)
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    # Not below pytest's own folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="autoopt-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        server = Postgres(folder, _free_port(), user)
        server._run("initdb", "-D", "data", "-U", "tester", "-A", "trust", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server._run("pg_ctl", "stop", "-m", "immediate", "-D", "data")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def programs() -> Path | None:
    """The folder of the server's programs; they are installed first where root may do that."""
    if found := _programs():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(
                ["apt-get", "-q", *command],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                check=False,
                timeout=300,
            )
    return _programs()


def _programs() -> Path | None:
    folders = [Path(found).parent for name in ("pg_ctl",) if (found := shutil.which(name))]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
