"""OpenVINO: its intermediate representation (`.xml` and `.bin`), one request a replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import gcd
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.devices import CPU, device_of
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Parallel
from autoopt.precision import quantizable
from autoopt.runtimes.abilities import COMPUTES, NOT_HERE, PRECISIONS, STORED
from autoopt.runtimes.artifact import Manifest, read_manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.finish import finish_build
from autoopt.runtimes.layers import (
    FLOAT,
    grid_of,
    layer_bits,
    refuse_known,
    refuse_layers,
    stored_precision,
)
from autoopt.runtimes.quiet import decline_telemetry

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

MODEL = "model.xml"
WEIGHTS = "model.bin"
KNOWN = (
    "float32", "bfloat16", "float16", "static", "dynamic", "weight_only", "codebook", "binary",
)  # fmt: skip
# Activations that share a scale where they are quantized as they come; what OpenVINO itself takes.
ACTIVATION_GROUP = 32
CHECKED = 16
"""Samples on which answers show whether activations are rounded."""


class OpenVino:
    """Runs OpenVINO's intermediate representation on the processor."""

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if device_of(target.name) != CPU:
            return NOT_HERE.format("OpenVINO's requests")
        if reason := refuse_known(request, "OpenVINO", KNOWN):
            return reason
        if request.name == "bfloat16" and not _has_bfloat16(target):
            return (
                "this processor has no instructions for bfloat16 (avx512_bf16 or amx_bf16), so "
                "OpenVINO would compute in float32."
            )
        return (
            refuse_layers(request, task)
            or _refuse_scheme(request)
            or _refuse_dynamic(request, task)
        )

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
        model, bits = _realise(model, request, task, exported)
        import openvino

        half = request.name in ("bfloat16", "float16")
        files.save_compact(model, folder / MODEL, half=half)
        written = openvino.Core().read_model(folder / MODEL)
        realised = _realised(request, written, bits)
        options = {
            "batch": exported.fixed,
            "request": len(task.example[0]),
            "threads": task.threads,
            "hint": "bf16" if request.name == "bfloat16" else "f32",
        }
        if request.stores or request.name == "dynamic":
            # Unless told otherwise, OpenVINO quantizes what meets weights of 8 bits or fewer.
            group = gcd(request.group, ACTIVATION_GROUP) if request.group else ACTIVATION_GROUP
            options["activation_group"] = group if request.name == "dynamic" else 0
        manifest = Manifest("openvino", MODEL, exported.inputs, exported.output, options, realised)
        manifest = write_manifest(folder, manifest, [MODEL, WEIGHTS])
        if request.name == "dynamic":
            self._check_activations(folder, manifest, task)
        return finish_build(self.load, network, manifest, task, folder)

    def _check_activations(self, folder: Path, manifest: Manifest, task: Task) -> None:
        """Raise unless answers show that activations are rounded: no kernel says so by its name.

        Raises
        ------
        RefusedError
            If they are the same to the last bit where activations are told to stay in float.
        """
        import openvino

        inputs = [x.numpy() for x in task.calibration.inputs(CHECKED)]
        config = serving_config(manifest, Parallel(task.threads))
        answers: list[Any] = []
        for group in (manifest.options["activation_group"], 0):
            own = {**config, "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
            compiled = openvino.Core().compile_model(str(folder / MODEL), "CPU", own)
            alone = [partial(_answer, compiled.create_infer_request())]
            # The artefact may take batches of one size only.
            served = ReplicatedDeployment(alone, Parallel(task.threads), manifest.options["batch"])
            answers.append(served(*inputs))
        if np.array_equal(answers[0], answers[1]):
            raise RefusedError(
                "no kernel of OpenVINO's quantizes the activations of this network in these "
                "groups as they come; ask for granularity='per_channel', or use onnxruntime."
            )

    def load(self, folder: Path, parallel: Parallel) -> ReplicatedDeployment:
        """Start what `build` wrote."""
        decline_telemetry()
        import openvino

        manifest = read_manifest(folder)
        config = serving_config(manifest, parallel)
        try:
            with model_file(folder, manifest) as model:
                compiled = openvino.Core().compile_model(str(model), "CPU", config)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot open {manifest.model!r} ({error}).") from error
        requests = [compiled.create_infer_request() for _ in range(parallel.replicas)]
        answer = _answer if len(requests) == 1 else partial(_answer_beside, Lock())
        replicas = [partial(answer, request) for request in requests]
        return ReplicatedDeployment(replicas, parallel, manifest.options["batch"])

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what OpenVINO's plugin for the processor says of itself."""
        if target.name != "cpu":
            return dict.fromkeys(PRECISIONS, NOT_HERE.format("OpenVINO's requests"))
        decline_telemetry()
        import openvino

        able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        integers = COMPUTES if "INT8" in able else "storage only: computes in float32"
        return {
            "float32": COMPUTES,
            "bfloat16": COMPUTES if "BF16" in able else "refused: no instructions for it",
            "float16": STORED,
            "static int8": integers,
            "dynamic int8": f"{integers} (matrix products)",
            "stored weights": STORED,
        }


def serving_config(manifest: Manifest, parallel: Parallel) -> dict[str, Any]:
    """Return the properties that the model is compiled with, in OpenVINO's names."""
    config = {
        "INFERENCE_PRECISION_HINT": manifest.options["hint"],
        "INFERENCE_NUM_THREADS": parallel.threads,
        "NUM_STREAMS": parallel.replicas,
    }
    group = manifest.options.get("activation_group")
    return config if group is None else {**config, "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}


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


def _realise(
    model: Any, request: Quantization, task: Task, exported: Exported
) -> tuple[Any, dict[str, int]]:
    """Return the model in the precision asked for, and the bits of each layer."""
    if request.name in ("float32", "bfloat16"):
        return model, {}
    from autoopt.runtimes.openvino_integers import quantize_static_int8
    from autoopt.runtimes.openvino_weights import OpenVinoWeights
    from autoopt.runtimes.weight_names import known_weights

    weights = OpenVinoWeights(model, known_weights(exported), exported.layers)
    if request.name == "float16":
        return model, dict.fromkeys(weights.names, 16)
    bits = layer_bits(request, weights.names if request.stores else list(weights.layers))
    if request.name == "dynamic":
        matrices = weights.matrices()
        bits = {name: count if name in matrices else FLOAT for name, count in bits.items()}
    if request.name == "static":
        return quantize_static_int8(model, request, task, layers=weights.layers, bits=bits), bits
    grids = {name: grid_of(request, count) for name, count in bits.items() if count != FLOAT}
    if request.name == "dynamic" and request.group:
        for name in weights.undivided(request.group) & grids.keys():
            # Kernels take whole groups only; a channel is the next larger one.
            grids[name] = replace(grids[name], granularity="per_channel", group=0)
    weights.store_weights(grids)
    return model, bits


def _realised(request: Quantization, model: Any, bits: dict[str, int]) -> dict[str, Any]:
    from autoopt.runtimes import openvino_files as files

    layers = files.layers_in_integers(model)
    kinds = dict(files.weight_kinds(model))
    precision = request.name
    if bits and request.name != "float16":
        integers = {"static": "int8", "dynamic": "dynamic int8"}
        precision = integers.get(request.name) or stored_precision(request, bits)
        if not layers:
            raise RefusedError(f"all weights of this network stayed in float ({kinds}).")
    if request.name == "float16":
        # The processor computes in float32 here; float16 would be its own hint.
        precision, layers = "float16 weights, float32 compute", len(bits)
    return {
        "precision": precision,
        "layers_quantized": layers,
        "layers": bits,
        "storage_only": request.stores or request.name == "float16",
        "weights": kinds,
    }


def _refuse_scheme(request: Quantization) -> str | None:
    """Say that integers are multiplied with weights about zero only, or None."""
    if request.name == "static" and request.scheme == "affine":
        return (
            "OpenVINO's kernels for the processor multiply integers with weights that lie evenly "
            "about zero, so affine weights are refused; ask for scheme='symmetric', or use "
            "onnxruntime."
        )
    return None


def _refuse_dynamic(request: Quantization, task: Task) -> str | None:
    """Say that most weights lie where activations are not quantized as they come, or None."""
    if request.name != "dynamic":
        return None
    sizes = {
        name: (weight.tensor.numel(), weight.tensor.ndim == 2)
        for name, weight in quantizable(task.model).items()
        if not weight.recurrent
    }
    whole = sum(count for count, _ in sizes.values())
    matrices = sum(count for count, matrix in sizes.values() if matrix)
    if 2 * matrices >= whole:
        return None
    return (
        "OpenVINO quantizes activations as they come for matrix products only, but "
        f"{whole - matrices} of {whole} weights lie in convolutions; use onnxruntime."
    )


def _has_bfloat16(target: Target) -> bool:
    sets = target.describe().get("instruction_sets", ())
    return any("bf16" in name for name in sets)
