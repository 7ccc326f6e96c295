"""`Explanation`: a strategy in words, tables and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from autoopt.exporting.sections import STEPS
from autoopt.handle.ablation import Step
from autoopt.handle.layer_changes import COLUMNS
from autoopt.handle.on_test import OnTest
from autoopt.measurement import Axis, Stat
from autoopt.panel.messages import Objective
from autoopt.panel.steps import StepRow, steps_svg

if TYPE_CHECKING:
    import pandas as pd

SHOWN_EXAMPLES = 20


@dataclass(frozen=True)
class Explanation:
    """What was done, what each step cost and gained, and how sure that is.

    Attributes
    ----------
    title
        The strategy.
    words
        The explanation in sentences.
    steps
        From the original to the strategy.
    layer_rows
        One a layer, read back from the artefact's files.
    axes
        The objectives.
    test
        On the test part; None without the data.
    sensitivity
        Layer to what the outputs lose when it alone is brought to the strategy's precision.
    missing
        What could not be said, and what would give it.
    """

    title: str
    words: tuple[str, ...]
    steps: tuple[Step, ...]
    layer_rows: tuple[Mapping[str, Any], ...]
    axes: tuple[Axis, ...]
    test: OnTest | None = None
    sensitivity: Mapping[str, float] | None = None
    missing: tuple[str, ...] = ()

    @property
    def layers(self) -> pd.DataFrame:
        """One row a layer: shape, parameters, bits and kernel, before and after."""
        import pandas as pd

        table = pd.DataFrame([dict(row) for row in self.layer_rows], columns=list(COLUMNS))
        if self.sensitivity:
            table["sensitivity"] = table["layer"].map(self.sensitivity)
        return table

    @property
    def ablation(self) -> pd.DataFrame:
        """One row a step from the original to the strategy, figures with intervals."""
        import pandas as pd

        return pd.DataFrame(_step_rows(self.steps, self.axes)).set_index("step")

    @property
    def groups(self) -> pd.DataFrame:
        """Quality on the test part by class or by the groups that were given."""
        import pandas as pd

        rows = self.test.groups if self.test else ()
        return pd.DataFrame([_plain(row) for row in rows])

    @property
    def disagreements(self) -> pd.DataFrame:
        """The samples of the test part on which the strategy and the original differ."""
        import pandas as pd

        columns = ["sample", "target", "original", "this", "apart"]
        return pd.DataFrame(self.test.examples if self.test else (), columns=columns)

    @property
    def picture(self) -> str:
        """The steps as an SVG that needs nothing else and follows light and dark."""
        rows = [
            StepRow(
                name=f"{step.slot}: {step.choice}",
                values=_figures(step, self.axes),
                missing=_why_missing(step),
            )
            for step in self.steps
        ]
        objectives = [
            Objective(name=a.name, label=a.name, unit=a.unit, direction=a.direction)
            for a in self.axes
        ]
        return steps_svg(rows, objectives)

    def sections(self) -> dict[str, Any]:
        """Return heading to content, plain values, as reports show them."""
        found: dict[str, Any] = {
            "in words": list(self.words),
            STEPS: [
                {key: value for key, value in row.items() if value not in (None, "")}
                for row in self._step_words()
            ],
            "layer by layer": [_layer_row(row, self.sensitivity) for row in self.layer_rows],
        }
        if self.test:
            found |= {
                "on the test part": [_shown(row) for row in self.test.groups],
                "where it differs from the original": list(self.test.examples[:SHOWN_EXAMPLES]),
            }
        found["what is not known"] = list(self.missing)
        return {heading: content for heading, content in found.items() if content}

    def __repr__(self) -> str:
        """Show the words and the tables."""
        parts = [self.title, *(f"- {line}" for line in self.words)]
        parts += ["", _as_text(self._step_words()), "", self._layer_text()]
        if self.test and self.test.groups:
            parts += ["", _as_text([_shown(row) for row in self.test.groups])]
        return "\n".join([*parts, *(f"({line})" for line in self.missing)])

    def _repr_html_(self) -> str:
        from autoopt.exporting.report import section_html

        sections = self.sections()
        words = "".join(f"<li>{escape(line)}</li>" for line in sections.pop("in words"))
        figures = {STEPS: self.picture}
        rest = "".join(
            section_html(heading, content, figure=figures.get(heading, ""))
            for heading, content in sections.items()
        )
        return f"<h3>{escape(self.title)}</h3><ul>{words}</ul>{rest}"

    def _step_words(self) -> list[dict[str, Any]]:
        """Return the steps as people read them: no intervals, and names with units."""
        names = {a.column: f"{a.name} ({a.unit})" if a.unit else a.name for a in self.axes}
        names["speedup"] = "times as fast"
        if self.axes:
            names[f"test_{self.axes[0].column}"] = f"{self.axes[0].name} on the test part"
        rows = _step_rows(self.steps, self.axes, intervals=False)
        return [{names.get(key, key): value for key, value in row.items()} for row in rows]

    def _layer_text(self) -> str:
        return _as_text([_layer_row(row, self.sensitivity) for row in self.layer_rows])


def _figures(step: Step, axes: Sequence[Axis]) -> dict[str, list[float]]:
    record = step.record
    stats = {axis.name: record.stat(axis.name) for axis in axes} if record else {}
    return {name: [stat.value, stat.low, stat.high] for name, stat in stats.items() if stat}


def _why_missing(step: Step) -> str:
    if step.record is None:
        return "not measured"
    if step.record.failure is None:
        return ""
    return f"not by itself: {step.record.failure.message}"


def _step_rows(
    steps: Sequence[Step], axes: Sequence[Axis], *, intervals: bool = True
) -> list[dict[str, Any]]:
    rows = []
    for step in steps:
        measured = step.record.measurement if step.record else None
        row: dict[str, Any] = {"step": step.slot, "choice": step.choice}
        for axis in axes:
            stat = step.record.stat(axis.name) if step.record else None
            row[axis.column] = stat.value if stat else None
            if intervals:
                row[f"{axis.column}_low"] = stat.low if stat else None
                row[f"{axis.column}_high"] = stat.high if stat else None
        row["speedup"] = measured.speedup.value if measured and measured.speedup else None
        test = measured.test if measured else None
        if axes:
            row[f"test_{axes[0].column}"] = test.value if test else None
        row["number"] = step.record.number if step.record and intervals else None
        row["note"] = _why_missing(step)
        rows.append(row if intervals else {k: v for k, v in row.items() if k != "number"})
    return rows


def _layer_row(row: Mapping[str, Any], sensitivity: Mapping[str, float] | None) -> dict[str, Any]:
    """Return a layer's row with before and after side by side in words."""

    def both(name: str) -> str:
        then, now = row[f"{name}_before"], row[name]
        # A figure is short, so that a table of fifty layers can be read.
        words = [f"{value:,.6g}" if isinstance(value, int | float) else str(value)
                 for value in (then, now) if value not in (None, "")]  # fmt: skip
        return words[0] if len(set(words)) == 1 and len(words) == 2 else " → ".join(words)

    found = {name: both(name) for name in ("shape", "parameters", "bits", "kernel")}
    shown = {"layer": row["layer"], "kind": row["kind"], **found, "stored": row["stored"]}
    if sensitivity and row["layer"] in sensitivity:
        shown["sensitivity"] = f"{sensitivity[row['layer']]:.3g}"
    return shown


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the figures of each `Stat` in columns of their own."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Stat):
            found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            found[name] = value
    return found


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Stat) else value for name, value in row.items()}


def _as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    import pandas as pd

    table = pd.DataFrame([dict(row) for row in rows]).astype(object).fillna("")
    return table.to_string(index=False, float_format=lambda value: f"{value:.4g}")
