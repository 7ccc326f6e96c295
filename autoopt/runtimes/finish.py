"""The end of every build: load what was written, compare it, note the agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.interfaces import Parallel
from autoopt.precision import left_out
from autoopt.runtimes.agreement import check_agreement
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.compressed import store_compactly
from autoopt.runtimes.layer_table import COMPUTED, READERS, read_layers, stayed_in_float32

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment
    from autoopt.task import Task


def finish_build(
    load: Callable[[Path, Parallel], Deployment],
    network: nn.Module,
    manifest: Manifest,
    task: Task,
    folder: Path,
) -> Mapping[str, Any]:
    """Open the artefact with a runtime's `load` and compare it; return what was realised.

    Raises
    ------
    DivergedError
        If outputs are not finite.
    RefusedError
        If the artefact is further away than its precision explains.
    """
    deployment = load(folder, Parallel(threads=task.threads))
    try:
        precision = manifest.realised["precision"]
        agreement = check_agreement(network, deployment, task, precision=precision)
    finally:
        deployment.close()
    realised = {**manifest.realised, "agreement": agreement}
    if (listed := realised.get("layers")) is not None:
        # What the runtime lists has its bits; what it could not reach is said.
        left = [name for name in left_out(network) if name not in listed]
        realised |= {"left_in_float32": left} if left else {}
    if precision in COMPUTED and manifest.runtime in READERS:
        realised["stayed_in_float32"] = stayed_in_float32(read_layers(folder), precision)
    manifest = write_manifest(folder, replace(manifest, realised=realised), manifest.files)
    return store_compactly(folder, manifest, network).realised
