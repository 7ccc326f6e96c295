"""The workplace of one process: task, cache, and what was lately built."""

from __future__ import annotations

import copy
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.build.bit_program import budgeted, precisions
from autoopt.build.caps import check_caps
from autoopt.build.changes import check_changed
from autoopt.build.checkpoints import checkpointed
from autoopt.build.decoding import decoding, refuse_decoder
from autoopt.build.sensitivity import profile_kind, sensitivity
from autoopt.build.steps import Steps
from autoopt.build.versions import MAKERS, code_of, library_versions
from autoopt.cache import Cache, cache_key
from autoopt.constraint import Constraint
from autoopt.devices import placement
from autoopt.errors import RefusedError, UntraceableError
from autoopt.interfaces import Parallel, Quantization, RewritingTechnique, Target
from autoopt.outcome import Built
from autoopt.recipe import Recipe
from autoopt.runtimes import load_runtime
from autoopt.runtimes.layers import resolve
from autoopt.techniques import TECHNIQUES, load_technique
from search_spaces import NEUTRAL, STAGES, SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task
    from autoopt.watch import Watch

REMEMBERED = 3
"""Networks kept in memory: completions of one network come in a row."""


@dataclass
class Bench:
    """Builds networks and artefacts for one task, through the cache.

    Attributes
    ----------
    task
        The model and its data.
    target
        Where artefacts will run.
    cache
        Where results are kept.
    techniques
        A person's own techniques: name to frozen dataclass with a ``slot``.
    scope
        Empty to share the cache with other searches; else the search that owns the entries,
        because its data has no identity that another could recognise.
    decodes
        Whether artefacts of language models get graphs for one token after the other.
    caps
        Bounds of the search: what breaks one whatever training makes of it is not trained.
    """

    task: Task
    target: Target
    cache: Cache
    techniques: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    decodes: bool = False
    caps: tuple[Constraint, ...] = ()
    _networks: OrderedDict[str, nn.Module] = field(default_factory=OrderedDict, repr=False)
    _programs: OrderedDict[str, Any] = field(default_factory=OrderedDict, repr=False)

    def technique(self, recipe: Recipe, slot: str) -> Any:
        """Return the technique that a recipe picks in one slot, with its settings."""
        pick = recipe[slot]
        cls = self.techniques.get(pick.option) or load_technique(slot, pick.option)
        return cls(**pick.settings)

    def quantization(self, recipe: Recipe) -> Quantization:
        """Return the precision that a recipe requests."""
        request: Quantization = self.technique(recipe, "quantization").request()
        return request

    def parallel(self, recipe: Recipe) -> Parallel:
        """Return how a recipe spreads a request."""
        config: Parallel = self.technique(recipe, "parallel").config(self.task)
        return config

    def paid(self) -> list[Mapping[str, Any]]:
        """Return the networks of this task in the cache that would be made the same today.

        Each as slot to option and settings, those stored first before the others.
        """
        found = []
        for entry in self.cache.entries("networks"):
            if entry.meta.get("task") != self.task.fingerprint + self.scope:
                continue
            recipe = Recipe.from_dict(entry.meta["recipe"])
            if self._is_known(recipe) and self._network_key(recipe) == entry.key:
                found.append(entry.meta["recipe"])
        return found

    def builders(self, space: SearchSpace) -> str:
        """Return a hash of all code and libraries that decide about what recipes become."""
        return cache_key(
            {
                "code": [code_of(f"autoopt.{name}") for name in (*MAKERS, "runtimes")],
                "versions": library_versions(),
                "sources": {
                    f"{slot} {option}": self._source(slot, option)
                    for slot in (*STAGES["network"], "quantization")
                    for option in space.slots[slot]
                },
            }
        )  # fmt: skip

    def _is_known(self, recipe: Recipe) -> bool:
        """Say whether there is a technique for every choice of a recipe's network."""
        return all(
            recipe[slot].option in self.techniques or recipe[slot].option in TECHNIQUES[slot]
            for slot in STAGES["network"]
        )

    def refused(self, runtime: str, request: Quantization) -> str | None:
        """Say beforehand why a runtime cannot realise a request here, or None."""
        found = load_runtime(runtime).refuse(request, self.task, self.target)
        return found or (refuse_decoder(runtime, self.target.name) if self.decodes else None)

    def build_network(self, recipe: Recipe, bar: float | None = None) -> Built:
        """Make the network of a recipe, or find it; who else makes it just now is waited for.

        Parameters
        ----------
        recipe
            What to make.
        bar
            Quality that it must be able to reach while it is trained; None for any.

        Raises
        ------
        RefusedError
            If a technique says beforehand that it cannot be applied, or the network would break a
            cap whatever training made of it.
        StoppedEarlyError
            If its training was given up below the bar; a longer one goes on from there.
        """
        if recipe.is_original:
            return Built("original", cached=True, cost=0.0)
        key = self._network_key(recipe)
        with self.cache.lease("networks", key):
            if (entry := self.cache.whole("networks", key)) is not None:
                return Built(key, True, entry.meta["seconds"], entry.meta["trained"])
            start = time.perf_counter()
            network, steps, trained = self._make_network(recipe, bar)
            seconds = time.perf_counter() - start
            with self.cache.write("networks", key) as (folder, meta):
                steps.save(network, folder)
                meta |= {
                    "seconds": seconds,
                    "created": time.time(),
                    "trained": trained,
                    "task": self.task.fingerprint + self.scope,
                    "recipe": {slot: recipe.to_dict()[slot] for slot in STAGES["network"]},
                    "parameters": sum(p.numel() for p in network.parameters()),
                }
        self._remember(self._networks, key, network.eval())
        return Built(key, False, seconds, trained)

    def build_artifact(self, recipe: Recipe) -> Built:
        """Make the artefact of a recipe from its network, which must be there, or find it.

        Raises
        ------
        RefusedError
            If the runtime says beforehand that it cannot realise the request.
        """
        request, runtime = self.quantization(recipe), load_runtime(recipe["runtime"].option)
        key = self.artifact_key(recipe)
        if (entry := self.cache.whole("artifacts", key)) is not None:
            return Built(key, True, entry.meta["seconds"])
        if reason := self.refused(recipe["runtime"].option, request):
            raise RefusedError(reason)
        start = time.perf_counter()
        network = self.network(recipe)
        with self.cache.write("artifacts", key) as (folder, meta):
            resolved = self._resolved(request, recipe, network)
            program, place = self._program(recipe, network), placement(self.target.name)
            runtime.build(network, resolved, self.task, folder, exported=program, **place)
            if self.decodes:
                decoding(network, resolved, self.task, folder)
            seconds = time.perf_counter() - start
            meta |= {"seconds": seconds, "created": time.time(), "recipe": recipe.to_dict()}
        return Built(key, False, seconds)

    def sensitivity(self, recipe: Recipe, request: Quantization) -> dict[str, float]:
        """Return how much each layer of a network loses at a request's precision.

        Computed once a network and precision, then found in the cache. The network must be there.
        """
        key = cache_key(
            {
                "network": self._network_key(recipe),
                "kind": profile_kind(request),
                "code": [code_of("autoopt.precision"), code_of("autoopt.build.sensitivity")],
            }
        )
        if (entry := self.cache.get("profiles", key)) is not None:
            return dict(entry.meta["divergence"])
        found = sensitivity(self.network(recipe), self.task, request)
        with self.cache.write("profiles", key) as (_, meta):
            meta |= {"divergence": found, "created": time.time()}
        return found

    def _resolved(self, request: Quantization, recipe: Recipe, network: nn.Module) -> Quantization:
        """Return a request whose layers at a higher precision have names."""
        if request.mean_bits:
            profiles = {
                bits: self.sensitivity(recipe, each) for bits, each in precisions(request).items()
            }
            return budgeted(request, network, profiles)
        order: list[str] = []
        if request.share and request.order == "sensitivity":
            losses = self.sensitivity(recipe, request)
            order = sorted(losses, key=losses.__getitem__, reverse=True)
        return resolve(request, network, order)

    def holds_network(self, recipe: Recipe) -> bool:
        """Say whether the network of a recipe is there."""
        key = self._network_key(recipe)
        return recipe.is_original or self.cache.get("networks", key) is not None

    def network(self, recipe: Recipe) -> nn.Module:
        """Return the network of a recipe that `build_network` has made."""
        if recipe.is_original:
            return self.task.model
        key = self._network_key(recipe)
        if key not in self._networks:
            entry = self.cache.get("networks", key)
            if entry is None:
                raise RefusedError(f"the network of {recipe.summary!r} is not in the cache yet")
            network = Steps.load(entry.folder, self.task.model, self._apply_again)
            self._remember(self._networks, key, network)
        return self._networks[key]

    def artifact_folder(self, key: str) -> Path:
        """Return the folder of an artefact that `build_artifact` has made."""
        entry = self.cache.get("artifacts", key)
        if entry is None:
            raise RefusedError(f"the artefact {key} is not in the cache {self.cache.folder}")
        return entry.folder

    def artifact_seconds(self, key: str) -> float | None:
        """Return what making an artefact took, whenever that was."""
        entry = self.cache.get("artifacts", key)
        return None if entry is None else entry.meta.get("seconds")

    def artifact_key(self, recipe: Recipe) -> str:
        """Return the key of a recipe's artefact, the same in every process."""
        return cache_key(
            {
                "network": self._network_key(recipe),
                "request": [len(self.task.example[0]), self.task.threads],
                **({"decodes": True} if self.decodes else {}),
                "builders": [
                    code_of(module)
                    for module in (
                        "autoopt.runtimes",
                        "autoopt.precision",
                        "autoopt.build.sensitivity",
                        "autoopt.build.bit_program",
                    )
                ],
                "recipe": [recipe.to_dict()[slot] for slot in STAGES["artifact"]],
                "target": [self.target.name, self.target.describe().get("instruction_sets", [])],
                "versions": library_versions(),
                "sources": self._source("quantization", recipe["quantization"].option),
            }
        )

    def _network_key(self, recipe: Recipe) -> str:
        return cache_key(
            {
                "task": self.task.fingerprint,
                "scope": self.scope,
                "seed": self.task.seed,
                "batch": self.task.batch_size,
                "techniques": [code_of(f"autoopt.{name}") for name in MAKERS],
                "recipe": [recipe.to_dict()[slot] for slot in STAGES["network"]],
                "sources": [
                    self._source(slot, recipe[slot].option)
                    for slot in STAGES["network"]
                    if recipe[slot].option != NEUTRAL[slot]
                ],
                "versions": {name: version(name) for name in ("torch", "torch-pruning")},
            }
        )

    def _source(self, slot: str, option: str) -> str:
        """Return the version of a technique: the hash of its own code."""
        from autoopt.task.fingerprint import source_of

        cls = self.techniques.get(option) or load_technique(slot, option)
        return hashlib.sha256(source_of(cls).encode()).hexdigest()

    def _make_network(self, recipe: Recipe, bar: float | None) -> tuple[nn.Module, Steps, bool]:
        """Apply the techniques of the network stage in order."""
        network, steps, trained = copy.deepcopy(self.task.model), Steps(), False
        for slot in STAGES["network"]:
            pick = recipe[slot]
            if pick.option == NEUTRAL[slot]:
                continue
            technique = self.technique(recipe, slot)
            if reason := technique.refuse(self.task, self.target):
                raise RefusedError(f"{slot} {pick.option}: {reason}")
            if getattr(technique, "needs_training", False) and not self._trains(recipe):
                raise RefusedError(
                    f"{slot} {pick.option}: its weights are fresh, so a recovery that trains must "
                    f"follow, but it is {recipe['recovery'].option!r}"
                )
            if isinstance(technique, RewritingTechnique):
                rewritten, edits = technique.rewrite(network, self.task)
                check_changed(slot, pick, edits, network, rewritten)
                network, steps = rewritten, steps.edited(edits)
                trained = trained or getattr(technique, "trains", False)
            elif hasattr(technique, "edits"):
                edits = technique.edits(network, self.task)
                if not hasattr(technique, "restart"):
                    check_changed(slot, pick, edits, network, network)
                steps = steps.edited(edits)
                network = Steps().edited(edits).rebuild(network, self._apply_again)
                if hasattr(technique, "restart"):
                    network = technique.restart(network, self.task)
            elif slot == "recovery":
                ours = recipe.keeps_its_extent and pick.option not in self.techniques
                if self.caps and ours and self._trains(recipe):
                    check_caps(self.caps, network, self.task, self.quantization(recipe))
                if getattr(technique, "watched", False):
                    network = technique.apply(network, self.task, self._watch(recipe, bar))
                else:
                    network = technique.apply(network, self.task)
                trained = trained or getattr(technique, "trains", True)
            else:
                network = technique.apply(network, self.task)
                steps = steps.applied(slot, pick.option, pick.settings)
        return network, steps, trained

    def _watch(self, recipe: Recipe, bar: float | None) -> Watch:
        """Return what watches the recovery of a recipe: one checkpoint whatever its epochs."""
        sign = 1 if self.task.metric.direction == "maximize" else -1
        option, settings = recipe.point()["recovery"]
        settings = {name: value for name, value in settings.items() if name != "epochs"}
        key = self._network_key(recipe.replaced(recovery=(option, settings)))
        return checkpointed(self.cache, key, None if bar is None else sign * bar)

    def _trains(self, recipe: Recipe) -> bool:
        if recipe["recovery"].option == NEUTRAL["recovery"]:
            return False
        return bool(getattr(self.technique(recipe, "recovery"), "trains", True))

    def _apply_again(self, network: nn.Module, item: list[Any]) -> nn.Module:
        """Apply a technique that gave no edits as it was applied when the network was made."""
        slot, option, settings = item
        technique = (self.techniques.get(option) or load_technique(slot, option))(**settings)
        result: nn.Module = technique.apply(network, self.task)
        return result

    def _program(self, recipe: Recipe, network: nn.Module) -> Any:
        """Return the exported program of a network, traced once; None where none can be.

        Then the runtime says what it does without.
        """
        from autoopt.runtimes.program import export_program

        key = self._network_key(recipe)
        if key not in self._programs:
            program = None
            with suppress(UntraceableError):
                program = export_program(network, self.task)
            self._remember(self._programs, key, program)
        return self._programs[key]

    def _remember(self, memory: OrderedDict[str, Any], key: str, value: Any) -> None:
        memory[key] = value
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)
