"""What the report says, in order: the strategy's plain values under headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

# Whatever else a report holds is shown under its own name; these are only read.
READ = frozenset(
    {"summary", "compared", "number", "parallel", "request_size", "record", "original", "rows",
     "objectives", "quality", "notes", "title", "explained", "version"}
)  # fmt: skip


STEPS = "what each step cost and gained"
"""Heading of the ablation, beside which it is drawn."""

FRONT = "where it stands"
"""Heading of the front, beside which it is drawn."""

USUAL: Mapping[str, Any] = MappingProxyType(
    {"replicas": 1, "batch": 0, "inter_op": 1, "processes": False, "pinned": False, "gather": 0,
     "delay_ms": 0.0}
)  # fmt: skip
"""Ways to spread a request that need no word."""

MACHINE = frozenset(
    {"name", "processor", "cores", "memory_mb", "instruction_sets", "architecture", "load", "time",
     "system", "variables"}
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
    explained = dict(report.get("explained") or {})
    sections = {
        "title": report.get("title") or report.get("summary") or "An exported strategy",
        "cards": _cards(report, outcome),
        **{name: explained.pop(name) for name in ("in words",) if name in explained},
        "figures": figure_rows(report),
        **{name: explained.pop(name) for name in (STEPS,) if name in explained},
        FRONT: _front(report.get("rows") or (), report.get("objectives") or ()),
        **explained,
        "what the runtime did": outcome.get("realised"),
        "how a request is spread": {
            key: value for key, value in spread.items() if value not in (None, USUAL.get(key))
        },
        "notes": report.get("notes"),
        "measured on": _machine(outcome.get("environment") or {}),
        **{key: value for key, value in report.items() if key not in READ},
    }
    return {heading: content for heading, content in sections.items() if content}


def _cards(report: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, str]:
    """Return what counts most at a glance: how much faster and smaller, and at what loss."""
    then = _outcome(report.get("original") or {}).get("stats") or {}
    now = outcome.get("stats") or {}
    speedup, size = outcome.get("speedup"), now.get("size")
    cards = {"as fast": f"{speedup['value']:.1f}×"} if speedup else {}
    if size and then.get("size") and size["value"] > 0:
        cards["as small"] = f"{then['size']['value'] / size['value']:.1f}×"
    # `compared` ends with the change of the quality, in the unit that people use for it.
    _, at, change = str(report.get("compared") or "").partition("at ")
    if at:
        cards[f"{report.get('quality') or 'quality'}, validation part"] = change
    if latency := now.get("latency"):
        request = report.get("request_size")
        samples = f", {request} samples" if request else ""
        cards[f"latency{samples}"] = f"{latency['value']:.3g} {latency.get('unit', '')}".strip()
    return cards


def _machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machine in words; what is no part of it are versions of libraries."""
    when = environment.get("time")
    parts = {
        "processor": environment.get("processor"),
        "cores": environment.get("cores"),
        "memory": f"{environment['memory_mb'] / 1024:.0f} GB" if _is_number(
            environment.get("memory_mb")) else None,
        "instruction sets": environment.get("instruction_sets"),
        "architecture": environment.get("architecture"),
        "load when it began": environment.get("load"),
        "when": datetime.fromtimestamp(float(when or 0), UTC).strftime("%Y-%m-%d %H:%M UTC")
        if _is_number(when) else None,
        "system": environment.get("system"),
        "environment variables": environment.get("variables"),
        "versions": {k: v for k, v in environment.items() if k not in MACHINE},
    }  # fmt: skip
    return {name: value for name, value in parts.items() if value not in (None, {}, [])}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    """Return one row a member of the front, the original, and what is exported, with a star."""
    shown = []
    for row in rows:
        values = row.get("values") or {}
        this = bool(row.get("recommended"))
        if not values or not (row.get("front") or this or row.get("role") == "original"):
            continue
        cells: dict[str, Any] = {"number": row.get("number")}
        for objective in objectives:
            unit = f" ({objective['unit']})" if objective.get("unit") else ""
            value = values.get(objective["name"]) or [None]
            cells[f"{objective['label']}{unit}"] = value[0]
        recipe = f"{row.get('summary')}{' ★' if this else ''}"
        shown.append({**cells, "times as fast": row.get("speedup"), "recipe": recipe})
    return shown
