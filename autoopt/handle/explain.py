"""`Strategy.explain`: what was done, what it cost and gained, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, FolderError, SearchError
from autoopt.handle.ablation import (
    Step,
    measure_missing,
    side_history,
    steps_to,
    tried,
    with_records,
)
from autoopt.handle.beginning import task_again
from autoopt.handle.explanation import Explanation
from autoopt.handle.handle import Search
from autoopt.handle.layer_changes import kept_layers, layer_changes
from autoopt.handle.on_test import OnTest, on_test
from autoopt.handle.request import Own, own_parts
from autoopt.handle.strategy import Given, Strategy
from autoopt.measurement import Axis, Stat
from autoopt.recipe import Recipe
from autoopt.runtimes.opening import NATIVE
from autoopt.settings import SAMPLERS

if TYPE_CHECKING:
    from torch import nn

    from autoopt.build import Bench
    from autoopt.settings import Settings
    from autoopt.task import Task

ASK = "explain(model, data) says it"
NAMED = 6
"""Layers that a sentence names."""


def explain_strategy(strategy: Strategy, given: Given) -> Explanation:
    """Explain a strategy from the search's log and files, and from model and data where given.

    Raises
    ------
    FolderError
        If model and data are others than the search's, or there is no folder to measure in.
    ArtifactError
        If the cache has lost the artefact.
    DataError
        If the groups do not fit the test part.
    """
    task, own = task_given(strategy, given)
    steps = _steps(strategy, task, own)
    missing = [f"{step.slot}: not measured; {ASK}" for step in steps if step.record is None]
    original = _original(strategy)
    native = strategy.recipe["runtime"].option in NATIVE
    rows = layer_changes(strategy.artifact_folder(), original)
    if original is None:
        missing.append("what the layers were before: the original's artefact left the cache")
    closed = native and not given.trust_code
    test: OnTest | None = None
    if closed:
        missing.append("the test part: its artefact is native code, which trust_code=True runs")
    elif task is None or original is None:
        missing.append(f"the test part by class, and where it differs from the original: {ASK}")
    else:
        try:
            test = _on_test(strategy, task, given, original, own)
        except ArtifactError as error:
            missing.append(f"the test part: {error}")
    sensitivity = _sensitivity(strategy, task, own) if task is not None else None
    axes = strategy.history.settings.axes if strategy.history.settings else ()
    return Explanation(
        title=f"Strategy {strategy.number}: {strategy.recipe.summary or 'the original'}",
        words=tuple(_words(strategy, steps, rows, test, sensitivity)),
        steps=steps,
        layer_rows=tuple(rows),
        axes=axes,
        test=test,
        sensitivity=sensitivity,
        missing=tuple(missing),
    )


def task_given(strategy: Strategy, given: Given) -> tuple[Task | None, Own]:
    """Return the search's task where model and data are given, and a person's own techniques.

    Raises
    ------
    FolderError
        If they are others than the search's, it has no folder, or a technique of the person's own
        is missing.
    SearchError
        If the search still runs: what is computed beside it would spoil its timings.
    """
    again = dict(given.again or {})
    own = own_parts(again.get("techniques"), again.get("students"), again.get("train"), SAMPLERS[0])
    if given.model is None or given.data is None:
        return None, own
    settings = strategy.history.settings
    if settings is None or strategy.folder is None:
        raise FolderError("a strategy can be measured further only where its search has a folder")
    _check_own(strategy, settings, own)
    _check_quiet(strategy.folder)
    task = task_again(
        strategy.folder,
        settings,
        given.model,
        given.data,
        metric=again.get("metric"),
        loss=again.get("loss"),
        teachers=again.get("teachers") or (),
    )
    return task, own


def _check_own(strategy: Strategy, settings: Settings, own: Own) -> None:
    """Raise where a technique of the person's own that the strategy has was not handed over."""
    chosen = {option for option, _ in strategy.recipe.point().values()}
    missing = sorted(chosen & set(settings.own_techniques) - set(own.techniques))
    if missing:
        raise FolderError(
            f"strategy {strategy.number} uses techniques of your own, which must be handed over "
            f"again: techniques={{{', '.join(f'{name!r}: ...' for name in missing)}}} (those of "
            "students={...} and train=... as such)"
        )


