"""The end of every build: load what was written, compare it, note the agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU
from autoopt.interfaces import Parallel
from autoopt.precision import left_out
from autoopt.runtimes.agreement import check_agreement
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.compressed import store_compactly
from autoopt.runtimes.layer_table import COMPUTED, READERS, read_layers, stayed_in_float32

TF32 = "float16, by TF32"
"""How tensor cores may round float32: 10 bits behind the point, as float16 has."""

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment
    from autoopt.task import Task


def precision_on(device: str, precision: str) -> str:
    """Return the precision that float32 has on a device: CUDA's TF32 rounds like float16.

    Torch lets tensor cores round the operands of convolutions so, and of products where it is told
    to (``torch.backends.cuda.matmul.allow_tf32``).
    """
    if device == CPU or precision != "float32":
        return precision
    import torch

    rounds = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return TF32 if rounds else precision


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
        rounded = precision_on(manifest.options.get("device", CPU), precision)
        agreement = check_agreement(network, deployment, task, precision=rounded)
    finally:
        deployment.close()
    realised = {**manifest.realised, "agreement": agreement}
    if rounded != precision:
        realised["rounded_as"] = rounded
    if (listed := realised.get("layers")) is not None:
        # What the runtime lists has its bits; what it could not reach is said.
        left = [name for name in left_out(network) if name not in listed]
        realised |= {"left_in_float32": left} if left else {}
    if precision in COMPUTED and manifest.runtime in READERS:
        realised["stayed_in_float32"] = stayed_in_float32(read_layers(folder), precision)
    manifest = write_manifest(folder, replace(manifest, realised=realised), manifest.files)
    return store_compactly(folder, manifest, network).realised
