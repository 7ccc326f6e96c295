"""What became of each layer: the artefact's files beside those of the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoopt.runtimes.layer_table import FileLayer, read_layers

COLUMNS = (
    "layer", "kind", "shape_before", "shape", "parameters_before", "parameters", "bits_before",
    "bits", "stored", "kernel_before", "kernel",
)  # fmt: skip


def layer_changes(artifact: Path, original: Path | None) -> list[dict[str, Any]]:
    """Return one row a layer, all read back from the files of both artefacts.

    Parameters
    ----------
    artifact, original
        Folders of the artefacts; without the original what was before stays empty.

    Notes
    -----
    Layers are matched by name. Where a format keeps no names they are matched in their order if
    there are as many of a family; what has no counterpart stands alone.
    """
    after = read_layers(artifact)
    before = read_layers(original) if original else ()
    pairs = _matched(before, after)
    return [_row(*pair) for pair in pairs]


def kept_layers(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the layers that keep more bits than most weights of the artefact have."""
    weights: dict[float, int] = {}
    for row in rows:
        if row["bits"] is not None:
            weights[row["bits"]] = weights.get(row["bits"], 0) + row["parameters"]
    if len(weights) < 2:
        return []
    usual = max(weights, key=weights.__getitem__)
    return [row["layer"] for row in rows if row["bits"] is not None and row["bits"] > usual]


def _matched(
    before: Sequence[FileLayer], after: Sequence[FileLayer]
) -> list[tuple[FileLayer | None, FileLayer | None]]:
    """Return the layers in pairs, in the order of the artefact; what went comes last."""
    names = {layer.name: layer for layer in before}
    if not any(layer.name in names for layer in after):
        return _in_order(before, after)
    pairs: list[tuple[FileLayer | None, FileLayer | None]] = [
        (names.pop(layer.name, None), layer) for layer in after
    ]
    return [*pairs, *((layer, None) for layer in names.values())]


def _in_order(
    before: Sequence[FileLayer], after: Sequence[FileLayer]
) -> list[tuple[FileLayer | None, FileLayer | None]]:
    """Return pairs of the layers that there are as many of on both sides, of one family each.

    Of the others nobody knows which was which, nor whether one went.
    """
    partners: dict[int, FileLayer] = {}
    for family in {_family(layer) for layer in after}:
        then = [layer for layer in before if _family(layer) == family]
        now = [place for place, layer in enumerate(after) if _family(layer) == family]
        if len(then) == len(now):
            partners |= dict(zip(now, then, strict=True))
    return [(partners.get(place), layer) for place, layer in enumerate(after)]


def _family(layer: FileLayer) -> str:
    """Return what a layer does, whatever its format calls it."""
    kind = layer.kind.lower()
    if kind in ("gather", "embedding"):
        return "lookup"
    return "recurrent" if kind.startswith(("lstm", "gru", "rnn")) else "product"


def _row(before: FileLayer | None, after: FileLayer | None) -> dict[str, Any]:
    now, then = after or before, before
    if now is None:
        raise ValueError("a row of the table of layers must have a layer on one side")
    return dict(
        zip(
            COLUMNS,
            (
                # The original's name says more than one that a format made up.
                (then or now).name,
                now.kind,
                _shape(then),
                _shape(after),
                then.parameters if then else None,
                after.parameters if after else 0,
                then.bits if then else None,
                after.bits if after else None,
                after.stored if after else "removed",
                then.kernel if then else "",
                after.kernel if after else "",
            ),
            strict=True,
        )
    )


def _shape(layer: FileLayer | None) -> str:
    return "×".join(map(str, layer.shape)) if layer else ""