def _check_quiet(folder: Path) -> None:
    """Raise while a search runs, unless it is paused."""
    search = Search(folder, None)
    if search.alive and search.status.state != "paused":
        raise SearchError(
            f"the search in {folder} still runs, and measuring beside it would spoil the timings "
            "of both: wait() for its end, stop() or pause() it, or leave model and data away for "
            "what is known already"
        )


def _steps(strategy: Strategy, task: Task | None, own: Own) -> tuple[Step, ...]:
    """Return the steps with their records; what is missing is measured where there is a task."""
    side = side_history(strategy.folder)
    steps = with_records(steps_to(strategy.recipe), strategy.history, side)
    missing = [step.recipe for step in steps
               if tried(step.recipe, strategy.history, side) is None]  # fmt: skip
    if missing and task is not None and strategy.folder is not None:
        side = measure_missing(strategy.folder, strategy.history, missing, task, own)
        steps = with_records(steps, strategy.history, side)
    return tuple(
        # The strategy's own record is the last word of the last step.
        replace(step, record=strategy.record) if step.recipe == strategy.recipe else step
        for step in steps
    )


def _original(strategy: Strategy) -> Any:
    """Return the folder of the original's artefact, or None where the cache has lost it."""
    record = strategy.history.raw.get(0)
    try:
        return replace(strategy, record=record).artifact_folder() if record else None
    except ArtifactError:
        return None


def _on_test(strategy: Strategy, task: Task, given: Given, folder: Path, own: Own) -> OnTest:
    """Look at the test part; what holds weights alone runs by the model's code.

    Raises
    ------
    ArtifactError
        If the strategy or the original, in its folder, cannot be served here.
    """
    from autoopt.interfaces import Parallel
    from autoopt.loading import load_artifact

    bench = _bench(strategy, task, own)

    def network(recipe: Recipe) -> nn.Module:
        return task.wrapped(bench.network(recipe))

    with (
        load_artifact(
            strategy.artifact_folder(),
            strategy.spread(),
            trust_code=given.trust_code,
            network=partial(network, strategy.recipe),
        ) as mine,
        load_artifact(
            folder, Parallel(task.threads), network=partial(network, Recipe.of({}))
        ) as other,
    ):
        return on_test(task, mine, other, given.groups)


def _bench(strategy: Strategy, task: Task, own: Own) -> Bench:
    """Return what knows the networks of the strategy's search."""
    from autoopt.build import Bench
    from autoopt.cache import Cache
    from autoopt.targets import load_target

    settings = strategy.history.settings
    if settings is None:
        raise FolderError(f"the search in {strategy.folder} was never opened")
    scope = "" if settings.stable else strategy.history.study
    target = load_target(settings.target)
    return Bench(task, target, Cache(Path(settings.cache)), own.techniques, scope)


def _sensitivity(strategy: Strategy, task: Task, own: Own) -> dict[str, float] | None:
    """Return what the outputs lose for each layer brought to the precision alone, or None."""
    from autoopt.runtimes.layers import LAYER_BITS

    bench = _bench(strategy, task, own)
    request = bench.quantization(strategy.recipe)
    if request.name not in LAYER_BITS or not bench.holds_network(strategy.recipe):
        return None
    return bench.sensitivity(strategy.recipe, request)


def _words(
    strategy: Strategy,
    steps: Sequence[Step],
    rows: Sequence[dict[str, Any]],
    test: OnTest | None,
    sensitivity: Mapping[str, float] | None,
) -> list[str]:
    """Return the explanation in sentences."""
    stayed = strategy.measurement.realised.get("stayed_in_float32", ())
    said = [
        _overall(strategy, steps),
        *_best_and_worst(strategy, steps),
        *_layers(rows, stayed),
    ]
    kept = kept_layers(rows)
    if kept:
        said.append(f"More bits than the rest keep: {', '.join(kept[:6])}.")
    if sensitivity:
        order = sorted(sensitivity, key=sensitivity.__getitem__, reverse=True)
        said.append(f"Most sensitive to this precision: {', '.join(order[:4])}.")
    said += _sure(strategy, test)
    return [line for line in said if line]


def _overall(strategy: Strategy, steps: Sequence[Step]) -> str:
    first, words = steps[0].record, []
    for axis in strategy.history.settings.axes if strategy.history.settings else ():
        now, then = strategy.record.stat(axis.name), first.stat(axis.name) if first else None
        if now and then:
            words.append(f"{axis.name} {now} instead of {then}")
    fast = f", {strategy.speedup.value:.1f} times as fast" if strategy.speedup else ""
    return f"Against the original{fast}: {'; '.join(words)}." if words else ""


