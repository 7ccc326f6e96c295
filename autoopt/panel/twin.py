"""What stands beneath a live panel: the same front as static HTML, for when the panel is gone.

A saved notebook, GitHub and nbconvert show it. While a panel lives in the page, the panel hides
it; so nobody sees the same front twice.
"""

from __future__ import annotations

from typing import Any, final
from uuid import uuid4


def running_cell() -> int | None:
    """Return the number of the notebook cell that runs now, or None outside notebooks."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    return shell.execution_count if hasattr(shell, "kernel") else None


@final
class Twin:
    """One display output that can be written again from any thread.

    Attributes
    ----------
    name
        Class of the output's element, by which the panel finds it.
    """

    def __init__(self) -> None:
        self.name = f"autoopt-twin-{uuid4().hex[:12]}"
        self._shown = False
        self._written = ""

    def write(self, html: str, text: str) -> None:
        """Show the output, or put something else into it where it is shown already.

        Parameters
        ----------
        html
            For notebooks.
        text
            For terminals.
        """
        from IPython.display import display

        if html == self._written:
            return
        bundle = {"text/html": f'<div class="{self.name}">{html}</div>', "text/plain": text}
        display(bundle, raw=True, display_id=self.name, update=self._shown)  # type: ignore[no-untyped-call]  # IPython has no annotations
        self._shown, self._written = True, html

    @property
    def shown(self) -> bool:
        """Whether the output was shown."""
        return self._shown
