"""The layers of an AOTInductor package: native code, beside which stands what it was made of."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.errors import ArtifactError
from autoopt.runtimes.layer_table import FileLayer
from autoopt.runtimes.torch_layers import layers_of

if TYPE_CHECKING:
    from autoopt.runtimes.artifact import Manifest
    from autoopt.runtimes.program import Exported

LAYERS = "extra/layers.json"
"""Member of the package, behind the name of its root."""


def listed_layers(exported: Exported) -> bytes:
    """Return the layers of the program that is compiled, as they stand in the package.

    Inductor computes an operator in the element type of its operands, so the types of the program
    are those of the code.
    """
    found = layers_of(exported.program.module())
    return json.dumps([asdict(layer) for layer in found], separators=(",", ":")).encode()


def read_layers(path: Path, manifest: Manifest) -> tuple[FileLayer, ...]:
    """Return the layers of a package in the order in which they run, without running any of it.

    Raises
    ------
    ArtifactError
        If the package does not list them, as those of older versions do not.
    """
    try:
        with zipfile.ZipFile(path) as package:
            name = next(name for name in package.namelist() if name.endswith(f"/{LAYERS}"))
            found = [FileLayer(**item) for item in json.loads(package.read(name))]
    except (zipfile.BadZipFile, StopIteration, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{manifest.model!r} does not list the layers that its code was compiled from; build "
            "it again."
        ) from error
    return tuple(
        replace(
            layer,
            shape=tuple(layer.shape),
            kernel=f"inductor {layer.kernel.removeprefix('aten.')}",
        )
        for layer in found
    )
