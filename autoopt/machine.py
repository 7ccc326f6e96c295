"""What a target can do: its processor, and what each runtime truly computes on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.targets import load_target


def describe_target(name: str = "cpu") -> None:
    """Print what a target can do: instruction sets, cores, runtimes and their precisions.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises
    ------
    UnknownNameError
        If there is no such target.
    RefusedError
        If this machine has no such device, with the reason.
    """
    print(as_text(abilities(name)))


def abilities(name: str) -> dict[str, Any]:
    """Return the same as plain values: what the target says of itself, and ``runtimes``.

    Raises
    ------
    UnknownNameError, RefusedError
        As `describe_target`.
    """
    target = load_target(name)
    runtimes = {runtime: _of_runtime(runtime, target) for runtime in RUNTIMES}
    return {**target.describe(), "runtimes": runtimes}


def as_text(found: Mapping[str, Any]) -> str:
    """Return what `abilities` gives as lines."""
    sets = ", ".join(found["instruction_sets"]) or "none that matter here"
    lines = [
        f"{found['name']}: {found['processor']} ({found['architecture']})",
        f"  cores             {found['cores']}",
        f"  memory            {found['memory_mb'] or 'unknown'} MB",
        f"  instruction sets  {sets}",
    ]
    for runtime, precisions in found["runtimes"].items():
        lines += ["", runtime]
        lines += [f"  {precision:<16}  {word}" for precision, word in precisions.items()]
    return "\n".join(lines)


def _of_runtime(name: str, target: Any) -> dict[str, str]:
    """Ask a runtime what it can do; one whose library is not installed says so."""
    try:
        return dict(load_runtime(name).abilities(target))
    except ImportError as error:
        return {"all": f"not installed ({error})"}
