"""What candidates are measured on: one target a file; this table names them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from autoopt.errors import UnknownNameError
from autoopt.interfaces import load_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoopt.interfaces import Target

__all__ = ["TARGETS", "load_target"]

TARGETS: Mapping[str, str] = MappingProxyType({"cpu": "cpu:Cpu", "cuda": "cuda:Cuda"})
"""Kind of target to ``"module:Class"``; a kind with several devices takes ``"kind:number"``."""


def load_target(name: str) -> Target:
    """Return the target of that name: ``"cpu"``, ``"cuda"`` (the first device) or ``"cuda:1"``.

    Raises
    ------
    UnknownNameError
        If the table does not hold `name`.
    RefusedError
        If this machine has no such device.
    """
    kind, colon, number = name.partition(":")
    if not colon:
        target: Target = load_class("target", __name__, TARGETS, name)()
        return target
    if kind == "cpu" or not (number.isascii() and number.isdigit()):
        raise UnknownNameError("target", name, [*TARGETS, "cuda:N"])
    numbered: Target = load_class("target", __name__, TARGETS, kind)(int(number), name)
    return numbered
