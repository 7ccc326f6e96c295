"""ONNX Runtime: one `.onnx` file, one session a replica."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.artifact import Manifest, read_manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.finish import finish_build
from autoopt.runtimes.layers import refuse_layers

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Parallel, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

MODEL = "model.onnx"


class OnnxRuntime:
    """Runs an `.onnx` file in ONNX Runtime on the processor."""

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if request.name == "bfloat16":
            return (
                "ONNX Runtime has no bfloat16 kernels for convolutions and matrix products on the "
                "processor; use openvino or eager."
            )
        if request.name not in {"float32", "static", "weight_only"}:
            return (
                f"ONNX Runtime has no precision {request.name!r} here; known: float32, static, "
                "weight_only."
            )
        if request.name == "static" and request.bits != 8:
            return f"ONNX Runtime quantizes statically to 8 bits only, but got bits={request.bits}."
        if request.name == "weight_only" and request.bits not in {4, 8}:
            return f"weights are stored in 8 or 4 bits, but got bits={request.bits}."
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
        import onnx

        from autoopt.runtimes.onnx_files import quantize_static_int8, to_onnx
        from autoopt.runtimes.onnx_weights import store_weights
        from autoopt.runtimes.program import export_program

        exported = exported or export_program(network, task)
        model = onnx.ModelProto()
        model.CopyFrom(exported.form("onnx", to_onnx))
        precision, layers = "float32", 0
        if request.name == "static":
            model, layers = quantize_static_int8(model, request, task)
            precision = "int8"
        elif request.name == "weight_only":
            layers = store_weights(model, request.bits)
            precision = f"int{request.bits} weights, float32 compute"
        if request.name != "float32" and not layers:
            raise RefusedError("this network has no convolution or matrix product to quantize.")
        onnx.save(model, folder / MODEL)
        realised = {
            "precision": precision,
            "layers_quantized": layers,
            "storage_only": request.name == "weight_only",
        }
        options = {
            "batch": exported.fixed,
            "request": len(task.example[0]),
            "threads": task.threads,
        }
        manifest = Manifest(
            "onnxruntime", MODEL, exported.inputs, exported.output, options, realised
        )
        return finish_build(self, network, write_manifest(folder, manifest, [MODEL]), task, folder)

    def load(self, folder: Path, parallel: Parallel) -> ReplicatedDeployment:
        """Start what `build` wrote."""
        manifest = read_manifest(folder)
        with model_file(folder, manifest) as model:
            replicas = [_replica(model, manifest, parallel) for _ in range(parallel.replicas)]
        return ReplicatedDeployment(replicas, parallel, manifest.options["batch"])


def _replica(model: Path, manifest: Manifest, parallel: Parallel) -> Any:
    """Return a callable with a session and threads of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, parallel.threads // parallel.replicas)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that go on spinning after a call would slow down whoever runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if manifest.realised.get("storage_only"):
        # Lets the session unpack stored weights once, when it starts.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ArtifactError(f"ONNX Runtime cannot open {manifest.model!r} ({error}).") from error
    return partial(_answer, session, [port.name for port in manifest.inputs])


def _answer(session: Any, names: list[str], *inputs: Array) -> Array:
    result: Array = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return result
