"""Whether an error means that a disk is full, which no candidate is to blame for."""

from __future__ import annotations

import shutil
from pathlib import Path

FULL_BYTES = 500_000
"""With less than this free, whatever failed to be written failed for want of space."""

_WORDS = ("no space left", "disk is full", "disk quota exceeded", "file too large")


def full_disk(folder: Path, error: BaseException | None = None) -> str | None:
    """Return what to tell a person when the disk of a folder is full, or None.

    Parameters
    ----------
    folder
        Where something was to be written.
    error
        What was raised; its causes are looked at too, since libraries wrap what the operating
        system says.
    """
    text = ""
    while error is not None:
        text += f"{error} ".lower()
        error = error.__cause__ or error.__context__
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= FULL_BYTES and not any(word in text for word in _WORDS):
        return None
    return (
        f"the disk that holds {folder} is full ({free / 1e6:.1f} MB free): free some space, then "
        "go on with autoopt.resume"
    )
