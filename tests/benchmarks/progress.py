"""How far a long benchmark is, said on standard error, in a terminal or not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")


def told(
    items: Sequence[T], names: Sequence[str], *, console: Console | None = None
) -> Iterator[T]:
    """Yield each item, and when it is done say so, with the time that the rest will about take.

    The rest is taken to need as long an item as those before did.
    """
    out = console or Console(stderr=True)
    start = time.monotonic()
    for done, (item, name) in enumerate(zip(items, names, strict=True), 1):
        yield item
        spent = time.monotonic() - start
        left = spent / done * (len(items) - done)
        out.print(
            f"{done} of {len(items)}, {name}: {spent:.0f} s spent, about {left:.0f} s left",
            markup=False,
            highlight=False,
        )
