"""One measured candidate with its verbs."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.cache import Cache
from autoopt.errors import ArtifactError
from autoopt.handle.advice import compared
from autoopt.history import History
from autoopt.measurement import Measurement, Stat
from autoopt.recipe import Recipe
from autoopt.record import Record

if TYPE_CHECKING:
    from autoopt.handle.explanation import Explanation

TRAVELLING = "cache"
"""Folder within a search's own that holds the artefacts which travel with it."""


@dataclass(frozen=True)
class Given:
    """What may be looked at beside the search's folder.

    Attributes
    ----------
    model, data
        The same as of the search; None for what the folder says alone.
    groups
        A value for each sample of the test part.
    again
        What a resume would have to be handed again: metric, loss, techniques, students, train,
        teachers.
    trust_code
        Whether native code that the search has compiled may be run.
    """

    model: Any = None
    data: Any = None
    groups: Any = None
    again: Mapping[str, Any] | None = None
    trust_code: bool = False


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

    def predict(self, *inputs: Any, trust_code: bool = False) -> Any:
        """Answer one batch with the very artefact that was measured.

        Loads it anew at each call; to serve, use ``autoopt.load`` on an export. Native code
        (runtime ``aotinductor``) is run only with `trust_code`: the search may be another's.
        """
        from autoopt.loading import load_artifact

        place = self.artifact_folder()
        with load_artifact(place, self.spread(), trust_code=trust_code) as predictor:
            return predictor(*inputs)

    def export(
        self,
        folder: str | Path,
        *,
        format: str | None = None,
        labels: Sequence[str] = (),
        preprocessing: Any = None,
        explanation: Explanation | None = None,
        overwrite: bool = False,
        model: Any = None,
        data: Any = None,
        **again: Any,
    ) -> Path:
        """Write artefact, recipe, report, schema and ``predict.py``, whole or not at all.

        Parameters
        ----------
        folder
            Where to; must not exist, unless it is an earlier export and `overwrite` is set.
        format
            ``"onnx"``, ``"openvino"`` or ``"pt2"``; the strategy's own when absent. Where it is
            another, the same recipe is built and measured in that format's runtime, which needs
            `model` and `data` unless that was done before.
        labels
            Names of the output's columns.
        preprocessing
            What raw data went through before it came to the model: words, or plain values.
        explanation
            What `explain` gave of this strategy, for the report; explained anew when absent, with
            model and data where they are given. For another format it must be absent, or of it.
        overwrite
            Whether an earlier export may be replaced.
        model, data, **again
            As in `explain`, for another format and the report.

        Returns
        -------
        Path
            The folder, ready for ``autoopt.load``.

        Raises
        ------
        ArtifactError
            If the cache has lost the artefact, or the recipe cannot be realised in the format.
        FolderError
            If the folder is there and not ours to replace, which is found before anything is built.
        SearchError
            If model and data are given while the search still runs.
        """
        from autoopt.handle.export import Wanted, export

        wanted = Wanted(format, labels, preprocessing, explanation, overwrite)
        return export(self, Path(folder), wanted, Given(model, data, again=again))

    def explain(
        self,
        model: Any = None,
        data: Any = None,
        *,
        groups: Any = None,
        trust_code: bool = False,
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
        trust_code
            Look at the test part also where the artefact is native code.
        **again
            What `autoopt.resume` would have to be handed again: metric, loss, techniques,
            students, train, teachers.

        Raises
        ------
        ArtifactError
            If the cache has lost the artefact.
        FolderError
            If model and data are others than the search's.
        SearchError
            If they are given while the search still runs: it would be disturbed.
        """
        from autoopt.handle.explain import explain_strategy

        return explain_strategy(self, Given(model, data, groups, again, trust_code))

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

        # What was measured says it in full; older searches have not written it down.
        if written := self.measurement.protocol.get("deployment", {}).get("parallel"):
            return Parallel(**written)
        threads = self.history.settings.threads if self.history.settings else 1
        pick = self.recipe["parallel"]
        return Parallel(**pick.settings) if pick.option == "tuned" else Parallel(threads)

    def compared(self) -> str:
        """Return ``8.4× at −0.6 pt``: how it compares with the original."""
        settings = self.history.settings
        if settings is None:
            return ""
        return compared(self.record, self.history.raw.get(0), settings.axes[0])

    def __repr__(self) -> str:
        """Show number, recipe and figures."""
        figures = ", ".join(f"{name} {stat}" for name, stat in self.measurement.stats.items())
        return f"<Strategy {self.number}: {self.recipe.summary} | {self.compared()} | {figures}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td>{html.escape(str(stat))}</td></tr>"
            for name, stat in self.measurement.stats.items()
        )
        title = f"Strategy {self.number}: {self.recipe.summary}"
        return (
            f"<b>{html.escape(title)}</b><br>{html.escape(self.compared())}"
            f"<table>{rows}</table><pre>{html.escape(self.recipe.to_yaml())}</pre>"
        )
