"""A made-up compression problem of 39.5 million points whose exact front is known.

Three groups of layers, each with its own pruning ratio and bits, under a global width and depth
and over batch, threads and replicas. It has what makes the real one hard: kernels that want
multiples of sixteen channels, rough kernel times, an accuracy that falls off a cliff, pruning
that makes quantization hurt more, neighbours of different bits that need conversions, training
luck, noisy timings with outliers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log, log2

import numpy as np
import numpy.typing as npt

from autoopt.recipe import Recipe
from search_spaces import Choice, SearchSpace
from tests.benchmarks.search_problem import Floats, Problem

Codes = npt.NDArray[np.int64]

WIDTHS = (1.0, 0.75, 0.625, 0.5, 0.375, 0.25)
DEPTHS = (1.0, 0.8, 0.6, 0.5, 0.4)
RATIOS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
BITS = (32, 16, 8, 4)
BATCHES = (1, 4, 8, 16, 32)
THREADS = (1, 2, 4, 8)
REPLICAS = (1, 2, 4)
GROUPS = ("early", "middle", "late")

CHANNELS = np.array([64.0, 128.0, 256.0])
PIXELS = np.array([1024.0, 256.0, 64.0])
_CHANNELS, _PIXELS = CHANNELS.tolist(), PIXELS.tolist()
SPEED = np.array([1.0, 1.9, 3.8, 3.0])
"""Multiply-adds a second in each of `BITS`, relative to 32; 4 bits pay for unpacking."""

ERROR, WORST_DROP = 0.06, 0.05
CORES = 8
LATENCY_NOISE, ERROR_NOISE, MEMORY_NOISE = 0.05, 0.0015, 0.003
OUTLIERS, OUTLIER = 0.03, 0.35
LUCK = 0.003
NETWORK_SLOTS = ("student", "pruning")


def space() -> SearchSpace:
    """Return the space: 6 · 5 · 7³ · 4³ · 5 · 4 · 3 points."""
    return SearchSpace(
        {
            "student": {"scaled": {"width": Choice(WIDTHS), "depth": Choice(DEPTHS)}},
            "pruning": {"groups": {group: Choice(RATIOS) for group in GROUPS}},
            "factorization": {"none": {}},
            "recovery": {"none": {}},
            "quantization": {"groups": {group: Choice(BITS) for group in GROUPS}},
            "runtime": {"made_up": {}},
            "parallel": {
                "tuned": {
                    "batch": Choice(BATCHES),
                    "threads": Choice(THREADS),
                    "replicas": Choice(REPLICAS),
                }
            },
        }
    )


def recipe_of(code: tuple[int, ...] | Codes) -> Recipe:
    """Return the recipe of eleven positions, in the order of `code_of`."""
    width, depth, *rest = (int(position) for position in code)
    ratios, bits, (batch, threads, replicas) = rest[:3], rest[3:6], rest[6:]
    return Recipe.of(
        {
            "student": ("scaled", {"width": WIDTHS[width], "depth": DEPTHS[depth]}),
            "pruning": ("groups", {g: RATIOS[i] for g, i in zip(GROUPS, ratios, strict=True)}),
            "quantization": ("groups", {g: BITS[i] for g, i in zip(GROUPS, bits, strict=True)}),
            "runtime": ("made_up", {}),
            "parallel": (
                "tuned",
                {
                    "batch": BATCHES[batch],
                    "threads": THREADS[threads],
                    "replicas": REPLICAS[replicas],
                },
            ),
        }
    )


def code_of(recipe: Recipe) -> Codes:
    """Return the eleven positions of a recipe."""
    student, pruning = recipe["student"].settings, recipe["pruning"].settings
    bits, parallel = recipe["quantization"].settings, recipe["parallel"].settings
    return np.array(
        [
            WIDTHS.index(student["width"]),
            DEPTHS.index(student["depth"]),
            *(RATIOS.index(pruning[group]) for group in GROUPS),
            *(BITS.index(bits[group]) for group in GROUPS),
            BATCHES.index(parallel["batch"]),
            THREADS.index(parallel["threads"]),
            REPLICAS.index(parallel["replicas"]),
        ]
    )


@dataclass(frozen=True)
class Synthetic:
    """One instance of the problem.

    Attributes
    ----------
    instance
        Seed of what is drawn once: sensitivities, rough kernels, luck of each network.
    ratio
        What a new network costs where a measurement costs 1.
    """

    instance: int = 0
    ratio: float = 10.0

    @cached_property
    def _tables(self) -> dict[str, Floats]:
        random = np.random.default_rng(1000 + self.instance)
        return {
            "rough": random.normal(0, 0.07, (3, len(WIDTHS), len(RATIOS), len(BITS))),
            "luck": random.normal(0, LUCK, (len(WIDTHS), len(DEPTHS), *(len(RATIOS),) * 3)),
            "pruned": np.array([0.9, 0.45, 0.2])[random.permutation(3)]
            * random.uniform(0.7, 1.3, 3),
            "bits": np.array([1.0, 0.35, 0.6])[random.permutation(3)] * random.uniform(0.7, 1.3, 3),
            "cliff": random.uniform(0.45, 0.7, 3),
        }

    def work(self, codes: Codes) -> tuple[Floats, Floats, Floats]:
        """Return channels, multiply-adds and parameters of each group, a row a candidate."""
        width, depth = np.array(WIDTHS)[codes[:, 0]], np.array(DEPTHS)[codes[:, 1]]
        ratios = np.array(RATIOS)[codes[:, 2:5]]
        channels = CHANNELS * width[:, None] * (1 - ratios)
        inputs = np.concatenate([np.full((len(codes), 1), 16.0), channels[:, :2]], axis=1)
        layers = 1 + 5 * depth[:, None]
        parameters = 9 * channels * (inputs + (layers - 1) * channels)
        return channels, parameters * PIXELS, parameters

    def truth(self, codes: Codes) -> Floats:
        """Return error, log latency and log memory without noise, a row a candidate."""
        return np.stack(
            [self._error(codes), np.log(self._latency(codes)), np.log(self._memory(codes))], axis=1
        )

    def _error(self, codes: Codes) -> Floats:
        width, depth = np.array(WIDTHS)[codes[:, 0]], np.array(DEPTHS)[codes[:, 1]]
        ratios = np.array(RATIOS)[codes[:, 2:5]]
        lost = np.array([0.0, 0.0006, 0.006, 0.05])[codes[:, 5:8]] * self._tables["bits"]
        pruned = 0.05 * ratios**2.2 / (1.02 - ratios) ** 0.5 * self._tables["pruned"]
        fallen = 0.03 * np.clip(
            (ratios - self._tables["cliff"] * width[:, None] ** 0.15) / 0.1, 0, 1
        )
        capacity = 0.004 * (1 / width - 1) ** 1.2 + 0.006 * (1 / depth - 1) ** 1.3
        together = (pruned * lost).sum(axis=1) * 25 + capacity * pruned.sum(axis=1) * 18
        luck = self._tables["luck"][tuple(codes[:, :5].T)]
        changed = codes[:, :5].any(axis=1)
        total = capacity + (pruned + fallen + lost).sum(axis=1) + together + luck * changed
        error: Floats = np.minimum(ERROR + total, 0.9)
        return error

    def _latency(self, codes: Codes) -> Floats:
        channels, adds, _ = self.work(codes)
        # Kernels work on whole registers: a channel too many costs a whole block of them.
        block = np.array([8, 16, 16, 32])[codes[:, 5:8]]
        wasted = (np.ceil(channels / block) * block / channels) ** 1.6
        groups = np.arange(3)
        rough = np.exp(self._tables["rough"][groups, codes[:, :1], codes[:, 2:5], codes[:, 5:8]])
        compute = (adds * wasted * rough / SPEED[codes[:, 5:8]]).sum(axis=1) / 1e8
        compute *= 1 + 0.07 * (np.diff(codes[:, 5:8], axis=1) != 0).sum(axis=1)
        batch = np.array(BATCHES)[codes[:, 8]]
        threads, replicas = np.array(THREADS)[codes[:, 9]], np.array(REPLICAS)[codes[:, 10]]
        shared = 0.97 - 0.3 * np.exp(-compute * batch / 2)
        one_call = 0.05 / batch + compute * (1 + 0.5 / batch) * (1 - shared + shared / threads)
        busy = np.maximum(1.0, threads * replicas / CORES)
        spilled = np.where(channels.sum(axis=1) * batch * replicas > 9000, 1.3, 1.0)
        latency: Floats = one_call * spilled / replicas**0.8 * busy**1.3
        return latency

    def _memory(self, codes: Codes) -> Floats:
        channels, _, parameters = self.work(codes)
        batch, replicas = np.array(BATCHES)[codes[:, 8]], np.array(REPLICAS)[codes[:, 10]]
        weights = (parameters * np.array(BITS)[codes[:, 5:8]] / 8).sum(axis=1) / 1e6
        live = (channels * PIXELS).max(axis=1) * 4 / 1e6
        memory: Floats = 0.2 + weights * (1 + 0.25 * (replicas - 1)) + live * batch * replicas
        return memory

    def evaluate(self, recipe: Recipe, seed: int) -> Mapping[str, float]:
        """Return one noisy measurement; the same seed measures the same."""
        random = np.random.default_rng([seed, zlib.crc32(recipe.id.encode())])
        error, latency, memory = self.truth(code_of(recipe)[None])[0]
        outlier = OUTLIER * random.random() if random.random() < OUTLIERS else 0.0
        return {
            "error": float(error + ERROR_NOISE * random.normal()),
            "log_latency": float(latency + LATENCY_NOISE * random.normal() + outlier),
            "log_memory": float(memory + MEMORY_NOISE * random.normal()),
        }

    def exact(self, recipe: Recipe) -> Mapping[str, float]:
        """Return the objectives without noise."""
        error, latency, memory = self.truth(code_of(recipe)[None])[0]
        return {"error": float(error), "log_latency": float(latency), "log_memory": float(memory)}

    def cost(self, stage: str, recipe: Recipe) -> float:
        """Return what a stage costs."""
        if stage == "network":
            # The original's weights and a pruned network without training are there for nothing.
            return self.ratio if code_of(recipe)[:5].any() else 0.0
        return {"artifact": 0.6, "deployment": 0.4}[stage]

    def features(self, recipe: Recipe) -> Mapping[str, float]:
        """Return what is computed: sizes, multiply-adds, bytes, mean bits."""
        student, pruning = recipe["student"].settings, recipe["pruning"].settings
        bits, parallel = recipe["quantization"].settings, recipe["parallel"].settings
        width, depth = student["width"], student["depth"]
        inputs, total, weights, weighted, live = 16.0, 0.0, 0.0, 0.0, 0.0
        for group, channels, pixels in zip(GROUPS, _CHANNELS, _PIXELS, strict=True):
            channels *= width * (1 - pruning[group])
            parameters = 9 * channels * (inputs + 5 * depth * channels)
            total += parameters * pixels
            weights += parameters * bits[group] / 8e6
            weighted += parameters * pixels * log2(bits[group])
            live, inputs = max(live, channels * pixels * 4e-6), channels
        batch, replicas = parallel["batch"], parallel["replicas"]
        serving = weights * (1 + 0.25 * (replicas - 1)) + live * batch * replicas
        return {
            "log_adds": log(total),
            "log_bytes": log(weights),
            "log_serving_bytes": log(serving),
            "mean_log_bits": weighted / total,
            "narrow": 1 / width - 1,
            "shallow": 1 / depth - 1,
            "log_batch": log(batch),
            "inverse_batch": 1 / batch,
            "log_threads": log(parallel["threads"]),
            "log_replicas": log(replicas),
        }

    def probe(self, recipe: Recipe) -> Mapping[str, float]:
        """Return the summed sensitivities, each measured on the original without training."""
        pruning, bits = recipe["pruning"].settings, recipe["quantization"].settings
        losses = self._losses
        pruned = sum(losses[2 + i, RATIOS.index(pruning[g])] for i, g in enumerate(GROUPS))
        rounded = sum(losses[5 + i, BITS.index(bits[g])] for i, g in enumerate(GROUPS))
        return {"pruned": pruned, "rounded": rounded, "together": pruned * rounded}

    @cached_property
    def _losses(self) -> Mapping[tuple[int, int], float]:
        """What one change alone costs the original, as a probe without training sees it."""
        losses = {}
        for column in (2, 3, 4, 5, 6, 7):
            for position in range(len(RATIOS if column < 5 else BITS)):
                code = np.zeros(11, dtype=np.int64)
                code[column] = position
                loss = float(self._error(code[None])[0]) - ERROR
                if column < 5 and position:
                    loss -= float(self._tables["luck"][tuple(code[:5])])
                # Before training a cut costs more: in the right order, of another size.
                random = np.random.default_rng([self.instance, column, position])
                factor = 4.0 if column < 5 else 1.0
                losses[column, position] = max(
                    0.0, factor * loss * float(np.exp(0.15 * random.normal()))
                )
        return losses

    @property
    def reference(self) -> Mapping[str, float]:
        """The caps: five points of error, and no worse than the original."""
        original = self.truth(np.zeros((1, 11), dtype=np.int64))[0]
        return {
            "error": ERROR + WORST_DROP,
            "log_latency": float(original[1]),
            "log_memory": float(original[2]),
        }

    def exact_front(self) -> list[Mapping[str, float]]:
        """Return every non-dominated point of the space below the reference."""
        from moocore import filter_dominated

        corner = np.array(list(self.reference.values()))
        completions = _grid(4, 4, 4, 5, 4, 3)
        fronts = []
        for network in _grid(6, 5, 7, 7, 7):
            codes = np.hstack([np.tile(network, (len(completions), 1)), completions])
            # Bits alone decide about the error: most networks have no completion below the cap.
            useful = self._error(codes) < corner[0]
            if useful.any():
                points = self.truth(codes[useful])
                points = points[(points < corner).all(axis=1)]
                if len(points):
                    fronts.append(filter_dominated(points))
            if len(fronts) > 200:
                fronts = [filter_dominated(np.vstack(fronts))]
        names = tuple(self.reference)
        found = filter_dominated(np.vstack(fronts))
        return [dict(zip(names, map(float, point), strict=True)) for point in found]

    def problem(self, *, features: bool = True) -> Problem:
        """Return the instance as a problem; without `features` nothing is known beforehand."""
        return Problem(
            space=space(),
            evaluate=self.evaluate,
            cost=self.cost,
            reference=self.reference,
            exact_front=self.exact_front,
            constraints={"error": f"<= {ERROR + WORST_DROP}"},
            features=self.features if features else None,
            probe=self.probe if features else None,
            truth=self.exact,
            first=self._first(),
        )

    def _first(self) -> tuple[Recipe, ...]:
        """Return the original and what one step in each group's bits does to it."""
        codes = [np.zeros(11, dtype=np.int64)]
        for group in range(3):
            for position in (1, 2, 3):
                code = np.zeros(11, dtype=np.int64)
                code[5 + group] = position
                codes.append(code)
        return tuple(map(recipe_of, codes))


def _grid(*sizes: int) -> Codes:
    """Return every combination of positions, a row each."""
    return np.stack([axis.ravel() for axis in np.indices(sizes)], axis=1)
