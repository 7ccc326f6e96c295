"""What every technique shares that changes weights and says by edits which shapes come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


class Rewriting(ABC):
    """A technique whose result is new weights, and edits where shapes change."""

    @abstractmethod
    def refuse(self, task: Task, target: Target) -> str | None:
        """Say beforehand why this cannot be done, or None."""

    @abstractmethod
    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a changed copy in eval mode and its edits; `model` stays as it was.

        Raises
        ------
        RefusedError
            If nothing would change.
        """

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the changed copy alone."""
        return self.rewrite(model, task)[0]