def _best_and_worst(strategy: Strategy, steps: Sequence[Step]) -> list[str]:
    """Say which step improved each objective most, and which cost most of the quality."""
    axes = strategy.history.settings.axes if strategy.history.settings else ()
    said = []
    partly = "Of what was measured, " if any(step.record is None for step in steps) else ""
    for axis in axes:
        changes = _changes(steps, axis)
        if not changes:
            continue
        gain, words, before, after = max(changes)
        if axis == axes[0]:
            gain, words, before, after = min(changes)
            gain = -gain
        span = f"{words}: {before:.4g} to {after:.4g} {axis.unit}".rstrip()
        verb = "was lost most" if axis == axes[0] else "improved most"
        name = axis.name if partly else axis.name.capitalize()
        said += [f"{partly}{name} {verb} by {span}."] if gain > 0 else []
    return said


def _changes(steps: Sequence[Step], axis: Axis) -> list[tuple[float, str, float, float]]:
    """Return gain, step, and the figure before and after of every change that is known.

    A step that cannot be realised by itself counts with the next one; where a step was not
    measured, what it and the next one did cannot be told apart and is left out.
    """
    found = []
    before: float | None = None
    together: list[str] = []
    for step in steps:
        stat = step.record.stat(axis.name) if step.record else None
        together.append(f"{step.slot} ({step.choice})")
        if stat is not None:
            if before is not None:
                gain = axis.sign * (before - stat.value)
                found.append((gain, " with ".join(together), before, stat.value))
            before, together = stat.value, []
        elif step.record is None:
            before, together = None, []
    return found


def _layers(rows: Sequence[dict[str, Any]], stayed: Sequence[str]) -> list[str]:
    after = [row for row in rows if row["bits"] is not None]
    if not after:
        return []
    now = sum(row["parameters"] for row in after)
    then = sum(row["parameters_before"] or 0 for row in rows)
    bits = sum(row["parameters"] * row["bits"] for row in after) / max(now, 1)
    kernels = list(dict.fromkeys(row["kernel"] for row in after))
    before = f" instead of {then:,}" if then and then != now else ""
    shown = ", ".join(kernels[:4]) + (" …" if len(kernels) > 4 else "")
    held = f"{len(after)} layers hold {now:,} weights{before}, {bits:.3g} bits each in the file"
    return [f"{held}; they run as {shown}.{_in_float(stayed, len(after))}"]


def _in_float(stayed: Sequence[str], count: int) -> str:
    """Say which of so many layers are computed in float32 although less was asked for."""
    if not stayed:
        return ""
    if len(stayed) >= count:
        return " All of them are computed in float32."
    more = f" and {len(stayed) - NAMED} more" if len(stayed) > NAMED else ""
    return f" In float32 stayed {', '.join(stayed[:NAMED])}{more}."


def _sure(strategy: Strategy, test: OnTest | None) -> list[str]:
    """Say how sure the figures are."""
    settings = strategy.history.settings
    quality = strategy.record.stat(settings.axes[0].name) if settings else None
    said = []
    if quality is not None and settings is not None:
        tried = len(strategy.history.front.measured)
        said.append(
            f"The {settings.axes[0].name} was measured on {quality.n} validation samples (95 % "
            f"interval {quality.low:.4g} to {quality.high:.4g}) and selected among {tried} "
            "candidates, which favours luck; the test part had no say in it."
        )
    if test is not None:
        said.append(
            f"On {test.samples} test samples: {_span(test.quality)}, the original "
            f"{_span(test.original)}{_gap(test.difference)}."
        )
        said.append(
            f"It answers otherwise than the original on {test.disagreement:.1%} of them."
            if test.difference is not None
            else f"Its answers lie {test.disagreement:.3g} of the original's spread away from its."
        )
    elif (own := strategy.measurement.test) is not None:
        said.append(f"On the test part: {_span(own)}.")
    return said


def _span(stat: Stat) -> str:
    return f"{stat.value:.4g} ({stat.low:.4g} to {stat.high:.4g})"


def _gap(difference: Stat | None) -> str:
    if difference is None:
        return ""
    clear = "" if difference.low > 0 or difference.high < 0 else ", which may be nothing but noise"
    return (
        f"; paired difference {difference.value:+.4f} ({difference.low:+.4f} to "
        f"{difference.high:+.4f}){clear}"
    )
