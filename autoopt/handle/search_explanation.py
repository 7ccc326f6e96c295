"""`Search.explain`: what mattered, what failed and why, and what would probably help next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from autoopt.errors import ConstraintError, FolderError
from autoopt.front import Front
from autoopt.handle.advice import bounded_front, speed_axis
from autoopt.handle.next_steps import next_steps
from autoopt.handle.verification import verification
from autoopt.history import History
from autoopt.membership import membership
from autoopt.record import Record
from search_spaces import NEUTRAL

if TYPE_CHECKING:
    import pandas as pd

OURS = ("search", "given")
"""Roles of what the search chose or was handed, against the usual single steps."""

SURE = 0.9
"""Probability from which a member of the front is not said to be uncertain."""


@dataclass(frozen=True)
class SearchExplanation:
    """A search in words and tables.

    Attributes
    ----------
    words
        In sentences.
    importance_rows, refused_rows, failed_rows, baseline_rows
        The tables' rows.
    advice
        What would probably help next, in sentences.
    """

    words: tuple[str, ...]
    importance_rows: tuple[Mapping[str, Any], ...]
    refused_rows: tuple[Mapping[str, Any], ...]
    failed_rows: tuple[Mapping[str, Any], ...]
    baseline_rows: tuple[Mapping[str, Any], ...]
    advice: tuple[str, ...]

    @property
    def importance(self) -> pd.DataFrame:
        """How much each slot, and each setting within an option, moves each objective."""
        columns = ["objective", "slot", "option", "setting", "importance", "trials"]
        return _table(self.importance_rows, columns)

    @property
    def refused(self) -> pd.DataFrame:
        """What was known not to run here before anything was spent, by reason."""
        return _table(self.refused_rows, ["choices", "reason"])

    @property
    def failed(self) -> pd.DataFrame:
        """What failed, by kind, stage and cause."""
        return _table(self.failed_rows, ["count", "kind", "stage", "cause", "numbers", "common"])

    @property
    def baselines(self) -> pd.DataFrame:
        """Each usual single step, and which strategies of the search dominate it."""
        return _table(self.baseline_rows, ["number", "strategy", "role", "dominated_by"])

    def sections(self) -> dict[str, Any]:
        """Return heading to content, plain values."""
        found = {
            "in words": list(self.words),
            "what would probably help next": list(self.advice),
            "which choices mattered": _pivoted(self.importance_rows),
            "what failed": list(self.failed_rows),
            "what cannot run here": list(self.refused_rows),
            "against single steps": list(self.baseline_rows),
        }
        return {heading: content for heading, content in found.items() if content}

    def __repr__(self) -> str:
        """Show everything as text."""
        parts = []
        for heading, content in self.sections().items():
            lines = (
                [f"- {line}" for line in content]
                if isinstance(content[0], str)
                else [_table(content).astype(object).fillna("").to_string(index=False)]
            )
            parts += [heading.capitalize(), *lines, ""]
        return "\n".join(parts).rstrip()

    def _repr_html_(self) -> str:
        from autoopt.exporting.report import section_html

        sections = self.sections()
        words = "".join(f"<li>{escape(line)}</li>" for line in sections.pop("in words", []))
        rest = "".join(section_html(heading, content) for heading, content in sections.items())
        return f"<ul>{words}</ul>{rest}"


def explain_search(history: History) -> SearchExplanation:
    """Explain a search from its log alone.

    Raises
    ------
    FolderError
        If it was never opened.
    """
    if history.settings is None:
        raise FolderError("a search must have begun before it can be explained")
    from autoopt.controller import importances

    rows = importances(history)
    baselines, failed = _baselines(history), _failed(history)
    return SearchExplanation(
        words=(*_mattered(rows), *_against(history, baselines), *_verified(history)),
        importance_rows=tuple(rows),
        refused_rows=tuple(_refused(history)),
        failed_rows=tuple(failed),
        baseline_rows=tuple(baselines),
        advice=tuple(next_steps(history, failed)),
    )


def _mattered(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which slots moved each objective most."""
    said = []
    for objective in dict.fromkeys(row["objective"] for row in rows):
        slots = [r for r in rows if r["objective"] == objective and not r["setting"]]
        slots.sort(key=lambda row: -row["importance"])
        if slots:
            words = ", ".join(f"{row['slot']} ({row['importance']:.0%})" for row in slots[:3])
            said.append(f"{objective.capitalize()} depends most on {words}.")
    return said or ["Too few trials were measured to say which choices mattered."]


