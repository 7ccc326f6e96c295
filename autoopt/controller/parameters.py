"""The joint space in Optuna's terms: a parameter a slot, and one a setting of each option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from autoopt.recipe import Recipe
from search_spaces import Choice, Dimension, Int, SearchSpace


@dataclass(frozen=True)
class Parameters:
    """Translates between recipes and the parameters of trials.

    Attributes
    ----------
    space
        The joint space.
    """

    space: SearchSpace

    def suggest(self, trial: Trial) -> Recipe:
        """Ask a trial for a point."""
        return Recipe.of({slot: self._suggest(trial, slot) for slot in self.space.slots})

    def of(self, recipe: Recipe, slots: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the choices of some slots, or of all, under the names that trials use."""
        params: dict[str, Any] = {}
        for slot in self.space.slots if slots is None else slots:
            pick = recipe[slot]
            params[slot] = pick.option
            params |= {f"{slot}.{pick.option}.{name}": v for name, v in pick.settings.items()}
        return params

    def inside(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those that the space holds; a baseline may lie outside a narrowed space."""
        return {name: value for name, value in params.items() if self._holds(name, value)}

    def recipe(self, params: Mapping[str, Any]) -> Recipe | None:
        """Return the recipe of a trial's parameters, or None where one is missing."""
        point: dict[str, tuple[str, dict[str, Any]]] = {}
        for slot, options in self.space.slots.items():
            option = params.get(slot)
            names = {name: f"{slot}.{option}.{name}" for name in options.get(option or "", {})}
            if option is None or any(key not in params for key in names.values()):
                return None
            point[slot] = (option, {name: params[key] for name, key in names.items()})
        return Recipe.of(point)

    def distribution(self, name: str) -> BaseDistribution:
        """Return the range of one parameter."""
        slot, _, rest = name.partition(".")
        if not rest:
            return CategoricalDistribution(tuple(self.space.slots[slot]))
        option, _, setting = rest.rpartition(".")
        return _distribution(self.space.slots[slot][option][setting])

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the ranges of all parameters, those of every option among them."""
        names = []
        for slot, options in self.space.slots.items():
            names.append(slot)
            names += [f"{slot}.{option}.{name}" for option in options for name in options[option]]
        return {name: self.distribution(name) for name in names}

    def _suggest(self, trial: Trial, slot: str) -> tuple[str, dict[str, Any]]:
        options = self.space.slots[slot]
        option = str(trial.suggest_categorical(slot, list(options)))
        settings = {
            setting: _ask(trial, f"{slot}.{option}.{setting}", dimension)
            for setting, dimension in options[option].items()
        }
        return option, settings

    def _holds(self, name: str, value: Any) -> bool:
        slot, _, rest = name.partition(".")
        if not rest:
            return value in self.space.slots[slot]
        option, _, setting = rest.rpartition(".")
        dimension = self.space.slots[slot].get(option, {}).get(setting)
        return dimension is not None and dimension.contains(value)


def _ask(trial: Trial, name: str, dimension: Dimension) -> Any:
    """Ask for one setting; the ranges must be those of `_distribution`."""
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, list(dimension))
    low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
    if isinstance(dimension, Int):
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    value = trial.suggest_float(name, low, high, step=step, log=log)
    # Optuna's 0.1 + 2 · 0.1 is not 0.3: a point must have one form, and lie in the space.
    return value if dimension.contains(value) else min(dimension, key=lambda v: abs(v - value))


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension in Optuna's terms."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(tuple(dimension))
    if isinstance(dimension, Int):
        return IntDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step or 1
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
