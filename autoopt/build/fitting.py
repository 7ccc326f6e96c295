"""A recipe found on one model, made to fit another: what cannot be done there is listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoopt.build.roles import Layer, counterparts, layers_of
from autoopt.errors import UnknownNameError
from autoopt.interfaces import Target
from autoopt.recipe import QAT, Recipe
from autoopt.record import Failure
from autoopt.runtimes import load_runtime
from autoopt.techniques import load_technique
from search_spaces import NEUTRAL, STAGES
from search_spaces.cores import usable_cores

if TYPE_CHECKING:
    from autoopt.task import Task

Pick = tuple[str, Mapping[str, Any]]
"""Option and settings of a slot."""

_CAPPED = ("threads", "replicas", "inter_op", "stages", "shards")
"""Settings of a parallel configuration that need as many cores."""


@dataclass(frozen=True)
class Change:
    """What a recipe lost or had to change in one slot.

    Attributes
    ----------
    slot
        Where.
    wanted, got
        The choice before and after, in words.
    reason
        Why.
    """

    slot: str
    wanted: str
    got: str
    reason: str

    def __str__(self) -> str:
        """Show it as a sentence."""
        return f"{self.slot}: {self.got} instead of {self.wanted}, because {self.reason}"


@dataclass
class Fitting:
    """Fits recipes to one task.

    Attributes
    ----------
    task
        The other model and its data.
    target
        Where it will run.
    techniques
        A person's own techniques by name.
    """

    task: Task
    target: Target
    techniques: Mapping[str, Any] = field(default_factory=dict)

    def fit(
        self, recipe: Recipe, layers: Sequence[Layer] = ()
    ) -> tuple[Recipe, tuple[Change, ...]]:
        """Return the recipe as it can be tried on the task, and all that had to change.

        Parameters
        ----------
        recipe
            As it was found.
        layers
            Those of the model on which it was found, for settings that name layers.
        """
        point, changes = recipe.point(), list[Change]()
        for slot in (*STAGES["network"], "quantization"):
            option, settings = point[slot]
            if option == NEUTRAL[slot]:
                continue
            fitted, lost = self._layers(settings, layers)
            reason = self._refusal(slot, option, fitted)
            if reason is not None:
                point[slot] = (NEUTRAL[slot], {})
            else:
                point[slot] = (option, fitted)
                reason = lost
            if reason:
                changes.append(_changed(slot, recipe, point[slot], reason))
        changes += self._fit_runtime(recipe, point)
        changes += self._fit_parallel(recipe, point)
        fitted_recipe = Recipe.of(point)
        return fitted_recipe, (*changes, *_consequences(recipe, fitted_recipe, changes))

    def without(self, recipe: Recipe, failure: Failure) -> tuple[Recipe, tuple[Change, ...]] | None:
        """Return a recipe without what was refused while it was built or served, or None.

        Parameters
        ----------
        recipe
            What was to be built.
        failure
            A refusal. That of a network begins with slot and option, as the workplace writes it;
            of an artefact the precision goes first, and the runtime where that was not it.
        """
        chosen = [slot for slot, neutral in NEUTRAL.items() if recipe[slot].option != neutral]
        slots, reason = list[str](), failure.message
        match failure.stage:
            case "network":
                named = {slot: f"{slot} {recipe[slot].option}: " for slot in STAGES["network"]}
                slots = [slot for slot in named if reason.startswith(named[slot])]
                reason = reason.removeprefix("".join(named[slot] for slot in slots))
            case "artifact":
                slots = ["quantization", "runtime"]
            case "deployment":
                slots = ["parallel"]
        slot = next((slot for slot in slots if slot in chosen), None)
        if slot is None:
            return None
        # Training for a precision decides about it, so the two go together.
        gone = ["recovery"] if slot == "quantization" and recipe["recovery"].option == QAT else []
        neutrals: dict[str, Pick] = {name: (NEUTRAL[name], {}) for name in (slot, *gone)}
        rest = recipe.replaced(**neutrals)
        changes = [_changed(name, recipe, neutrals[name], reason) for name in neutrals]
        return rest, (*changes, *_consequences(recipe, rest, changes))

    def _layers(
        self, settings: Mapping[str, Any], source: Sequence[Layer]
    ) -> tuple[dict[str, Any], str]:
        """Return settings whose layers are named as in the task's model, and what was matched."""
        text = settings.get("layers")
        if not isinstance(text, str) or "=" not in text:
            return dict(settings), ""
        target, parts, said = layers_of(self.task.model), list[str](), list[str]()
        for item in text.split(","):
            name, _, value = (part.strip() for part in item.partition("="))
            found = counterparts(name, source, target)
            parts += [f"{other}={value}" for other in found]
            if found != (name,):
                said.append(f"{name} became {' and '.join(found)}" if found
                            else f"{name} has no counterpart here")  # fmt: skip
        reason = f"layers were matched by their role: {'; '.join(said)}" if said else ""
        return {**settings, "layers": ", ".join(parts)}, reason

    def _refusal(self, slot: str, option: str, settings: Mapping[str, Any]) -> str | None:
        """Say why a technique cannot be used on the task, or None."""
        try:
            cls = self.techniques.get(option) or load_technique(slot, option)
        except UnknownNameError as error:
            technique = f"techniques={{{option!r}: ...}}"
            ways = {"student": f"students={{{option!r}: ...}} or {technique}",
                    "recovery": f"train=... or {technique}"}  # fmt: skip
            return f"{error}; if it is your own, hand it over again: {ways.get(slot, technique)}"
        if slot == "quantization":
            # Whether the runtime can is asked for both together.
            return _raised(lambda: _found(cls(**settings).request()))
        return _raised(lambda: cls(**settings).refuse(self.task, self.target))

    def _fit_runtime(self, recipe: Recipe, point: dict[str, Any]) -> list[Change]:
        """Settle on a runtime that exists and can realise the precision; return what changed."""
        changes = []
        runtime = point["runtime"][0]
        if (reason := _raised(lambda: _found(load_runtime(runtime)))) is not None:
            point["runtime"] = (NEUTRAL["runtime"], {})
            changes.append(_changed("runtime", recipe, point["runtime"], reason))
        runtime = point["runtime"][0]
        # Training for a precision decides about it, so the two go together.
        option, settings = Recipe.of(point).point()["quantization"]

        def refusal() -> str | None:
            cls = self.techniques.get(option) or load_technique("quantization", option)
            request = cls(**settings).request()
            return load_runtime(runtime).refuse(request, self.task, self.target)

        if (reason := _raised(refusal)) is not None:
            for slot in ("quantization", *(["recovery"] if point["recovery"][0] == QAT else [])):
                point[slot] = (NEUTRAL[slot], {})
                changes.append(_changed(slot, recipe, point[slot], reason))
        return changes

    def _fit_parallel(self, recipe: Recipe, point: dict[str, Any]) -> list[Change]:
        """Ask for no more threads than there are; return what changed."""
        option, settings = point["parallel"]
        if option == NEUTRAL["parallel"]:
            return []
        reason = self._unknown("parallel", option)
        cores = usable_cores()
        if reason:
            point["parallel"] = (NEUTRAL["parallel"], {})
        elif any(settings.get(name, 1) > cores for name in _CAPPED):
            point["parallel"] = (
                option,
                {key: min(v, cores) if key in _CAPPED else v for key, v in settings.items()},
            )
            reason = f"this process may use {cores} cores"
        return [_changed("parallel", recipe, point["parallel"], reason)] if reason else []

    def _unknown(self, slot: str, option: str) -> str | None:
        return _raised(lambda: _found(load_technique(slot, option)))


def _raised(call: Callable[[], str | None]) -> str | None:
    """Return what a call says, or the message of what it raised on purpose."""
    try:
        return call()
    except (UnknownNameError, TypeError, ValueError, ImportError) as error:
        return str(error)


def _found(_thing: object) -> None:
    """Say that there is nothing to say of a thing that could be made."""


def _changed(slot: str, recipe: Recipe, got: Pick, reason: str) -> Change:
    pick = recipe[slot]
    return Change(slot, _words(pick.option, pick.settings), _words(*got), reason)


def _consequences(recipe: Recipe, fitted: Recipe, changes: Sequence[Change]) -> list[Change]:
    """Return the slots that differ without having been changed for a reason of their own."""
    said = {change.slot for change in changes}
    return [
        _changed(slot, recipe, (option, settings), "it follows from what else was changed")
        for slot, (option, settings) in fitted.point().items()
        if slot not in said and recipe.point()[slot] != (option, settings)
    ]


def _words(option: str, settings: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in settings.items() if value != "")
    return f"{option} ({inside})" if inside else option
