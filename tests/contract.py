"""The contract of a technique on an architecture: what a cell of the matrix checks.

A technique either gives a network (or files) that works and is smaller in the way it promises, or
refuses with a reason. To change nothing is a failure, and so is an artefact that answers otherwise
than its network, or that saves less than half of what its bits promise.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoopt.build import Bench, Steps
from autoopt.cache import Cache
from autoopt.errors import DisagreementError, RefusedError
from autoopt.interfaces import Parallel, Technique
from autoopt.measure.measure import score
from autoopt.precision import quantizable
from autoopt.recipe import QAT, Recipe
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.targets import load_target
from autoopt.task import Task
from autoopt.techniques import load_technique
from autoopt.techniques._sparse_layers import sparse_weights
from autoopt.techniques.structured import StructuredPruning
from tests.applicability import lacking
from tests.few_bits import lost_by_bits
from tests.promised import promised_saving, saved_by_weights
from tests.subjects import FIRST_SPARED, Subject

Outcome = Literal["ok", "refused", "not_applicable", "failed"]

RUNTIMES = ("onnxruntime", "openvino", "eager")
"""Those that realise precision each in its own way; compiled takes what eager has written."""

RECOVERY = ("finetune", {"epochs": 2, "learning_rate": 3e-3})

RECOVERY_OF = {"fresh": ("finetune", {"epochs": 8, "learning_rate": 3e-3})}
"""Nothing is inherited: it has to learn what the original learned in as many epochs."""

SAVED = 0.5
"""Share that must be saved of the bytes that the bits promise over the layers they reach."""

SKILL_KEPT = {
    "student": 0.4,
    "pruning": 0.4,
    "factorization": 0.5,
    "recovery": 0.7,
    "quantization": 0.8,
}
"""Share of the way from guessing to the original that must be left after the recovery
(after none, for quantization), by slot; by technique where that is too much to ask."""
SKILL_OF = {
    "soft_threshold": 0.6,
    # Ranges by minimum and maximum are wide where attention or gates have rare large values.
    "static_int8": 0.5,
    "calibrated_int8": 0.5,
    "qat[bits=8]": 0.5,
    # A sign a weight, never trained for.
    "binary": 0.4,
    "codebook": 0.5,
}
SKILL_ON = {
    # Gates with random weights learn little in eight epochs.
    ("lstm", "fresh"): 0.2,
    ("gru", "fresh"): 0.2,
    # Two thirds of the weights of gates become zero.
    ("lstm", "soft_threshold"): 0.3,
    ("gru", "soft_threshold"): 0.3,
    # Two heads read the same few signs.
    ("two_outputs", "binary"): 0.1,
}
"""The same for a technique on an architecture where others keep more."""

LEAST = {"mlp": 0.9, "resnet": 0.75}
"""Share of the skill that every technique leaves on an architecture."""

WEIGHTS_ONLY = frozenset({"regrow", "rounded"})
"""Techniques that cut nothing: starts for a recovery, which promise other weights."""

HURT, RUIN = 0.3, 10.0
"""Noise in a weight, of its layer's spread, that leaves something to recover, and nothing."""

LOST = 0.6
"""A recovery shows what it is worth on a network that has no more than this share of the skill."""

GAINED = 0.05
"""Share of the skill that it must bring back there."""

ZEROS = 0.02
"""Share of the weights that must have become zero to count as sparser."""


@dataclass(frozen=True)
class Cell:
    """One technique on one architecture."""

    technique: str
    architecture: str
    outcome: Outcome
    reason: str


