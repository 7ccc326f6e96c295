"""Leaving the network as it is: the option ``none`` of every network slot."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Target
    from autoopt.plan import Edit
    from autoopt.task import Task


@dataclass(frozen=True)
class Unchanged:
    """Change nothing."""

    def refuse(self, task: Task, target: Target) -> str | None:
        """Refuse nothing."""
        return None

    def edits(self, model: nn.Module, task: Task) -> tuple[Edit, ...]:
        """Return no edits."""
        return ()

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy."""
        return copy.deepcopy(model)
