"""A search as one zip file to be sent: its log, what explains it, the artefacts of its front."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from autoopt.cache import Cache, Entry
from autoopt.controller.job import CONTROLLER_LOG, LOG, WORKER_LOG
from autoopt.errors import FolderError
from autoopt.handle.ablation import FOLDER as EXPLAINED
from autoopt.handle.ablation import side_history
from autoopt.handle.strategy import TRAVELLING
from autoopt.history import History
from autoopt.recipe import Recipe


def pack_search(
    folder: Path, history: History, destination: str | Path, *, overwrite: bool = False
) -> Path:
    """Write the zip of a search, whole or not at all.

    Within it lies one folder, named as the search's, that `autoopt.open` reads once unpacked.

    Raises
    ------
    FolderError
        If the destination is taken, or cannot be written.
    """
    target = Path(destination).absolute()
    if target.exists() and not (overwrite and target.is_file()):
        raise FolderError(f"{target} is there already; give another name or overwrite=True")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        try:
            _fill(Path(scratch), folder, _entries(folder, history, side_history(folder)))
            Path(scratch).replace(target)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:  # of a full disk SQLite speaks in its own words
        raise FolderError(f"the search cannot be packed into {target}: {error}") from error
    return target


def _entries(folder: Path, history: History, side: History | None) -> list[Entry]:
    """Return the artefacts of the front, the original and what was chosen, where they are left.

    Of what was measured to explain and export those that are a strategy in another runtime.
    """
    if history.settings is None:
        return []
    wanted = {record.number for record in history.front.members} | {0, *history.choices}
    records = [record for record in history.records if record.number in wanted]
    recipes = {_anywhere(record.recipe) for record in records}
    beside = [r for r in (side.records if side else ()) if _anywhere(r.recipe) in recipes]
    keys = dict.fromkeys(r.artifact for r in (*records, *beside) if r.artifact is not None)
    caches = [Cache(Path(history.settings.cache)), Cache(folder / TRAVELLING)]
    found = ((cache.get("artifacts", key) for cache in caches) for key in keys)
    return [entry for places in found if (entry := next(filter(None, places), None)) is not None]


def _anywhere(recipe: Recipe) -> str:
    """Return what a recipe has in common with itself in another runtime."""
    return recipe.replaced(runtime=("eager", {})).id


def _fill(path: Path, folder: Path, entries: Iterable[Entry]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _add_log(archive, folder / LOG, f"{folder.name}/{LOG}")
        if (folder / EXPLAINED / LOG).is_file():
            _add_log(archive, folder / EXPLAINED / LOG, f"{folder.name}/{EXPLAINED}/{LOG}")
        for name in (CONTROLLER_LOG, WORKER_LOG):
            if (folder / name).is_file():
                archive.write(folder / name, f"{folder.name}/{name}")
        for entry in entries:
            place = f"{folder.name}/{TRAVELLING}/artifacts/{entry.key}"
            for item in sorted(entry.folder.iterdir()):
                if item.is_file() and not item.is_symlink():
                    archive.write(item, f"{place}/{item.name}")


def _add_log(archive: zipfile.ZipFile, log: Path, name: str) -> None:
    """Add a log that may be written meanwhile: SQLite's own copy is whole."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / LOG
        with closing(sqlite3.connect(log)) as source, closing(sqlite3.connect(copy)) as sink:
            source.backup(sink)
        archive.write(copy, name)
