"""Which candidates are measured again at the end of a search, and what time is kept for it."""

from __future__ import annotations

from collections.abc import Collection
from statistics import median

from autoopt.history import History
from autoopt.membership import membership, noisy

WANTED = 3
"""Measurements that every member of the final front has, time allowing."""

MOST = 5
"""Measurements after which even a candidate of uncertain membership is left alone."""

SURE = 0.9
"""Probability from which a candidate is taken to be on the front, or off it."""

MEMORY_SHARE = 0.03
"""Share of a budget in seconds that is kept for the memory of the front's members."""

LARGEST_SHARE = 0.25
"""Share that is kept for everything after the last candidate at most."""


def following(history: History, barred: Collection[int] = (), *, all_: bool = True) -> int | None:
    """Return the number of the candidate that is measured again next, or None when that is done.

    The members of the front come first, until each has its `WANTED` measurements; among them, and
    among others, those measured least often, so that what drifts meanwhile drifts for all alike.
    Each measurement runs beside the original.

    Parameters
    ----------
    history
        Of the search.
    barred
        Numbers that cannot be measured again.
    all_
        Whether others that may be on the front are measured as well, not only its members.
    """
    chances = membership(history.front)
    members = {record.number for record in history.front.members}
    sure = sorted(members, key=lambda number: -chances.get(number, 0.0))
    doubtful = [n for n, chance in chances.items() if all_ and 1 - SURE < chance < SURE]
    # Near copies of one another are many; to know all of their ranks is not worth the time.
    doubtful = sorted(doubtful, key=lambda n: -chances[n])[: 2 * len(members)]
    wanted = [
        number
        for number in dict.fromkeys([*sure, *doubtful])
        if number not in barred
        and noisy(history.front, history.record(number))
        and _count(history, number) < (MOST if number in doubtful else WANTED)
    ]

    def turn(number: int) -> tuple[bool, int]:
        count = _count(history, number)
        return number not in members or count >= WANTED, count

    return min(wanted, key=turn, default=None)


def seconds_again(history: History, number: int | None = None) -> float:
    """Return what one more measurement is likely to take, of one candidate or of any."""
    own = history.raw[number].seconds.get("deployment") if number is not None else None
    if own is not None:
        return own
    times = [s["seconds"] for s in history.stages if s["stage"] in ("deployment", "again")]
    return median(times) if times else 0.0


def reserved(history: History, budget: float) -> float:
    """Return the seconds that are kept for measuring again and for memory.

    Parameters
    ----------
    history
        Of the search.
    budget
        All seconds that it may spend.
    """
    front = history.front
    members = [record for record in front.members if noisy(front, record)]
    again = (WANTED - 1) * len(members) * seconds_again(history)
    return min(LARGEST_SHARE * budget, MEMORY_SHARE * budget + again)


def _count(history: History, number: int) -> int:
    return 1 + len(history.again.get(number, ()))
