"""What the runtimes of torch share: the `.pt2` file, how it is made and how it is called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Quantization
from autoopt.precision import quantizable
from autoopt.runtimes.abilities import COMPUTES, NOT_HERE, PRECISIONS, STORED
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.layers import (
    FLOAT,
    grid_of,
    layer_bits,
    refuse_known,
    refuse_layers,
    stored_precision,
)
from autoopt.runtimes.packed_layers import pack_layers
from autoopt.runtimes.program import Exported, export_program, save_program
from autoopt.runtimes.pt2 import UntrustedProgramError, load_program
from autoopt.runtimes.torchao_layers import COMPUTED, TORCHAO, refuse_torchao, torchao_module

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Parallel, Target
    from autoopt.task import Task

MODEL = "model.pt2"
KNOWN = ("float32", "bfloat16", "float16", "weight_only", "codebook", "binary", *TORCHAO)


HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Half(nn.Module):
    """A network that computes in 16 bits and takes and gives float32.

    Parameters
    ----------
    network
        What to copy and convert.
    kind
        ``torch.bfloat16`` or ``torch.float16``.
    """

    def __init__(self, network: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.kind = kind
        self.network = copy.deepcopy(network).to(kind)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Cast, compute, cast back."""
        half = (x.to(self.kind) if x.is_floating_point() else x for x in inputs)
        result: torch.Tensor = self.network(*half).to(torch.float32)
        return result


def torch_abilities(target: Target) -> dict[str, str]:
    """Return what torch does in each precision on the processor; oneDNN, its backend, is asked."""
    if target.name != "cpu":
        return dict.fromkeys(PRECISIONS, NOT_HERE.format("torch's artefacts"))
    onednn = torch.ops.mkldnn
    halves = {
        "bfloat16": onednn._is_mkldnn_bf16_supported(),
        "float16": onednn._is_mkldnn_fp16_supported(),
    }
    slow = "computes, but this processor has no instructions for it"
    integers = "not offered in .pt2 files"
    return {
        "float32": COMPUTES,
        **{name: COMPUTES if able else slow for name, able in halves.items()},
        "static int8": integers,
        "dynamic int8": integers,
        "stored weights": STORED,
    }


def refuse_request(request: Quantization, task: Task, target: Target) -> str | None:
    """Say why files for torch cannot hold what is asked, or None."""
    if request.name == "static":
        return (
            "static quantization is not offered in torch, whose quantizer fails on networks with "
            "residual branches; use onnxruntime or openvino."
        )
    if request.name == "dynamic":
        return (
            "torch's dynamically quantized layers hold packed objects that a .pt2 file cannot "
            "hold without running code on loading; use onnxruntime."
        )
    if reason := refuse_known(request, "torch", KNOWN) or refuse_layers(request, task):
        return reason
    return refuse_torchao(request, task, target) if request.name in TORCHAO else None


@dataclass(frozen=True)
class Realised:
    """A network traced in the precision asked for, and what was realised of it."""

    exported: Exported
    realised: Mapping[str, Any]


def realise(
    network: nn.Module, request: Quantization, task: Task, exported: Exported | None
) -> Realised:
    """Trace a network in the precision asked for.

    Raises
    ------
    RefusedError
        If torch cannot trace it, or no layer is left that the precision reaches.
    """
    realised: dict[str, Any] = {"precision": request.name, "storage_only": False}
    module, bits = realised_module(network, request, task)
    if request.name != "float32" or exported is None:
        # The face is positional already, so that keyword networks need no second case.
        exported = export_program(module, _Positional(task))
    if request.stores:
        precision = stored_precision(request, bits)
        realised |= {"precision": precision, "storage_only": True, "layers": bits}
    elif request.name in TORCHAO:
        stored = request.name == "fp8_weights"
        realised |= {"precision": COMPUTED[request.name], "storage_only": stored, "layers": bits}
    layers = [name for name, count in bits.items() if count != FLOAT]
    return Realised(exported, {**realised, "layers_quantized": len(layers)})


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
    found = realise(network, request, task, exported)
    save_program(found.exported.program, folder / MODEL)
    return write_manifest(folder, torch_manifest(runtime, found, task), [MODEL])


def torch_manifest(runtime: str, found: Realised, task: Task) -> Manifest:
    """Return what is known of an artefact of torch before its file is written."""
    exported = found.exported
    return Manifest(
        runtime=runtime,
        model=MODEL,
        inputs=exported.inputs,
        output=exported.output,
        options={
            "batch": exported.fixed,
            "request": len(task.example[0]),
            "threads": task.threads,
        },
        realised=found.realised,
    )


def realised_module(
    network: nn.Module, request: Quantization, task: Task
) -> tuple[nn.Module, dict[str, int]]:
    """Return the network with its positional face in a precision, and the bits of each layer.

    Raises
    ------
    RefusedError
        If no layer is left whose weights could be stored in few bits.
    """
    if request.name == "float32":
        return task.wrapped(network), {}
    if request.name in HALVES:
        return Half(task.wrapped(network), HALVES[request.name]), dict.fromkeys(
            quantizable(network), 16
        )
    if request.name in TORCHAO:
        # What multiplies in these runs on a CUDA device alone; what only stores them, anywhere.
        device = "cpu" if request.name == "fp8_weights" else "cuda"
        return torchao_module(network, request, task, device)
    bits = layer_bits(request, list(quantizable(network)))
    grids = {name: grid_of(request, count) for name, count in bits.items() if count != FLOAT}
    if not grids:
        raise RefusedError("no layer is left in this network whose weights could be packed.")
    return task.wrapped(pack_layers(network, grids)), bits


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
    threads = parallel.share

    def call(*inputs: Array) -> Array:
        # The number belongs to the calling thread, and others in the process change theirs.
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.inference_mode():
            output: Array = module(*(torch.from_numpy(x) for x in inputs)).numpy()
        return output

    return call
