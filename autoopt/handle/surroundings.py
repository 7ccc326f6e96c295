"""Where the code runs."""

from __future__ import annotations

import sys


def in_notebook() -> bool:
    """Say whether this is a Jupyter kernel, without importing anything for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def is_controller(pid: int) -> bool:
    """Say whether a process number is still that of a controller, and not of a successor."""
    import psutil

    try:
        return "autoopt.controller" in psutil.Process(pid).cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
