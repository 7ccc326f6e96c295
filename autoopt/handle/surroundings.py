"""Where the code runs."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Say whether this is a Jupyter kernel, without importing anything for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def running_searches() -> list[str]:
    """Return the folders of the searches that this process started and that still run.

    A notebook cell that is run again starts another search, while the panel keeps the first.
    """
    import psutil

    found = []
    for child in psutil.Process().children():
        try:
            command = child.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if "autoopt.controller" in command:
            found.append(command[-1])
    return found


def is_controller(pid: int) -> bool:
    """Say whether a process number is still that of a controller, and not of a successor."""
    import psutil

    try:
        return "autoopt.controller" in psutil.Process(pid).cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
