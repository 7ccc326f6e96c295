"""What is known to break a cap: a refusal of one recipe holds for all that share what it is for."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoopt.history import History
from autoopt.recipe import Recipe

Choices = tuple[object, ...]


@dataclass
class OverCaps:
    """Choices that were refused because they break a cap, with whatever else they are combined.

    So every structure is refused once at each precision, and costs nothing after that.

    Attributes
    ----------
    refusals
        Records that were refused so.
    """

    refusals: int = 0
    _known: dict[tuple[str, ...], set[Choices]] = field(default_factory=dict)
    _numbers: set[int] = field(default_factory=set)

    def learn(self, history: History) -> None:
        """Take in the refusals since the last time."""
        for number in history.raw.keys() - self._numbers:
            self._numbers.add(number)
            record = history.raw[number]
            if record.failure is not None and record.failure.kind == "over_cap":
                slots = record.failure.slots
                self.refusals += 1
                self._known.setdefault(slots, set()).add(_choices(record.recipe, slots))

    def barred(self, recipe: Recipe) -> bool:
        """Say whether a recipe is known to break a cap."""
        return bool(self._known) and recipe.keeps_its_extent and any(
            _choices(recipe, slots) in known for slots, known in self._known.items()
        )  # fmt: skip


def _choices(recipe: Recipe, slots: tuple[str, ...]) -> Choices:
    return tuple(choice for choice in recipe.choices if choice[0] in slots)
