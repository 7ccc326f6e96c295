"""Networks that no exporter can trace: eager runs them from their weights and the model's own code.

Control flow that depends on the values of tensors cannot stand in an exported program. So the
artefact holds weights alone, and whoever opens it hands the network over: a search does, while a
process that knows nothing of the model cannot.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.devices import CPU, placement
from autoopt.errors import ArtifactError, RefusedError
from autoopt.precision import quantizable
from autoopt.runtimes.artifact import Manifest, Port, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.device import device_of_artifact
from autoopt.runtimes.torch_files import HALVES, Half

if TYPE_CHECKING:
    from autoopt.interfaces import Quantization
    from autoopt.task import Task

MODEL = "weights.safetensors"


def write_live(
    network: nn.Module,
    request: Quantization,
    task: Task,
    folder: Path,
    *,
    reason: str,
    device: str = CPU,
) -> Manifest:
    """Write the weights of a network that cannot be exported.

    Parameters
    ----------
    network, request, task
        As of `Eager.build`.
    folder
        Where to write.
    reason
        Why it cannot be exported.
    device
        Of torch, where it will run.

    Raises
    ------
    RefusedError
        If weights are asked for in few bits, which only an exported program can hold.
    """
    from safetensors.torch import save_model

    if request.name not in ("float32", *HALVES):
        raise RefusedError(
            f"{reason} Without a program weights cannot be stored in few bits; ask for float32, "
            "bfloat16 or float16."
        )
    module = _realised(task.wrapped(network), request.name)
    save_model(module, str(folder / MODEL))
    example = task.example
    with torch.no_grad():
        output = module(*example)
    names = task.input_names
    manifest = Manifest(
        runtime="eager",
        model=MODEL,
        inputs=tuple(_port(name, x) for name, x in zip(names, example, strict=True)),
        output=_port("output", output),
        options={
            "batch": None,
            "request": len(example[0]),
            "threads": task.threads,
            **placement(device),
        },
        realised={
            "precision": request.name,
            "storage_only": False,
            "needs_model": reason,
            "layers_quantized": 0 if request.name == "float32" else len(quantizable(network)),
        },
    )
    return write_manifest(folder, manifest, [MODEL])


def read_live(folder: Path, manifest: Manifest, network: nn.Module | None) -> nn.Module:
    """Return a copy of a network with the artefact's weights.

    Parameters
    ----------
    folder, manifest
        The artefact.
    network
        What was handed to `write_live`, with its positional face (`Task.wrapped`).

    Raises
    ------
    RefusedError
        If none is handed over.
    ArtifactError
        If the weights are another network's.
    """
    from safetensors.torch import load_model

    if network is None:
        raise RefusedError(
            "this artefact holds weights alone, which need the model's own code, because "
            f"{manifest.realised.get('needs_model', 'it cannot be exported.')}"
        )
    module = _realised(network, str(manifest.realised["precision"]))
    try:
        with model_file(folder, manifest) as path:
            load_model(module, str(path))
    except RuntimeError as error:
        raise ArtifactError(
            f"{manifest.model!r} holds another network's weights: {error}"
        ) from error
    return module.eval().to(device_of_artifact(manifest))


def _realised(network: nn.Module, precision: str) -> nn.Module:
    """Return a copy that computes in a precision and takes and gives float32."""
    if precision in HALVES:
        return Half(network, HALVES[precision]).eval()
    return copy.deepcopy(network).eval()


def _port(name: str, tensor: torch.Tensor) -> Port:
    kind: Any = str(tensor.dtype).removeprefix("torch.")
    return Port(name, kind, (None, *map(int, tensor.shape[1:])))
