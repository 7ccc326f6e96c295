"""The workplace of one process: task, cache, and what was lately built."""

from __future__ import annotations

import copy
import hashlib
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.build.steps import Steps
from autoopt.cache import Cache, cache_key
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Parallel, Quantization, RewritingTechnique, Target
from autoopt.outcome import Built
from autoopt.recipe import Recipe
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import read_manifest, verify_files
from autoopt.techniques import load_technique
from search_spaces import NEUTRAL, STAGES, SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from autoopt.task import Task

REMEMBERED = 3
"""Networks kept in memory: completions of one network come in a row."""

MAKERS = ("techniques", "plan", "replay", "cuts", "factors", "regrowth")
"""Our own code that decides about what a network becomes."""

BUILDERS = ("torch", "nncf", "openvino", "onnx", "onnxruntime", "torch-pruning")
"""Libraries whose version decides about what is built."""


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
    """

    task: Task
    target: Target
    cache: Cache
    techniques: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
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

    def survey(
        self, space: SearchSpace
    ) -> Iterator[tuple[dict[str, Any], Callable[[], str | None]]]:
        """Yield each choice that may be refused, and the question that says why."""
        for slot in STAGES["network"]:
            for option in space.slots[slot]:
                if option == NEUTRAL[slot]:
                    continue
                ask = partial(self._refuses, slot, option, space.usual(slot, option))
                yield {slot: {"option": option}}, ask
        for runtime in space.slots["runtime"]:
            for option, settings in self._requests(space):
                when = {
                    "runtime": {"option": runtime},
                    "quantization": {"option": option, **settings},
                }
                yield when, partial(self._cannot_run, runtime, option, settings)

    def _refuses(self, slot: str, option: str, settings: Mapping[str, Any]) -> str | None:
        cls = self.techniques.get(option) or load_technique(slot, option)
        reason: str | None = cls(**settings).refuse(self.task, self.target)
        return reason

    def _cannot_run(self, runtime: str, option: str, settings: Mapping[str, Any]) -> str | None:
        cls = self.techniques.get(option) or load_technique("quantization", option)
        return load_runtime(runtime).refuse(cls(**settings).request(), self.task, self.target)

    def _requests(self, space: SearchSpace) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every quantization of the space, float32 among them."""
        yield NEUTRAL["quantization"], {}
        for option, dimensions in space.slots["quantization"].items():
            if option == NEUTRAL["quantization"]:
                continue
            ranges = [dimension.values_list() for dimension in dimensions.values()]
            for values in itertools.product(*ranges):
                yield option, dict(zip(dimensions, values, strict=True))

    def build_network(self, recipe: Recipe) -> Built:
        """Make the network of a recipe, or find it.

        Raises
        ------
        RefusedError
            If a technique says beforehand that it cannot be applied.
        """
        if recipe.is_original:
            return Built("original", cached=True, cost=0.0)
        key = self._network_key(recipe)
        if (entry := self.cache.get("networks", key)) is not None:
            return Built(key, True, entry.meta["seconds"], entry.meta["trained"])
        start = time.perf_counter()
        network, steps, trained = self._make_network(recipe)
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
        if (entry := self.cache.get("artifacts", key)) is not None:
            if _is_whole(entry.folder):
                return Built(key, True, entry.meta["seconds"])
            self.cache.drop("artifacts", key)
        if reason := runtime.refuse(request, self.task, self.target):
            raise RefusedError(reason)
        start = time.perf_counter()
        network = self.network(recipe)
        with self.cache.write("artifacts", key) as (folder, meta):
            runtime.build(
                network, request, self.task, folder, exported=self._program(recipe, network)
            )
            seconds = time.perf_counter() - start
            meta |= {"seconds": seconds, "created": time.time(), "recipe": recipe.to_dict()}
        return Built(key, False, seconds)

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

    def artifact_key(self, recipe: Recipe) -> str:
        """Return the key of a recipe's artefact, the same in every process."""
        return cache_key(
            {
                "network": self._network_key(recipe),
                "request": [len(self.task.example[0]), self.task.threads],
                "builders": _code("autoopt.runtimes"),
                "recipe": [recipe.to_dict()[slot] for slot in STAGES["artifact"]],
                "target": [self.target.name, self.target.describe().get("instruction_sets", [])],
                "versions": {name: version(name) for name in BUILDERS},
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
                "techniques": [_code(f"autoopt.{name}") for name in MAKERS],
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

    def _make_network(self, recipe: Recipe) -> tuple[nn.Module, Steps, bool]:
        """Apply the techniques of the network stage in order."""
        network, steps, trained = copy.deepcopy(self.task.model), Steps(), False
        for slot in STAGES["network"]:
            pick = recipe[slot]
            if pick.option == NEUTRAL[slot]:
                continue
            technique = self.technique(recipe, slot)
            if reason := technique.refuse(self.task, self.target):
                raise RefusedError(f"{slot} {pick.option}: {reason}")
            if isinstance(technique, RewritingTechnique):
                network, edits = technique.rewrite(network, self.task)
                steps = steps.edited(edits)
                trained = trained or getattr(technique, "trains", False)
            elif hasattr(technique, "edits"):
                edits = technique.edits(network, self.task)
                steps = steps.edited(edits)
                network = Steps().edited(edits).rebuild(network, self._apply_again)
            elif slot == "recovery":
                network = technique.apply(network, self.task)
                trained = trained or getattr(technique, "trains", True)
            else:
                network = technique.apply(network, self.task)
                steps = steps.applied(slot, pick.option, pick.settings)
        return network, steps, trained

    def _apply_again(self, network: nn.Module, item: list[Any]) -> nn.Module:
        """Apply a technique that gave no edits as it was applied when the network was made."""
        slot, option, settings = item
        technique = (self.techniques.get(option) or load_technique(slot, option))(**settings)
        result: nn.Module = technique.apply(network, self.task)
        return result

    def _program(self, recipe: Recipe, network: nn.Module) -> Any:
        """Return the exported program of a network, traced once."""
        from autoopt.runtimes.program import export_program

        key = self._network_key(recipe)
        if key not in self._programs:
            self._remember(self._programs, key, export_program(network, self.task))
        return self._programs[key]

    def _remember(self, memory: OrderedDict[str, Any], key: str, value: Any) -> None:
        memory[key] = value
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)


@cache
def _code(module: str) -> str:
    """Return the hash of a package's or module's source: its version in a key."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(found.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _is_whole(folder: Path) -> bool:
    """Say whether an artefact's files are as they were written."""
    try:
        verify_files(folder, read_manifest(folder))
    except ArtifactError:
        return False
    return True
