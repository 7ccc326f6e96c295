"""What an export says of itself for programs and people: schema, figures, versions, model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoopt.errors import ArtifactError
from autoopt.exporting.sections import figure_rows
from autoopt.runtimes import package_of
from autoopt.runtimes.artifact import Manifest, Port
from autoopt.runtimes.manifest_rules import plain_name
from autoopt.runtimes.onnx_files import OUTPUT, graph_input

SCHEMA = "schema.json"
MEASURED = "measured.json"
VERSIONS = "requirements.txt"
CARD = "model_card.md"
NAMES = (SCHEMA, MEASURED, VERSIONS, CARD)

NAMED = (".onnx", ".xml")
"""Endings of files whose inputs and output bear names."""

FORMAT = 1
"""Version of the JSON files."""

CARD_TEXT = """# {title}

A compressed version of a trained network, made and measured by autoopt {version}. {compared}

## What goes in and comes out

| | name | type | shape |
|---|---|---|---|
{ports}
{said}## Figures

| figure | original | this |
|---|---|---|
{figures}
Measured on {processor} in {runtime}. Another machine gives other timings:
`autoopt.load(folder).benchmark()` measures again.

## Limits

- It answers as the original does only as far as the figures say; where that is wrong, it is too.
- It was selected on the validation part, which favours luck. The selection never saw the test part.
- Precision: {precision}{storage}.

## Files