class Contract:
    """Checks techniques on one task.

    Parameters
    ----------
    task
        With a trained network.
    folder
        Where networks and artefacts may be kept.
    architecture
        The network's name, which `SKILL_ON` and `LEAST` may have.
    """

    def __init__(self, task: Task, folder: Path, *, architecture: str = "") -> None:
        self.task, self.architecture = task, architecture
        self.target = load_target("cpu")
        self.bench = Bench(task, self.target, Cache(folder))
        self._sizes: dict[str, int] = {}
        self.original = quality(task, task.model)
        self.guessing = guessed_quality(task)

    def check(self, subject: Subject) -> tuple[Outcome, str]:
        """Return the outcome of one cell with its reason."""
        if missing := lacking(subject.name, self.task):
            return "not_applicable", missing
        try:
            if subject.slot == "quantization":
                return self._check_precision(subject)
            if subject.slot == "recovery":
                said = self._check_recovery(subject)
                return self._check_fixed(subject, said) if subject.option == QAT else ("ok", said)
            return "ok", self._check_structure(subject)
        except DisagreementError as wrong:
            return "failed", str(wrong)
        except RefusedError as refused:
            return "refused", str(refused)
        except Exception as error:  # noqa: BLE001 - a cell runs whatever a technique may raise
            return "failed", f"{type(error).__name__}: {error}"[:500]

    def _check_structure(self, subject: Subject) -> str:
        recovery = RECOVERY_OF.get(subject.option, RECOVERY)
        subject, spared = self._named(subject)
        recipe = Recipe.of({subject.slot: (subject.option, subject.settings), "recovery": recovery})
        self.bench.build_network(recipe)
        network = self.bench.network(recipe)
        self._check_network(network)
        # Another workplace finds it in the cache: plan and weights are all there is.
        other = Bench(self.task, self.target, self.bench.cache, self.bench.techniques)
        again = other.network(recipe)
        self._check_same(network, again)
        promised = _moved(self.task.model, network)
        if not promised and not (subject.option in WEIGHTS_ONLY and self._changes_weights(subject)):
            raise AssertionError("neither fewer parameters nor more zeros: nothing has changed")
        if spared:
            pair = (net.get_submodule(spared) for net in (self.task.model, network))
            assert not _moved_outputs(*pair), f"{spared!r} was to stay whole"
        return f"{promised or 'other weights'}; {self._check_skill(subject, network)}"

    def _named(self, subject: Subject) -> tuple[Subject, str]:
        """Put the name of the first layer into settings that speak of it, and return it."""
        if subject.settings.get("layers") != FIRST_SPARED:
            return subject, ""
        technique: Any = load_technique(subject.slot, subject.option)(**subject.settings)
        if isinstance(technique, StructuredPruning):
            name = technique.units(self.task.model, self.task).groups[0].name
        else:
            name = next(iter(sparse_weights(self.task.model))).rpartition(".")[0]
        settings = {**subject.settings, "layers": f"{name}=0"}
        return dataclasses.replace(subject, settings=settings), name

    def _changes_weights(self, subject: Subject) -> bool:
        """Say whether weights are others before any recovery, which changes them anyhow."""
        alone = Recipe.of({subject.slot: (subject.option, subject.settings)})
        self.bench.build_network(alone)
        return _state_differs(self.task.model, self.bench.network(alone))

    def _check_recovery(self, subject: Subject) -> str:
        technique = load_technique("recovery", subject.option)(**subject.settings)
        if reason := technique.refuse(self.task, self.target):
            raise RefusedError(reason)
        hurt = _hurt(self.task.model)
        before = quality(self.task, hurt)
        untouched = copy.deepcopy(hurt)
        network = technique.apply(hurt, self.task)
        assert not _state_differs(untouched, hurt), "its input was changed"
        self._check_network(network)
        self._check_same(network, self._reloaded(network))
        if not (_state_differs(hurt, network) or self._improves_a_ruin(technique)):
            raise AssertionError("no weight and no statistic has changed")
        after = self._check_skill(subject, network)
        return f"{before:.3f} before; {after}; {self._check_gain(technique)}"

    def _check_gain(self, technique: Technique) -> str:
        """Hold that much of what a network has lost comes back."""
        # Without training, what comes back are the statistics alone.
        noise = HURT if getattr(technique, "epochs", 0) else 0.0
        for worse in range(12):
            wider = 3.0 if noise else 3.0 ** (worse + 1)
            hurt = _hurt(self.task.model, noise * 1.5**worse, wider)
            before = self._skill(quality(self.task, hurt))
            if before < LOST:
                break
        after = self._skill(quality(self.task, technique.apply(hurt, self.task)))
        words = f"from {before:.2f} to {after:.2f} of the skill"
        assert after > before + GAINED, f"{words}: nothing has been recovered"
        return words

    def _improves_a_ruin(self, technique: Technique) -> bool:
        """Say whether a recovery that kept its start, better than every epoch, trains at all."""
        ruin = _hurt(self.task.model, RUIN)
        return _state_differs(ruin, technique.apply(copy.deepcopy(ruin), self.task))

    def _reloaded(self, network: nn.Module) -> nn.Module:
        with tempfile.TemporaryDirectory() as folder:
            Steps().save(network, Path(folder))
            return Steps.load(Path(folder), self.task.model, lambda *_: network)

    def _check_precision(self, subject: Subject) -> tuple[Outcome, str]:
        """Build in every runtime: each serves it within its bounds, or refuses with a reason."""
        settings = dict(subject.settings)
        if subject.option == "per_layer":
            inner = list(quantizable(self.task.model))[1:]
            settings["layers"] = ", ".join(f"{name}=4" for name in inner)
        chosen = {"quantization": (subject.option, settings)}
        return self._in_every_runtime(subject, chosen)

    def _check_fixed(self, subject: Subject, said: str) -> tuple[Outcome, str]:
        """Train for a quantization and serve in it, as the recipe fixes it."""
        chosen = {"recovery": (subject.option, subject.settings)}
        self.bench.build_network(Recipe.of(chosen))
        outcome, words = self._in_every_runtime(subject, chosen)
        return outcome, f"{said}; {words}"[:500]

    def _in_every_runtime(
        self, subject: Subject, chosen: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> tuple[Outcome, str]:
        words: dict[Outcome, list[str]] = {"failed": [], "ok": [], "refused": []}
        for runtime in RUNTIMES:
            recipe = Recipe.of({**chosen, "runtime": (runtime, {})})
            try:
                found = self._check_artifact(subject, runtime, recipe)
                words["ok"].append(f"{runtime}: {found}")
            except DisagreementError as wrong:
                request, network = self.bench.quantization(recipe), self.bench.network(recipe)
                lossy = lost_by_bits(network, request, runtime, self.task)
                words["refused" if lossy else "failed"].append(f"{runtime}: {lossy or wrong}")
            except AssertionError as shortfall:
                words["failed"].append(f"{runtime} falls short: {shortfall}")
            except RefusedError as reason:
                words["refused"].append(f"{runtime}: {reason}")
        outcome = next(name for name, said in words.items() if said)
        return outcome, "; ".join(words[outcome] + words["refused"])[:500]

    def _check_artifact(self, subject: Subject, runtime: str, recipe: Recipe) -> str:
        key = self.bench.build_artifact(recipe).key
        folder = self.bench.artifact_folder(key)
        size, plain = artifact_size(folder), self._float32_size(runtime)
        bits = read_manifest(folder).realised.get("layers") or {}
        request = self.bench.quantization(recipe)
        promise = promised_saving(self.bench.network(recipe), bits, request.bits)
        if not promise:
            raise AssertionError(f"no layer has fewer bits than before: {bits}")
        # What describes the graph may outweigh so small weights; then they count themselves.
        saved = plain - size if plain - size >= SAVED * promise else saved_by_weights(folder)
        if saved < SAVED * promise:
            raise AssertionError(f"{saved} bytes saved of {promise} that the bits promise")
        if any(bits.get(name, count) != count for name, count in request.layers):
            raise AssertionError(f"layers were asked for in {request.layers}, but got {bits}")
        with closing(load_runtime(runtime).load(folder, Parallel(1))) as deployment:
            value = score(self.task, deployment, "validation").value
        return f"{size / plain:.2f} of the bytes, {self._skill_words(subject, value)}"

    def _float32_size(self, runtime: str) -> int:
        if runtime not in self._sizes:
            key = self.bench.build_artifact(Recipe.of({"runtime": (runtime, {})})).key
            self._sizes[runtime] = artifact_size(self.bench.artifact_folder(key))
        return self._sizes[runtime]

    def _check_network(self, network: nn.Module) -> None:
        """Forward and gradient."""
        outputs = self.task.forward(network, self.task.example)
        expected = self.task.forward(self.task.model, self.task.example)
        assert outputs.shape == expected.shape, f"{outputs.shape} instead of {expected.shape}"
        assert bool(outputs.isfinite().all()), "outputs are not finite"
        learner = copy.deepcopy(network).train()
        inputs, targets = next(self.task.train.batches(8))
        self.task.loss(self.task.forward(learner, inputs), targets).backward()
        gradients = [p.grad for p in learner.parameters() if p.grad is not None]
        assert gradients, "no parameter has a gradient"
        assert all(bool(g.isfinite().all()) for g in gradients), "a gradient is not finite"
        assert any(bool(g.any()) for g in gradients), "every gradient is zero"

    def _check_same(self, network: nn.Module, again: nn.Module) -> None:
        with torch.no_grad():
            first = self.task.forward(network, self.task.example)
            second = self.task.forward(again, self.task.example)
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)

    def _check_skill(self, subject: Subject, network: nn.Module) -> str:
        return self._skill_words(subject, quality(self.task, network))

    def _skill_words(self, subject: Subject, value: float) -> str:
        """Hold the bound of quality and say what is left."""
        skill = self._skill(value)
        least = least_skill(subject, self.architecture)
        words = f"{self.task.metric.name} {value:.3f} instead of {self.original:.3f}"
        assert skill > least, f"{words}: {skill:.2f} of the skill is left, not more than {least}"
        return f"{words}, {skill:.2f} of the skill where more than {least} is asked"

    def _skill(self, value: float) -> float:
        """Return the share of the way from guessing to the original."""
        if self.task.metric.direction == "maximize":
            return (value - self.guessing) / (self.original - self.guessing)
        # The way is measured in bits, not in perplexity.
        logs = np.log([value, self.guessing, self.original])
        return float((logs[1] - logs[0]) / (logs[1] - logs[2]))


