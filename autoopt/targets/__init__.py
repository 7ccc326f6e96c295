"""What candidates are measured on: one target a file; this table names them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from autoopt.interfaces import load_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoopt.interfaces import Target

__all__ = ["TARGETS", "load_target"]

TARGETS: Mapping[str, str] = MappingProxyType({"cpu": "cpu:Cpu"})


def load_target(name: str) -> Target:
    """Return the target of that name.

    Raises
    ------
    UnknownNameError
        If the table does not hold `name`.
    """
    target: Target = load_class("target", __name__, TARGETS, name)()
    return target