`recipe.yaml` is what was done, `report.html` the whole story, `schema.json` the inputs and outputs
for programs, `requirements.txt` the versions, `predict.py` a short script that answers.
"""


@dataclass(frozen=True)
class Meaning:
    """What the person says about inputs and outputs.

    Attributes
    ----------
    labels
        Name of each column of the output, in order.
    preprocessing
        What was done to raw data before it came to the model: words, or plain values.
    axis
        Axis of the output that the labels name; the last where it is not known.
    """

    labels: Sequence[str] = ()
    preprocessing: Any = None
    axis: int | None = None


def described(
    manifest: Manifest, report: Mapping[str, Any], meaning: Meaning, packages: Sequence[str] = ()
) -> dict[str, str]:
    """Return file name to text.

    `packages` are those that the file needs beside its runtime's own.

    Raises
    ------
    ArtifactError
        If there are not as many labels as the output has columns, or the preprocessing cannot
        stand in a JSON file.
    """
    version = str(report.get("version") or "of an unknown version")
    return {
        SCHEMA: _json(_schema(manifest, meaning)),
        MEASURED: _json(_measured(report, version)),
        VERSIONS: _requirements(manifest, report, packages),
        CARD: _card(manifest, report, meaning, version),
    }


def check_meaning(manifest: Manifest, meaning: Meaning) -> None:
    """Raise unless what a person says fits an artefact.

    Raises
    ------
    ArtifactError
        As `described`.
    """
    _json(_schema(manifest, meaning))


def _schema(manifest: Manifest, meaning: Meaning) -> dict[str, Any]:
    labels, axis = _labels(manifest.output, meaning)
    return {
        "format": FORMAT,
        "inputs": [
            _port(port, manifest, graph_input(number))
            for number, port in enumerate(manifest.inputs)
        ],
        "output": _port(manifest.output, manifest, OUTPUT),
        "labels": labels,
        # Scores of dense classes lie on another axis than the last.
        "labels_axis": axis,
        "preprocessing": meaning.preprocessing,
    }


def _labels(output: Port, meaning: Meaning) -> tuple[list[str], int | None]:
    """Return the labels and the axis of the output that they name, None without labels."""
    if isinstance(meaning.labels, str):
        raise ArtifactError(
            f"`labels` must be a list of names, but got the text {meaning.labels!r}."
        )
    labels = list(map(str, meaning.labels))
    if not labels:
        return [], None
    axes = len(output.shape)
    axis = (-1 if meaning.axis is None else meaning.axis) % axes
    if axis == 0 or output.shape[axis] is None:
        raise ArtifactError(
            f"`labels` must name the columns of the output, but its shape {_shape(output)} has none"
        )
    if len(labels) != output.shape[axis]:
        raise ArtifactError(
            f"`labels` must name each column of the output, which has {output.shape[axis]} (axis "
            f"{axis} of {_shape(output)}), but got {len(labels)}."
        )
    return labels, axis


def _port(port: Port, manifest: Manifest, inside: str) -> dict[str, Any]:
    """Return names, type and shape; an axis that is free has a name in place of a size.

    Graphs have names of their own `inside`, lest a person's be those of other values there.
    """
    shape = ["samples" if size is None else size for size in port.shape]
    free = {str(axis): "samples" for axis, size in enumerate(port.shape) if size is None}
    return {
        "name": port.name,
        # Null where the file's program takes inputs by their order alone.
        "name_in_the_file": inside if plain_name(manifest.model).endswith(NAMED) else None,
        "dtype": port.dtype,
        "shape": shape,
        "dynamic_axes": free,
        # What `autoopt.load` and predict.py split and fill up by themselves.
        "samples_in_the_file": manifest.options["batch"],
    }


def _measured(report: Mapping[str, Any], version: str) -> dict[str, Any]:
    record = report.get("record") or {}
    return {
        "format": FORMAT,
        "autoopt": version,
        "request_size": report.get("request_size"),
        "measurement": _without_samples(record.get("measurement")),
        "original": _without_samples((report.get("original") or {}).get("measurement")),
    }


def _without_samples(measurement: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not measurement:
        return None
    return {name: value for name, value in measurement.items() if name != "samples"}


def _requirements(manifest: Manifest, report: Mapping[str, Any], packages: Sequence[str]) -> str:
    """Return the exact versions that ran when it was measured, those that it needs first.

    A build's own mark (``+cpu``) is none of the package index's; what is asked for without it is
    met by a build that has one.
    """
    measurement = (report.get("record") or {}).get("measurement") or {}
    known = {name: str(value) for name, value in (measurement.get("environment") or {}).items()}
    needed = ("numpy", package_of(manifest.runtime), *packages)
    said = [f"Python {known['python']}"] if "python" in known else []
    said += [f"{name} {known[name]}" for name in needed if "+" in known.get(name, "")]
    lines = [f"{name}=={known[name].partition('+')[0]}" if name in known else name
             for name in needed]  # fmt: skip
    return (f"# measured under {', '.join(said)}\n" if said else "") + "\n".join(lines) + "\n"


def _card(manifest: Manifest, report: Mapping[str, Any], meaning: Meaning, version: str) -> str:
    """Return the model card in Markdown."""
    measurement = (report.get("record") or {}).get("measurement") or {}
    said = {"Labels": ", ".join(map(str, meaning.labels)), "Preprocessing": meaning.preprocessing}
    figures = (
        f"| {_cell(row['figure'])} | {_cell(row['original'])} | {_cell(row['exported'])} |\n"
        for row in figure_rows(report)
    )
    ports = [("input", port) for port in manifest.inputs] + [("output", manifest.output)]
    storage_only = manifest.realised.get("storage_only")
    return CARD_TEXT.format(
        title=_cell(report.get("summary") or "An exported model"),
        version=version,
        compared=_cell(report.get("compared") or ""),
        ports="".join(
            f"| {place} | {_cell(port.name)} | {port.dtype} | {_shape(port)} |\n"
            for place, port in ports
        ),
        said="".join(f"{name}: {_cell(value)}\n\n" for name, value in said.items() if value),
        figures="".join(figures),
        processor=_cell((measurement.get("environment") or {}).get("processor", "unknown")),
        runtime=manifest.runtime,
        precision=_cell(manifest.realised.get("precision", "unknown")),
        storage=" (storage only: not faster for it)" if storage_only else "",
    )


def _shape(port: Port) -> str:
    return " × ".join("samples" if size is None else str(size) for size in port.shape)


def _cell(value: Any) -> str:
    """Return text that stays within its cell and is no markup."""
    text = " ".join(str(value).split())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"`preprocessing` must be words or plain values that JSON holds, but: {error}."
        ) from error
