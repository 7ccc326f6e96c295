"""What the report says, in order: the strategy's plain values under headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Whatever else a report holds is shown under its own name; these are only read.
READ = frozenset(
    {"summary", "compared", "number", "parallel", "request_size", "record", "original", "rows",
     "objectives", "quality", "notes", "title", "explained", "version"}
)  # fmt: skip


def report_sections(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return heading to content: text, a mapping, or a list of mappings.

    Parameters
    ----------
    report
        All keys may be missing: ``summary``, ``compared``, ``number``, ``parallel``,
        ``request_size``, ``record`` and ``original`` (as `Record.to_dict` gives them), ``rows``
        and ``objectives`` (as the panel takes them), ``notes``, ``explained`` (heading to
        content); others are shown as they are.
    """
    record = report.get("record") or {}
    outcome = _outcome(record)
    spread = {"samples a request": report.get("request_size"), **(report.get("parallel") or {})}
    sections = {
        "title": report.get("title") or report.get("summary") or "An exported strategy",
        "result": report.get("compared"),
        "figures": figure_rows(report),
        **(report.get("explained") or {}),
        "what the runtime did": outcome.get("realised"),
        "how a request is spread": {key: v for key, v in spread.items() if v is not None},
        "front": _front(report.get("rows") or (), report.get("objectives") or ()),
        "notes": report.get("notes"),
        "measured on": outcome.get("environment"),
        **{key: value for key, value in report.items() if key not in READ},
    }
    return {heading: content for heading, content in sections.items() if content}


def figure_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row a figure, of the original and of what is exported; see `report_sections`."""
    original = _outcome(report.get("original") or {})
    return _figures(_outcome(report.get("record") or {}), original)


def _outcome(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the measurement of a record, or nothing."""
    outcome = record.get("measurement") or record.get("outcome")
    return outcome if isinstance(outcome, Mapping) and "stats" in outcome else {}


def _figures(mine: Mapping[str, Any], original: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return one row an objective: the original's figure and this one's."""
    rows = [
        {
            "figure": name,
            "original": _stat((original.get("stats") or {}).get(name)),
            "exported": _stat(stat),
        }
        for name, stat in (mine.get("stats") or {}).items()
    ]
    for name, label in (("test", "quality on the test part"), ("speedup", "times as fast")):
        if mine.get(name):
            rows.append(
                {
                    "figure": label,
                    "original": _stat(original.get(name)),
                    "exported": _stat(mine[name]),
                }
            )
    return rows


def _stat(stat: Mapping[str, Any] | None) -> str:
    if not stat:
        return ""
    text = f"{stat['value']:.4g} {stat.get('unit', '')}".strip()
    exact = stat["low"] == stat["high"]
    return text if exact else f"{text} ({stat['low']:.4g} to {stat['high']:.4g})"


def _front(
    rows: Sequence[Mapping[str, Any]], objectives: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one row a member of the front and one for the original."""
    shown = []
    for row in rows:
        values = row.get("values") or {}
        if not values or not (row.get("front") or row.get("role") == "original"):
            continue
        cells: dict[str, Any] = {"number": row.get("number")}
        for objective in objectives:
            unit = f" ({objective['unit']})" if objective.get("unit") else ""
            value = values.get(objective["name"]) or [None]
            cells[f"{objective['label']}{unit}"] = value[0]
        shown.append({**cells, "times as fast": row.get("speedup"), "recipe": row.get("summary")})
    return shown
