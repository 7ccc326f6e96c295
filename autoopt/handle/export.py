"""Exporting a strategy: in its own format, or built again in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, UnknownNameError
from autoopt.handle.ablation import FOLDER, measure_missing, side_history
from autoopt.handle.advice import speed_axis
from autoopt.handle.explain import explain_strategy, task_given
from autoopt.handle.rows import axis_rows, record_rows
from autoopt.handle.strategy import Given, Strategy
from autoopt.history import History
from autoopt.recipe import Recipe
from autoopt.record import Record

if TYPE_CHECKING:
    from autoopt.handle.explanation import Explanation

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"onnx": ("onnxruntime",), "openvino": ("openvino",), "pt2": ("eager", "compiled")}
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
    from autoopt.exporting import Meaning, export_strategy, recipe_text
    from autoopt.panel.svg import front_svg

    served = strategy if wanted.format is None else in_format(strategy, wanted.format, given)
    # Damage is found before anything is explained.
    artifact = served.artifact_folder()
    explanation = wanted.explanation or explain_strategy(served, Given())
    settings = strategy.history.settings
    axes, rows = axis_rows(strategy.history), record_rows(strategy.history)
    front = front_svg(rows, axes, x=speed_axis(strategy.history.front), y=axes[0]["name"])
    layers = settings.layers if settings else ()
    return export_strategy(
        artifact,
        recipe_text(served.recipe, version=version("autoopt"), layers=layers),
        {**_report(strategy, served), "explained": explanation.sections()},
        folder,
        chart=f"{front}{explanation.picture}",
        meaning=Meaning(wanted.labels, wanted.preprocessing),
        overwrite=wanted.overwrite,
    )


def in_format(strategy: Strategy, wanted: str, given: Given) -> Strategy:
    """Return the strategy in a runtime that has a format, built and measured where it is another.

    Raises
    ------
    UnknownNameError
        If there is no such format.
    ArtifactError
        If the recipe cannot be realised there, or model and data are needed for it.
    """
    if wanted not in FORMATS:
        raise UnknownNameError("format", wanted, FORMATS)
    if strategy.recipe["runtime"].option in FORMATS[wanted]:
        return strategy
    recipe = strategy.recipe.replaced(runtime=(FORMATS[wanted][0], {}))
    found = _known(recipe, strategy.history, strategy.folder)
    if found is None and strategy.folder is not None:
        side = side_history(strategy.folder)
        task, own = task_given(strategy, given)
        if task is not None:
            side = measure_missing(strategy.folder, strategy.history, [recipe], task, own)
        found = _known(recipe, side, strategy.folder / FOLDER) if side else None
    if found is None:
        raise ArtifactError(
            f"number {strategy.number} runs in {strategy.recipe['runtime'].option}; to export it "
            f"as {wanted!r} it is built and measured anew, which needs model and data: "
            f"export(folder, format={wanted!r}, model=model, data=data)"
        )
    if (failure := found.record.failure) is not None:
        raise ArtifactError(
            f"number {strategy.number} cannot be exported as {wanted!r}: {failure.message}"
        )
    return found


def _known(recipe: Recipe, history: History, folder: Path | None) -> Strategy | None:
    """Return the strategy of a recipe that was tried, the latest of them, or None."""
    records: list[Record] = [r for r in history.records if r.recipe == recipe]
    return Strategy(records[-1], history, folder) if records else None


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
        "original": history.records[0].to_dict() if history.raw else None,
        "objectives": axis_rows(strategy.history),
        "rows": record_rows(strategy.history),
    }
