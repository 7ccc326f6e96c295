"""OpenVINO: its intermediate representation (`.xml` and `.bin`), one request a replica."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.artifact import Manifest, read_manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.finish import finish_build
from autoopt.runtimes.layers import refuse_layers
from autoopt.runtimes.quiet import decline_telemetry

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Parallel, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

MODEL = "model.xml"
WEIGHTS = "model.bin"


class OpenVino:
    """Runs OpenVINO's intermediate representation on the processor."""

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        known = {"float32": {32}, "bfloat16": {16}, "static": {8}, "weight_only": {8, 4}}
        if request.name not in known:
            return f"OpenVINO has no precision {request.name!r} here; known: {', '.join(known)}."
        if request.bits not in known[request.name]:
            bits = " or ".join(map(str, sorted(known[request.name])))
            return (
                f"OpenVINO realises {request.name!r} in {bits} bits, but got bits={request.bits}."
            )
        if request.name == "bfloat16" and not _has_bfloat16(target):
            return (
                "this processor has no instructions for bfloat16 (avx512_bf16 or amx_bf16), so "
                "OpenVINO would compute in float32."
            )
        if (request.name, request.bits) == ("weight_only", 4):
            return refuse_layers(request, task) or _refuse_four_bits(task)
        return refuse_layers(request, task)

    def build(
        self,
        network: nn.Module,
        request: Quantization,
        task: Task,
        folder: Path,
        *,
        exported: Exported | None = None,
    ) -> Mapping[str, Any]:
        """Write the artefact's files into `folder`; return what was realised.

        The parameters are those of `Eager.build`.
        """
        from autoopt.runtimes import openvino_files as files
        from autoopt.runtimes.program import export_program

        exported = exported or export_program(network, task)
        model = exported.form("openvino", files.to_openvino).clone()
        if request.name == "static":
            model = files.quantize_static_int8(model, request, task)
        elif request.name == "weight_only":
            model = files.store_weights(model, request.bits)
        import openvino

        files.save_compact(model, folder / MODEL, half=request.name == "bfloat16")
        written = openvino.Core().read_model(folder / MODEL)
        realised = _realised(request, written)
        options = {
            "batch": exported.fixed,
            "request": len(task.example[0]),
            "threads": task.threads,
            "hint": "bf16" if request.name == "bfloat16" else "f32",
        }
        manifest = Manifest("openvino", MODEL, exported.inputs, exported.output, options, realised)
        manifest = write_manifest(folder, manifest, [MODEL, WEIGHTS])
        return finish_build(self, network, manifest, task, folder)

    def load(self, folder: Path, parallel: Parallel) -> ReplicatedDeployment:
        """Start what `build` wrote."""
        decline_telemetry()
        import openvino

        manifest = read_manifest(folder)
        config = {
            "INFERENCE_PRECISION_HINT": manifest.options["hint"],
            "INFERENCE_NUM_THREADS": parallel.threads,
            "NUM_STREAMS": parallel.replicas,
        }
        try:
            with model_file(folder, manifest) as model:
                compiled = openvino.Core().compile_model(str(model), "CPU", config)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot open {manifest.model!r} ({error}).") from error
        requests = [compiled.create_infer_request() for _ in range(parallel.replicas)]
        answer = _answer if len(requests) == 1 else partial(_answer_beside, Lock())
        replicas = [partial(answer, request) for request in requests]
        return ReplicatedDeployment(replicas, parallel, manifest.options["batch"])


def _answer(request: Any, *inputs: Array) -> Array:
    # Copies both ways: a request that shares memory with its caller has answered with another's.
    result = request.infer(list(inputs), share_inputs=False, share_outputs=False)
    output: Array = result[0]
    return output


def _answer_beside(lock: Lock, request: Any, *inputs: Array) -> Array:
    """Answer while other replicas do.

    Copying in and out from several threads at once has left two of them waiting for each other
    inside of OpenVINO's bindings for ever; only the computing itself runs side by side.
    """
    with lock:
        request.start_async(list(inputs), share_inputs=False)
    request.wait()
    with lock:
        output: Array = request.get_output_tensor(0).data.copy()
    return output


def _realised(request: Quantization, model: Any) -> dict[str, Any]:
    from autoopt.runtimes import openvino_files as files

    layers = files.layers_in_integers(model)
    kinds = dict(files.weight_kinds(model))
    names = {"static": "int8", "weight_only": f"int{request.bits} weights, float32 compute"}
    if request.name in names and not layers:
        raise RefusedError(f"NNCF left all weights of this network in float ({kinds}).")
    return {
        "precision": names.get(request.name, request.name),
        "layers_quantized": layers,
        "storage_only": request.name == "weight_only",
        "weights": kinds,
    }


def _refuse_four_bits(task: Task) -> str | None:
    """Say that NNCF packs matrix products only, where most weights lie in convolutions."""
    shapes = [tuple(p.shape) for p in task.model.parameters() if p.ndim > 1]
    sizes = [prod(shape) for shape in shapes]
    packable = sum(size for shape, size in zip(shapes, sizes, strict=True) if len(shape) == 2)
    if 2 * packable >= sum(sizes):
        return None
    return (
        f"NNCF packs matrix products into 4 bits, but {sum(sizes) - packable} of {sum(sizes)} "
        "weights lie in convolutions and would stay in 8; use onnxruntime or eager."
    )


def _has_bfloat16(target: Target) -> bool:
    sets = target.describe().get("instruction_sets", ())
    return any("bf16" in name for name in sets)
