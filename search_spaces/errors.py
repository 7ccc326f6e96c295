"""Everything that can be wrong with a search space.

SpaceError (ValueError)
 ├─ DimensionError     a range that cannot be
 ├─ UnknownNameError   a slot, option or setting that the space does not have
 ├─ PointError         a point that does not lie in the space
 └─ SpaceFileError     a text that is no search space
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

__all__ = ["DimensionError", "PointError", "SpaceError", "SpaceFileError", "UnknownNameError"]


class SpaceError(ValueError):
    """Base of all errors of this package."""


@final
class DimensionError(SpaceError):
    """A dimension is empty, contradicts itself, or is narrowed to nothing."""


@final
class PointError(SpaceError):
    """A point does not lie in the space."""


@final
class SpaceFileError(SpaceError):
    """A text or file does not hold a search space."""


@final
class UnknownNameError(SpaceError):
    """A name is not known; the message lists those that are.

    Parameters
    ----------
    kind : str
        What the name should have been, such as ``"slot"``.
    name : object
        What was received.
    known : iterable of str
        The names that exist, in their order.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        super().__init__(kind, name, self.known)

    def __str__(self) -> str:
        listed = ", ".join(self.known) or "none"
        return f"unknown {self.kind} {self.name!r}; known: {listed}"
