"""Exporting a strategy: in its own format, or built again in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, UnknownNameError
from autoopt.handle.ablation import attempted, measure_missing, side_history, tried
from autoopt.handle.advice import speed_axis
from autoopt.handle.explain import explain_strategy, task_given
from autoopt.handle.rows import axis_rows, record_rows
from autoopt.handle.strategy import Given, Strategy

if TYPE_CHECKING:
    from autoopt.handle.explanation import Explanation
    from autoopt.panel.messages import Row
    from autoopt.recipe import Recipe

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "onnx": ("onnxruntime",),
        "openvino": ("openvino",),
        "pt2": ("eager", "compiled", "cudagraphs"),
    }
)
"""Format to the runtimes that have it, the one that it is built in first."""


@dataclass(frozen=True)
class Wanted:
    """How a strategy is to be exported; see `Strategy.export`."""

    format: str | None = None
    labels: Sequence[str] = ()
    preprocessing: Any = None
    explanation: Explanation | None = None
    overwrite: bool = False


def export(strategy: Strategy, folder: Path, wanted: Wanted, given: Given) -> Path:
    """Write a strategy's folder; see `Strategy.export`."""
    from autoopt.exporting import (
        FRONT,
        STEPS,
        Meaning,
        check_destination,
        check_meaning,
        check_runs_alone,
        export_strategy,
        recipe_text,
    )
    from autoopt.runtimes.artifact import read_manifest

    # Whatever can be refused is refused before minutes of building and measuring.
    target = check_destination(folder, overwrite=wanted.overwrite)
    settings = strategy.history.settings
    axis = settings.class_axis if settings else None
    meaning = Meaning(wanted.labels, wanted.preprocessing, axis)
    check_meaning(read_manifest(strategy.artifact_folder()), meaning)
    if wanted.explanation is not None:
        _check_explained(wanted.explanation, _recipe_in(strategy, wanted.format))
    served = strategy if wanted.format is None else in_format(strategy, wanted.format, given)
    artifact = served.artifact_folder()
    check_runs_alone(read_manifest(artifact))
    explanation = wanted.explanation or explain_strategy(served, given)
    layers = settings.layers if settings else ()
    return export_strategy(
        artifact,
        recipe_text(served.recipe, version=version("autoopt"), layers=layers),
        {**_report(strategy, served), "explained": explanation.sections()},
        target,
        charts={FRONT: _front(strategy, served), STEPS: explanation.picture},
        meaning=meaning,
        overwrite=wanted.overwrite,
    )


def _front(strategy: Strategy, served: Strategy) -> str:
    """Draw the front with the strategy on it, as an SVG."""
    from autoopt.panel.svg import front_svg

    axes = axis_rows(strategy.history)
    return front_svg(
        _rows(strategy, served),
        axes,
        x=speed_axis(strategy.history.front),
        y=axes[0]["name"],
        star="this strategy",
    )


def in_format(strategy: Strategy, wanted: str, given: Given) -> Strategy:
    """Return the strategy in a runtime that has a format, built and measured where it is another.

    It belongs to the same search: what was measured beside that is on its scale.

    Raises
    ------
    UnknownNameError
        If there is no such format.
    ArtifactError
        If the recipe cannot be realised there, or model and data are needed for it.
    SearchError
        If it must be measured while the search still runs.
    """
    recipe = _recipe_in(strategy, wanted)
    if recipe == strategy.recipe:
        return strategy
    history, folder = strategy.history, strategy.folder
    found = tried(recipe, history, side_history(folder))
    if found is None and folder is not None:
        task, own = task_given(strategy, given)
        if task is not None:
            side = measure_missing(folder, history, [recipe], task, own)
            found = attempted(recipe, history, side)
    if found is None:
        raise ArtifactError(
            f"number {strategy.number} runs in {strategy.recipe['runtime'].option}; to export it "
            f"as {wanted!r} it is built and measured anew, which needs model and data: "
            f"export(folder, format={wanted!r}, model=model, data=data)"
        )
    if found.failure is not None:
        raise ArtifactError(
            f"number {strategy.number} cannot be exported as {wanted!r}: {found.failure.message}"
        )
    if found not in history.records:  # numbers of what was measured beside it are others
        found = replace(found, number=strategy.number)
    return Strategy(found, history, folder)


def _recipe_in(strategy: Strategy, wanted: str | None) -> Recipe:
    """Return the strategy's recipe in a runtime that has the format; its own where that does."""
    if wanted is None:
        return strategy.recipe
    if wanted not in FORMATS:
        raise UnknownNameError("format", wanted, FORMATS)
    if strategy.recipe["runtime"].option in FORMATS[wanted]:
        return strategy.recipe
    return strategy.recipe.replaced(runtime=(FORMATS[wanted][0], {}))


def _check_explained(explanation: Explanation, served: Recipe) -> None:
    """Raise where an explanation is that of something else than what is exported."""
    explained = explanation.steps[-1].recipe
    if explained != served:
        raise ArtifactError(
            f"`explanation` must be that of what is exported ({served.summary!r}), but is of "
            f"{explained.summary!r}; leave it away to have it explained anew"
        )


def _rows(strategy: Strategy, served: Strategy) -> list[Row]:
    """Return the rows of the search, with what is exported marked in place of the recommended."""
    rows = record_rows(strategy.history)
    for row in rows:
        row["recommended"] = row["number"] == strategy.number
        if row["recommended"] and served.record != strategy.record:
            # Another format was measured beside the search: the mark stands where that lies.
            row["values"] = {
                name: [stat.value, stat.low, stat.high]
                for name, stat in served.measurement.stats.items()
            }
            row["speedup"] = served.speedup.value if served.speedup else None
            row["summary"] = served.recipe.summary
    return rows


def _report(strategy: Strategy, served: Strategy) -> dict[str, Any]:
    """Return what the report shows, as plain values."""
    settings, history = strategy.history.settings, served.history
    return {
        "version": version("autoopt"),
        "number": served.number,
        "summary": served.recipe.summary,
        "compared": served.compared(),
        "parallel": vars(served.spread()),
        "request_size": settings.request_size if settings else None,
        "notes": list(settings.notes) if settings else [],
        "quality": settings.axes[0].name if settings else "",
        "record": served.record.to_dict(),
        "original": history.records[0].to_dict() if history.records else None,
        "objectives": axis_rows(strategy.history),
        "rows": _rows(strategy, served),
    }
