"""What the runtimes of torch share: the `.pt2` file, how it is made and how it is called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Quantization
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.layers import refuse_layers
from autoopt.runtimes.packed_layers import KINDS, pack_layers
from autoopt.runtimes.program import Exported, export_program, save_program
from autoopt.runtimes.pt2 import UntrustedProgramError, load_program

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel
    from autoopt.task import Task

MODEL = "model.pt2"


class Bfloat16(nn.Module):
    """A network that computes in bfloat16 and takes and gives float32.

    Parameters
    ----------
    network
        What to copy and convert.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(torch.bfloat16)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Cast, compute, cast back."""
        half = (x.to(torch.bfloat16) if x.is_floating_point() else x for x in inputs)
        result: torch.Tensor = self.network(*half).to(torch.float32)
        return result


def refuse_request(request: Quantization, task: Task) -> str | None:
    """Say why files for torch cannot hold what is asked, or None."""
    if request.name == "static":
        return (
            "static quantization is not offered in torch, whose quantizer fails on networks with "
            "residual branches; use onnxruntime or openvino."
        )
    if request.name not in {"float32", "bfloat16", "weight_only"}:
        return (
            f"torch has no precision {request.name!r} here; known: bfloat16, float32, weight_only."
        )
    if request.name == "weight_only" and request.bits not in {4, 8}:
        return f"weights are packed in 8 or 4 bits, but got bits={request.bits}."
    return refuse_layers(request, task)


def write_program(
    runtime: str,
    network: nn.Module,
    request: Quantization,
    task: Task,
    folder: Path,
    *,
    exported: Exported | None,
) -> Manifest:
    """Trace the network in the precision asked for and write the artefact."""
    realised: dict[str, Any] = {"precision": request.name, "storage_only": False}
    layers = 0
    if request.name == "float32":
        exported = exported or export_program(network, task)
    elif request.name == "bfloat16":
        # The cast wraps the positional face, so that keyword networks need no second case.
        exported = export_program(Bfloat16(task.wrapped(network)), _Positional(task))
        layers = sum(isinstance(module, KINDS) for module in network.modules())
    else:
        packed, layers = pack_layers(network, request.bits)
        if not layers:
            raise RefusedError("no layer is left in this network whose weights could be packed.")
        exported = export_program(packed, task)
        realised |= {
            "precision": f"int{request.bits} weights, float32 compute",
            "storage_only": True,
        }
    save_program(exported.program, folder / MODEL)
    options = {"batch": exported.fixed, "request": len(task.example[0]), "threads": task.threads}
    manifest = Manifest(
        runtime=runtime,
        model=MODEL,
        inputs=exported.inputs,
        output=exported.output,
        options=options,
        realised={**realised, "layers_quantized": layers},
    )
    return write_manifest(folder, manifest, [MODEL])


class _Positional:
    """A task whose network is already wrapped."""

    def __init__(self, task: Task) -> None:
        self.example = task.example
        self.input_names = task.input_names

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return it as it is."""
        return network


def read_program(
    folder: Path, manifest: Manifest, *, trust_code: bool = False
) -> Callable[..., Any]:
    """Open the artefact's `.pt2` safely.

    Raises
    ------
    ArtifactError
        If it is damaged or holds what could run code.
    """
    try:
        with model_file(folder, manifest) as model:
            return load_program(model, trust_code=trust_code)
    except UntrustedProgramError as error:
        raise ArtifactError(str(error)) from error


def torch_replica(module: Callable[..., Any], parallel: Parallel) -> Callable[..., Array]:
    """Return a callable of arrays that runs a module with a replica's share of the threads."""
    threads = max(1, parallel.threads // parallel.replicas)

    def call(*inputs: Array) -> Array:
        # The number belongs to the calling thread, and others in the process change theirs.
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            output: Array = module(*(torch.from_numpy(x) for x in inputs)).numpy()
        return output

    return call