def least_skill(subject: Subject, architecture: str) -> float:
    """Return the share of the skill that more must be left of."""
    by_option = SKILL_OF.get(subject.option, SKILL_KEPT[subject.slot])
    usual = SKILL_OF.get(subject.name, by_option)
    own = SKILL_ON.get((architecture, subject.option), usual)
    return max(own, LEAST.get(architecture, 0.0))


def quality(task: Task, network: nn.Module) -> float:
    """Return the metric on the validation part."""
    with torch.no_grad():
        answers = [task.forward(network, inputs) for inputs, _ in task.validation.batches(128)]
    return task.metric(task.validation.targets().numpy(), torch.cat(answers).numpy())


def guessed_quality(task: Task) -> float:
    """Return the metric of answers that do not depend on the sample: their mean over all."""
    with torch.no_grad():
        inputs = task.validation.inputs()
        outputs = task.forward(task.model, inputs)
    axes = tuple(range(outputs.ndim - 1)) if task.metric.name == "perplexity" else (0,)
    average = outputs.mean(dim=axes, keepdim=True).expand_as(outputs)
    return task.metric(task.validation.targets().numpy(), average.numpy())


def _hurt(model: nn.Module, noise: float = HURT, wider: float = 3.0) -> nn.Module:
    """Return a copy as a cut leaves it: weights disturbed, statistics so many times too wide."""
    network = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise * parameter.std() * drawn)
        for module in network.modules():
            if isinstance(module, _BatchNorm) and isinstance(module.running_var, Tensor):
                module.running_var *= wider
    return network


def _moved(before: nn.Module, after: nn.Module) -> str:
    """Return in words what became less, or nothing."""
    if (fewer := parameters(after)) < (whole := parameters(before)):
        return f"{fewer / whole:.2f} of the parameters"
    zeros = _zeros(after) - _zeros(before)
    return f"{zeros:.2f} more zeros" if zeros >= ZEROS else ""


def _moved_outputs(before: nn.Module, after: nn.Module) -> bool:
    """Say whether a layer has lost outputs or single weights."""
    widths = [len(next(net.parameters())) for net in (before, after)]
    return widths[0] != widths[1] or _zeros(after) - _zeros(before) >= ZEROS


def parameters(network: nn.Module) -> int:
    """Return the number of weights; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def _zeros(network: nn.Module) -> float:
    weights = [p for p in network.parameters() if p.ndim > 1]
    return sum(int((p == 0).sum()) for p in weights) / sum(p.numel() for p in weights)


def _state_differs(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return any(not torch.equal(value, other[name]) for name, value in one.items())
