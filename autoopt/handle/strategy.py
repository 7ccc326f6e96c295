"""One measured candidate with its verbs."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.cache import Cache
from autoopt.errors import ArtifactError
from autoopt.handle.advice import compared, speed_axis
from autoopt.history import History
from autoopt.measurement import Measurement, Stat
from autoopt.recipe import Recipe
from autoopt.record import Record

if TYPE_CHECKING:
    from autoopt.handle.explanation import Explanation

TRAVELLING = "cache"
"""Folder within a search's own that holds the artefacts which travel with it."""


@dataclass(frozen=True)
class Strategy:
    """One record of a search that was measured.

    Attributes
    ----------
    record
        What was built and measured.
    history
        The search that it belongs to, as far as it was known.
    folder
        Where the search lives; its artefacts may have travelled there.
    """

    record: Record
    history: History
    folder: Path | None = None

    @property
    def number(self) -> int:
        """Its number in the search."""
        return self.record.number

    @property
    def recipe(self) -> Recipe:
        """What was done."""
        return self.record.recipe

    @property
    def measurement(self) -> Measurement:
        """What was measured."""
        if self.record.measurement is None:
            raise ArtifactError(f"number {self.number} failed: {self.record.failure}")
        return self.record.measurement

    def __getitem__(self, objective: str) -> Stat:
        """Return the figure of one objective."""
        return self.measurement.stats[objective]

    @property
    def speedup(self) -> Stat | None:
        """Latency of the original in eager float32 over this one's, timed side by side."""
        return self.measurement.speedup

    def predict(self, *inputs: Any) -> Any:
        """Answer one batch with the very artefact that was measured.

        Loads it anew at each call; to serve, use ``autoopt.load`` on an export.
        """
        from autoopt.loading import load_artifact

        with load_artifact(self.artifact_folder(), self.spread()) as predictor:
            return predictor(*inputs)

    def export(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write artefact, recipe, report and ``predict.py`` into a folder, whole or not at all.

        Parameters
        ----------
        folder
            Where to; must not exist, unless it is an earlier export and `overwrite` is set.
        overwrite
            Whether an earlier export may be replaced.

        Returns
        -------
        Path
            The folder, ready for ``autoopt.load``.

        Raises
        ------
        ArtifactError
            If the cache has lost the artefact.
        FolderError
            If the folder is there and not ours to replace.
        """
        from autoopt.exporting import export_strategy

        return export_strategy(
            self.artifact_folder(),
            self.recipe.to_yaml(),
            self._report(),
            Path(folder),
            chart=self._chart(),
            overwrite=overwrite,
        )

    def explain(
        self,
        model: Any = None,
        data: Any = None,
        *,
        groups: Any = None,
        **again: Any,
    ) -> Explanation:
        """Say in words, tables and a picture what was done, what it cost and gained, and how sure.

        Parameters
        ----------
        model, data
            The same as of the search: what is missing is measured then, and the test part is
            looked at. Without them what the search's folder and cache say is told.
        groups
            A value for each sample of the test part, to see quality by them instead of by class.
        **again
            What `autoopt.resume` would have to be handed again: metric, loss, techniques,
            students, train, teachers.

        Raises
        ------
        ArtifactError
            If the cache has lost the artefact.
        FolderError
            If model and data are others than the search's.
        """
        from autoopt.handle.explain import Given, explain_strategy

        return explain_strategy(self, Given(model, data, groups, again))

    def artifact_folder(self) -> Path:
        """Return the artefact's folder in the cache."""
        settings = self.history.settings
        if settings is None or self.record.artifact is None:
            raise ArtifactError(f"number {self.number} has no artefact: {self.record.failure}")
        for place in self._caches(settings.cache):
            entry = Cache(place).get("artifacts", self.record.artifact)
            if entry is not None:
                return entry.folder
        raise ArtifactError(
            f"the artefact of number {self.number} is not in the cache {settings.cache} any "
            "more; run the search again with the same cache to build it anew. Of a search from "
            "elsewhere, `search.pack(path)` there takes the artefacts along"
        )

    def _caches(self, cache: str) -> list[Path]:
        """Return where artefacts may be: the search's cache, and what travelled with its folder."""
        return [Path(cache), *([self.folder / TRAVELLING] if self.folder else [])]

    def spread(self) -> Any:
        """Return how a request is spread."""
        from autoopt.interfaces import Parallel

        threads = self.history.settings.threads if self.history.settings else 1
        pick = self.recipe["parallel"]
        return Parallel(**pick.settings) if pick.option == "tuned" else Parallel(threads)

    def _report(self) -> Mapping[str, Any]:
        """Return what the report shows, as plain values."""
        from autoopt.handle.rows import axis_rows, record_rows

        settings = self.history.settings
        return {
            "number": self.number,
            "summary": self.recipe.summary,
            "compared": self._compared(),
            "parallel": vars(self.spread()),
            "request_size": settings.request_size if settings else None,
            "notes": list(settings.notes) if settings else [],
            "quality": settings.axes[0].name if settings else "",
            "record": self.record.to_dict(),
            "original": self.history.records[0].to_dict() if self.history.raw else None,
            "objectives": axis_rows(self.history),
            "rows": record_rows(self.history),
        }

    def _chart(self) -> str:
        """Return the front as SVG: quality over speed."""
        from autoopt.handle.rows import axis_rows, record_rows
        from autoopt.panel.svg import front_svg

        axes = axis_rows(self.history)
        return front_svg(
            record_rows(self.history),
            axes,
            x=speed_axis(self.history.front),
            y=axes[0]["name"],
        )

    def _compared(self) -> str:
        settings = self.history.settings
        quality = settings.axes[0].name if settings else ""
        return compared(self.record, self.history.raw.get(0), quality)

    def __repr__(self) -> str:
        """Show number, recipe and figures."""
        figures = ", ".join(f"{name} {stat}" for name, stat in self.measurement.stats.items())
        return f"<Strategy {self.number}: {self.recipe.summary} | {self._compared()} | {figures}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td>{html.escape(str(stat))}</td></tr>"
            for name, stat in self.measurement.stats.items()
        )
        title = f"Strategy {self.number}: {self.recipe.summary}"
        return (
            f"<b>{html.escape(title)}</b><br>{html.escape(self._compared())}"
            f"<table>{rows}</table><pre>{html.escape(self.recipe.to_yaml())}</pre>"
        )
