"""Content-addressed store of networks and artefacts, shared by searches."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoopt.lease import lease

Kind = Literal["networks", "artifacts", "profiles", "searches", "checkpoints"]

ABANDONED_SECONDS = 86400.0
"""Age at which a scratch folder is taken to have no writer any more."""

_META = "entry.json"
_SCRATCH = ".writing-"


def default_cache_folder() -> Path:
    """Return the folder of ``AUTOOPT_CACHE``, or ``autoopt`` in the user's cache folder."""
    if folder := os.environ.get("AUTOOPT_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autoopt"


def cache_key(parts: Mapping[str, Any]) -> str:
    """Return the hash of plain JSON values, the same in every process."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Entry:
    """One finished entry: its folder and what was said of it when it was stored.

    `files` maps the name of each file to its SHA-256.
    """

    key: str
    folder: Path
    meta: Mapping[str, Any]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Cache:
    """Entries are whole folders that appear by one rename, so a killed write leaves none.

    Attributes
    ----------
    folder
        Where the entries live; made when first written to.
    """

    folder: Path

    def get(self, kind: Kind, key: str) -> Entry | None:
        """Return the entry of a key, or None."""
        folder = self.folder / kind / key
        try:
            said = json.loads((folder / _META).read_text())
            return Entry(key, folder, said["meta"], said["files"])
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None

    def whole(self, kind: Kind, key: str) -> Entry | None:
        """Return the entry of a key if its files are as they were written; else drop it."""
        entry = self.get(kind, key)
        if entry is None or _checksums(entry.folder) == entry.files:
            return entry
        self.drop(kind, key)
        return None

    def entries(self, kind: Kind) -> list[Entry]:
        """Return all finished entries, oldest first."""
        root = self.folder / kind
        names = [path.parent.name for path in root.glob(f"[!.]*/{_META}")]
        found = [entry for name in names if (entry := self.get(kind, name)) is not None]
        return sorted(found, key=lambda entry: (entry.meta.get("created", 0.0), entry.key))

    def drop(self, kind: Kind, key: str) -> None:
        """Remove an entry, damaged or not; the network or artefact is made anew when needed."""
        shutil.rmtree(self.folder / kind / key, ignore_errors=True)

    def lease(self, kind: Kind, key: str) -> AbstractContextManager[None]:
        """Give the lease of a key: whoever else wants to make it waits meanwhile."""
        return lease(self.folder / "leases" / f"{kind}-{key}")

    @contextmanager
    def write(self, kind: Kind, key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Give a scratch folder and a dict of what to say of it; both become the entry at the end.

        Nothing appears when the block raises. When another process stored the key meanwhile,
        its entry stays.
        """
        root = self.folder / kind
        root.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(root)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=root))
        meta: dict[str, Any] = {}
        try:
            yield scratch, meta
            said = {"meta": meta, "files": _checksums(scratch)}
            (scratch / _META).write_text(json.dumps(said))
            for path in scratch.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            if self.get(kind, key) is None:
                # What stands there without being an entry is damaged.
                self.drop(kind, key)
            try:
                scratch.rename(root / key)
            except OSError:
                if self.get(kind, key) is None:
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of an entry but its own description."""
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.name != _META and path.is_file():
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def _clear_abandoned(root: Path) -> None:
    """Remove scratch folders that a killed writer left a day ago or longer."""
    for folder in root.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
