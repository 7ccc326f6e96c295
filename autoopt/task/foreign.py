"""Errors of the person's own code (model, dataset, metric, loss), raised again with our context."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import final

from autoopt.errors import AutooptError


@final
class shown_as:  # noqa: N801 - reads as a phrase: ``with shown_as(...)``
    """Context manager that chains any ordinary exception to one of autoopt's.

    A person's code may raise anything, and nothing is swallowed here: the first error stays as
    the cause. Errors of autoopt pass unchanged.

    Parameters
    ----------
    make
        Builds the error to raise from a text such as ``"ValueError: bad shape"``.
    """

    def __init__(self, make: Callable[[str], AutooptError]) -> None:
        self._make = make

    def __enter__(self) -> None:
        """Start to watch."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise what `make` gives in place of an ordinary exception."""
        if isinstance(error, Exception) and not isinstance(error, AutooptError):
            raise self._make(f"{type(error).__name__}: {error}") from error
