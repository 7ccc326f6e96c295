"""Static figures of a search, drawn by a plotting library that the person has.

``front``, ``parallel``, ``history`` and ``importance``; each library of `LIBRARIES` draws all of
them. To add a library: one file with four functions of these names, and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final

from autoopt.errors import PlotError, UnknownNameError
from autoopt.panel.messages import Objective, Row

__all__ = ["KINDS", "LIBRARIES", "plot"]

KINDS: Final = ("front", "parallel", "history", "importance")

LIBRARIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "matplotlib": "autoopt.panel.plots.with_matplotlib",
        "plotly": "autoopt.panel.plots.with_plotly",
    }
)
"""Library to the module that draws with it; the first that is installed is the default."""


def plot(
    kind: str,
    rows: Sequence[Row],
    objectives: Sequence[Objective],
    *,
    library: str | None = None,
    **options: Any,
) -> Any:
    """Draw one kind of figure.

    Parameters
    ----------
    kind
        One of `KINDS`.
    rows, objectives
        What is known of the search.
    library
        One of `LIBRARIES`; the first that is installed when absent.
    options
        Of the kind: ``x`` and ``y`` name the objectives of front and history.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        To show or to save.

    Raises
    ------
    UnknownNameError
        If library or objective is not known.
    PlotError
        If no library is installed; the message holds the command that installs one.
    """
    if library is not None and library not in LIBRARIES:
        raise UnknownNameError("library", library, LIBRARIES)
    wanted = [library] if library is not None else list(LIBRARIES)
    installed = [name for name in wanted if find_spec(name) is not None]
    if not installed:
        raise PlotError(
            f"a figure needs {' or '.join(wanted)}, which is not installed; install it with: "
            f'pip install "autoopt[plots]"'
            + (f" or pip install {library}" if library not in (None, "matplotlib") else "")
        )
    drawer = import_module(LIBRARIES[installed[0]])
    return getattr(drawer, kind)(rows, objectives, **options)