def _pivoted(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a choice with a column an objective."""
    table: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["slot"], row["option"], row["setting"])
        name = row["slot"] if not row["setting"] else f"{row['option']}: {row['setting']}"
        line = table.setdefault(key, {"choice": name, "trials": row["trials"]})
        line[row["objective"]] = f"{row['importance']:.2f}"
    return list(table.values())


def _refused(history: History) -> list[dict[str, Any]]:
    reasons: dict[str, list[str]] = {}
    for refusal in history.refusals:
        words = " with ".join(str(w["option"]) for w in refusal["when"].values())
        reasons.setdefault(str(refusal["reason"]), []).append(words)
    return [
        {"choices": ", ".join(dict.fromkeys(choices)), "reason": reason}
        for reason, choices in reasons.items()
    ]


def _failed(history: History) -> list[dict[str, Any]]:
    """Return the failures by cause; numbers in a message do not make another cause."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in history.records:
        if (failure := record.failure) is not None:
            cause = re.sub(r"\d[\d.,e+-]*", "#", failure.message.splitlines()[0][:160])
            groups.setdefault((failure.kind, failure.stage, cause), []).append(record)
    rows = []
    for (kind, stage, _), records in sorted(groups.items(), key=lambda item: -len(item[1])):
        failure = records[0].failure
        rows.append(
            {
                "count": len(records),
                "kind": kind.replace("_", " "),
                "stage": stage,
                "cause": failure.message.splitlines()[0] if failure else "",
                "numbers": ", ".join(str(record.number) for record in records[:8]),
                "common": _common(records),
            }
        )
    return rows


def _common(records: Sequence[Record]) -> str:
    """Return the choices that all of some records share, those that change nothing left out."""
    points = [record.recipe.picks for record in records]
    shared = [
        slot
        for slot, pick in points[0].items()
        if pick.option != NEUTRAL[slot] and all(p[slot].option == pick.option for p in points)
    ]
    return ", ".join(f"{slot} {points[0][slot].option}" for slot in shared)


def _baselines(history: History) -> list[dict[str, Any]]:
    """Return the usual single steps, with what the search found that dominates each."""
    front = history.front
    ours = [record for record in front.measured if record.role in OURS]
    rows = []
    for record in front.measured:
        if record.role in OURS:
            continue
        better = [one.number for one in ours if front.dominates(one, record)]
        figures = {
            axis.column: f"{stat.value:.4g}"
            for axis in front.axes
            if (stat := record.stat(axis.name)) is not None
        }
        rows.append(
            {
                "number": record.number,
                "strategy": record.recipe.summary,
                "role": record.role,
                **figures,
                "dominated_by": ", ".join(map(str, better[:6])),
            }
        )
    return rows


def _against(history: History, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say whether the search beat the usual single steps, within the same bounds."""
    single = [row for row in rows if row["role"] != "original"]
    if not single:
        return []
    beaten = sum(bool(row["dominated_by"]) for row in single)
    said = [f"What the search found dominates {beaten} of {len(single)} usual single steps."]
    bounded = bounded_front(history)
    axis = speed_axis(bounded)
    mine = _best_of(bounded, axis, OURS)
    usual = _best_of(bounded, axis, ("original", "baseline", "uniform"))
    if mine is None or usual is None:
        missing = "the search" if mine is None else "single steps"
        return [*said, f"Within the bounds there is nothing from {missing}."]
    ours, theirs = mine.stat(axis), usual.stat(axis)
    if ours is None or theirs is None:
        return said
    clear = "" if not ours.overlaps(theirs) else ", within the noise"
    ahead = bounded.best(axis).role in OURS
    verdict = "the search beat them" if ahead else "the search did not beat them"
    said.append(
        f"Within the bounds {verdict}: {axis} {ours} (number {mine.number}) against {theirs} "
        f"(number {usual.number}: {usual.recipe.summary or 'the original'}){clear}."
    )
    return said


def _verified(history: History) -> list[str]:
    """Say how far the front was measured again, and which of its members are uncertain."""
    told = str(verification(history))
    if not told:
        return []
    chances = membership(history.front)
    doubtful = [
        f"number {record.number} ({chance:.0%})"
        for record in history.front.members
        if (chance := chances.get(record.number, 0.0)) < SURE
    ]
    said = [f"{told}."]
    if doubtful:
        said.append(f"Not certainly on the front, by the noise: {', '.join(doubtful)}.")
    return said


def _best_of(front: Front, axis: str, roles: Sequence[str]) -> Record | None:
    some = replace(front, records=tuple(r for r in front.records if r.role in roles))
    try:
        return some.best(axis)
    except ConstraintError:
        return None


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> pd.DataFrame:
    import pandas as pd

    found = pd.DataFrame([dict(row) for row in rows])
    return found if len(found) else pd.DataFrame(columns=list(columns))
