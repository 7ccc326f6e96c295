"""What stages cost, learnt from this search's own log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles

from autoopt.history import History
from autoopt.recipe import STRUCTURAL_SLOTS, Recipe

UNKNOWN_SECONDS = 5.0
"""Guess for a stage of which nothing is known yet."""

CAUTION = 1.3
"""Factor on a median where a prediction must not be too low."""


KNOWN = 10
"""Stages after which their own spread says how cautious a prediction has to be."""

SMALLEST = 0.05
"""Least relative size: some work, such as that of the data, does not shrink."""


@dataclass(frozen=True)
class Costs:
    """Predicted seconds.

    Attributes
    ----------
    epoch
        Seconds of one epoch of training, over the network's relative size, of each network
        trained so far.
    artifact
        Seconds by (runtime, quantization).
    deployment
        Seconds by runtime.
    built
        Artefacts that are there already.
    """

    epoch: tuple[float, ...]
    artifact: Mapping[tuple[str, str], list[float]]
    deployment: Mapping[str, list[float]]
    built: frozenset[str] = frozenset()

    @property
    def caution(self) -> float:
        """The 90th percentile of what a stage took over what it usually takes, at least 1.1."""
        groups = [self.epoch, *self.artifact.values(), *self.deployment.values()]
        # The median of one or two says nothing of how they spread.
        telling = [group for group in groups if len(group) > 2 and median(group)]
        ratios = [value / median(group) for group in telling for value in group]
        if len(ratios) < KNOWN:
            return CAUTION
        return max(1.1, quantiles(ratios, n=10)[-1])

    @classmethod
    def learn(cls, history: History) -> Costs:
        """Read the stages of a search; what came from the cache counts what it once took."""
        epochs: list[float] = []
        artifact: dict[tuple[str, str], list[float]] = defaultdict(list)
        deployment: dict[str, list[float]] = defaultdict(list)
        for stage in history.stages:
            recipe = history.started.get(stage["number"])
            if recipe is None:
                continue
            runtime = recipe["runtime"].option
            if stage["stage"] == "network" and stage.get("trained"):
                size = trained_epochs(recipe) * relative_size(recipe)
                epochs.append(stage["cost"] / max(size, SMALLEST))
            elif stage["stage"] == "artifact" and not stage["cached"]:
                artifact[runtime, recipe["quantization"].option].append(stage["seconds"])
            elif stage["stage"] in ("deployment", "again"):
                deployment[runtime].append(stage["seconds"])
        built = {record.recipe.stage_id("artifact") for record in history.raw.values()}
        return cls(tuple(epochs), artifact, deployment, frozenset(built))

    def network(self, recipe: Recipe) -> float:
        """Return the seconds that training a network is likely to take."""
        size = trained_epochs(recipe) * relative_size(recipe)
        if not size:
            return 1.0
        return CAUTION * size * (median(self.epoch) if self.epoch else UNKNOWN_SECONDS)

    def upper(self, recipe: Recipe, *, trains: bool) -> float:
        """Return the seconds that nine of ten candidates like this one keep.

        What nothing is known of counts nothing: only a try can tell.
        """
        runtime = recipe["runtime"].option
        building = self.artifact.get((runtime, recipe["quantization"].option), [])
        measuring = self.deployment.get(runtime) or [v for g in self.deployment.values() for v in g]
        known = sum(median(group) for group in (building, measuring) if group)
        training = self.network(recipe) / CAUTION if trains and self.epoch else 0.0
        return self.caution * (known + training)

    def cheapest(self) -> float:
        """Return the seconds of measuring what is built, in the runtime where it goes fastest."""
        return min((median(seconds) for seconds in self.deployment.values()), default=1.0)

    def completion(self, recipe: Recipe) -> float:
        """Return the seconds that building, where it is not built yet, and measuring may take."""
        built = recipe.stage_id("artifact") in self.built
        return self.measuring(recipe) + (0.0 if built else self.building(recipe))

    def measuring(self, recipe: Recipe) -> float:
        """Return the seconds that measuring is likely to take."""
        known = self.deployment.get(recipe["runtime"].option)
        return median(known) if known else UNKNOWN_SECONDS

    def building(self, recipe: Recipe) -> float:
        """Return the seconds that building an artefact is likely to take."""
        runtime, request = recipe["runtime"].option, recipe["quantization"].option
        known = self.artifact.get((runtime, request)) or [
            seconds for (name, _), list_ in self.artifact.items() if name == runtime
            for seconds in list_
        ]  # fmt: skip
        return median(known) if known else UNKNOWN_SECONDS


def relative_size(recipe: Recipe) -> float:
    """Return about how much of the original's work a network has, from 0 to 1.

    A guess from the settings' names: a ``fraction`` is kept, a ``ratio`` is removed.
    """
    size = 1.0
    for slot in STRUCTURAL_SLOTS:
        settings = recipe[slot].settings
        size *= float(settings.get("fraction", 1.0)) * (1 - float(settings.get("ratio", 0.0)))
    return max(size, SMALLEST)


def trained_epochs(recipe: Recipe) -> int:
    """Return the epochs that a recipe asks for; 1 for training that has no such setting.

    Pruning that trains by itself has epochs of its own; in one shot it has none.
    """
    own = recipe["pruning"].settings
    before = 0 if own.get("schedule") == "one_shot" else int(own.get("epochs", 0))
    pick = recipe["recovery"]
    if pick.option in ("none", "recalibrate"):
        return before
    return before + int(pick.settings.get("epochs", 1))
