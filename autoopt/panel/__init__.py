"""The panel: a live view of a search in a notebook, and its static twin.

==============  ==========================================================
``messages``    everything that goes over the wire, typed
``widget``      ``Panel``, the live widget (imports anywidget)
``twin``        the static output beneath a live panel, for when the panel is gone
``static``      ``front_svg`` and ``front_html`` for files, mail and GitHub
``plots``       static figures by matplotlib or plotly
``filter``      what the filter may hold, and who passes it
==============  ==========================================================

``Panel`` is imported when it is first used, so that the static twin costs no widget library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.panel.widget import Panel

__all__ = ["Panel"]


def __getattr__(name: str) -> Any:
    """Import the widget when it is first asked for."""
    if name != "Panel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("autoopt.panel.widget").Panel
