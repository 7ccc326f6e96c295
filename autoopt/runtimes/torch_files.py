"""What the runtimes of torch share: the `.pt2` file, how it is made and how it is called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoopt.devices import CPU, device_of, placement
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Quantization
from autoopt.precision import quantizable
from autoopt.runtimes.abilities import COMPUTES, PRECISIONS, STORED
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.device import DeviceDeployment, device_of_artifact
from autoopt.runtimes.int8_layers import int8_module, refuse_int8
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
from autoopt.runtimes.torchao_layers import (
    COMPUTED,
    FEWEST,
    TORCHAO,
    refuse_torchao,
    torchao_module,
)

if TYPE_CHECKING:
    from autoopt.interfaces import Array, Deployment, Parallel, Target
    from autoopt.task import Task

MODEL = "model.pt2"
KNOWN = (
    "float32", "bfloat16", "float16", "dynamic", "weight_only", "codebook", "binary", *TORCHAO,
)  # fmt: skip
ELSEWHERE = "torch's artefacts run on the processor and on CUDA devices only"
PLACED = frozenset({"fp8", "int4"})
"""Precisions that are traced on the device itself, whose kernels alone take them."""

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
    """Return what torch does in each precision; on the processor oneDNN, its backend, is asked."""
    device = device_of(target.name)
    if device.startswith("cuda"):
        return _device_abilities(torch.cuda.get_device_capability(torch.device(device)))
    if device != CPU:
        return dict.fromkeys(PRECISIONS, ELSEWHERE)
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


def _device_abilities(capability: tuple[int, int]) -> dict[str, str]:
    """Return what a CUDA device of a compute capability does in each precision."""
    slow = "computes, but this device has no tensor cores for it"
    ampere, integers = capability >= (8, 0), "computes in linear layers"
    return {
        "float32": COMPUTES,
        "bfloat16": COMPUTES if ampere else slow,
        "float16": COMPUTES if capability >= (7, 0) else slow,
        "static int8": "not offered in .pt2 files",
        "dynamic int8": integers if capability >= (7, 5) else "refused: needs capability 7.5",
        "stored weights": STORED,
        **{
            name: integers if capability >= least else f"refused: needs capability {_dotted(least)}"
            for name, least in FEWEST.items()
        },
    }


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def refuse_request(request: Quantization, task: Task, target: Target) -> str | None:
    """Say why files for torch cannot hold what is asked, or None."""
    if request.name == "static":
        return (
            "static quantization is not offered in torch, whose quantizer fails on networks with "
            "residual branches; use onnxruntime or openvino."
        )
    if request.name == "dynamic" and device_of(target.name) == CPU:
        return refuse_int8(request, task, target)
    if reason := refuse_known(request, "torch", KNOWN) or refuse_layers(request, task):
        return reason
    if request.name == "dynamic":
        return refuse_int8(request, task, target)
    return refuse_torchao(request, task, target) if request.name in TORCHAO else None


@dataclass(frozen=True)
class Realised:
    """A network traced in the precision asked for, what was realised of it, and where it runs."""

    exported: Exported
    realised: Mapping[str, Any]
    device: str = CPU


def realise(
    network: nn.Module,
    request: Quantization,
    task: Task,
    exported: Exported | None,
    device: str = CPU,
) -> Realised:
    """Trace a network in the precision asked for.

    On the processor, wherever it will run, except for what only the device's kernels take: opening
    the file brings it there.

    Raises
    ------
    RefusedError
        If torch cannot trace it, or no layer is left that the precision reaches.
    """
    realised: dict[str, Any] = {"precision": request.name, "storage_only": False}
    module, bits = realised_module(network, request, task, device)
    if request.name != "float32" or exported is None:
        # The face is positional already, so that keyword networks need no second case.
        traced = device if request.name in PLACED else CPU
        exported = export_program(module, _Positional(task, traced))
    if request.stores:
        precision = stored_precision(request, bits)
        realised |= {"precision": precision, "storage_only": True, "layers": bits}
    elif request.name in TORCHAO:
        stored = request.name == "fp8_weights"
        realised |= {"precision": COMPUTED[request.name], "storage_only": stored, "layers": bits}
    elif request.name == "dynamic":
        realised |= {"precision": "dynamic int8", "layers": bits}
    layers = [name for name, count in bits.items() if count != FLOAT]
    return Realised(exported, {**realised, "layers_quantized": len(layers)}, device)


def write_program(
    runtime: str,
    network: nn.Module,
    request: Quantization,
    task: Task,
    folder: Path,
    *,
    exported: Exported | None,
    device: str = CPU,
) -> Manifest:
    """Trace the network in the precision asked for and write the artefact."""
    found = realise(network, request, task, exported, device)
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
            **placement(found.device),
        },
        realised=found.realised,
    )


def realised_module(
    network: nn.Module, request: Quantization, task: Task, device: str = CPU
) -> tuple[nn.Module, dict[str, int]]:
    """Return the network with its positional face in a precision, and the bits of each layer.

    It lies on `device` where only the kernels there take the precision, else on the processor.

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
        where = device if request.name in PLACED else CPU
        return torchao_module(network, request, task, where)
    if request.name == "dynamic":
        return int8_module(network, request, task)
    bits = layer_bits(request, list(quantizable(network)))
    grids = {name: grid_of(request, count) for name, count in bits.items() if count != FLOAT}
    if not grids:
        raise RefusedError("no layer is left in this network whose weights could be packed.")
    return task.wrapped(pack_layers(network, grids)), bits


class _Positional:
    """A task whose network is already wrapped, and lies on a device."""

    def __init__(self, task: Task, device: str = CPU) -> None:
        self.example = tuple(x.to(device) for x in task.example)
        self.input_names = task.input_names

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return it as it is."""
        return network


def read_program(
    folder: Path, manifest: Manifest, *, trust_code: bool = False
) -> Callable[..., Any]:
    """Open the artefact's `.pt2` safely, on the device that it runs on.

    Raises
    ------
    ArtifactError
        If it is damaged or holds what could run code.
    """
    try:
        device = str(device_of_artifact(manifest))
        with model_file(folder, manifest) as model:
            return load_program(model, trust_code=trust_code, device=device)
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


def deployed(call: Callable[..., Any], manifest: Manifest, parallel: Parallel) -> Deployment:
    """Return a program as it is served: by replicas on the processor, or on its device.

    Replicas share the program, which holds no state between calls.
    """
    device, fixed = device_of_artifact(manifest), manifest.options["batch"]
    if device.type != CPU:
        return DeviceDeployment(call, device, parallel, fixed)
    replicas = [torch_replica(call, parallel)] * parallel.replicas
    return ReplicatedDeployment(replicas, parallel, fixed)


def example_arrays(manifest: Manifest, size: int) -> list[Array]:
    """Return inputs of a plausible range: noise for floats, zeros (a valid index) for integers."""
    generator = np.random.default_rng(0)
    arrays: list[Array] = []
    for port in manifest.inputs:
        shape = [size if axis is None else axis for axis in port.shape]
        floating = port.dtype.startswith("float")
        noise = generator.standard_normal(shape) if floating else np.zeros(shape)
        arrays.append(noise.astype(port.dtype))
    return arrays
