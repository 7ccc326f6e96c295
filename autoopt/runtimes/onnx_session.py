"""ONNX Runtime: one `.onnx` file, one session a replica."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU, device_of
from autoopt.errors import ArtifactError, RefusedError
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

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from autoopt.interfaces import Array, Parallel, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

MODEL = "model.onnx"
KNOWN = ("float32", "float16", "static", "dynamic", "weight_only", "codebook", "binary")


class OnnxRuntime:
    """Runs an `.onnx` file in ONNX Runtime on the processor."""

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if device_of(target.name) != CPU:
            return NOT_HERE.format("ONNX Runtime's sessions")
        if request.name == "bfloat16":
            return (
                "ONNX Runtime has no bfloat16 kernels for convolutions and matrix products on the "
                "processor; use openvino or eager."
            )
        return (
            refuse_known(request, "ONNX Runtime", KNOWN)
            or refuse_layers(request, task)
            or _refuse_scales(request)
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
        import onnx

        from autoopt.runtimes.onnx_files import to_onnx
        from autoopt.runtimes.program import export_program

        exported = exported or export_program(network, task)
        model = onnx.ModelProto()
        model.CopyFrom(exported.form("onnx", to_onnx))
        model, realised = _realise(model, request, task)
        onnx.save(model, folder / MODEL)
        options = {
            "batch": exported.fixed,
            "request": len(task.example[0]),
            "threads": task.threads,
        }
        manifest = Manifest(
            "onnxruntime", MODEL, exported.inputs, exported.output, options, realised
        )
        manifest = write_manifest(folder, manifest, [MODEL])
        return finish_build(self.load, network, manifest, task, folder)

    def load(self, folder: Path, parallel: Parallel) -> ReplicatedDeployment:
        """Start what `build` wrote."""
        manifest = read_manifest(folder)
        with model_file(folder, manifest) as model:
            replicas = [_replica(model, manifest, parallel) for _ in range(parallel.replicas)]
        return ReplicatedDeployment(replicas, parallel, manifest.options["batch"])

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what its kernels for the processor do in each precision."""
        if target.name != "cpu":
            return dict.fromkeys(PRECISIONS, NOT_HERE.format("ONNX Runtime's sessions"))
        return {
            "float32": COMPUTES,
            "bfloat16": "refused: no kernels for convolutions and matrix products",
            "float16": STORED,
            "static int8": COMPUTES,
            "dynamic int8": COMPUTES,
            "stored weights": STORED,
        }


def _refuse_scales(request: Quantization) -> str | None:
    """Say that no kernel takes such scales of weights, or None."""
    if request.name == "dynamic" and request.granularity == "per_group":
        return (
            "ONNX Runtime multiplies integers with one scale an output channel at most, so groups "
            "are refused; use openvino, or per_channel."
        )
    if (request.name, request.scheme, request.granularity) == ("static", "affine", "per_channel"):
        return (
            "ONNX Runtime's convolutions take one zero point for all channels, so affine weights "
            "have one scale as well; ask for per_tensor, or for symmetric weights."
        )
    return None


def _realise(
    model: onnx.ModelProto, request: Quantization, task: Task
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return the model in the precision asked for, and what was done."""
    from autoopt.runtimes import onnx_integers, onnx_weights

    precision, bits, scales = request.name, {}, {}
    if request.name == "float16":
        # The processor's kernels are in float32.
        bits = dict.fromkeys(onnx_weights.store_halves(model), 16)
        precision = "float16 weights, float32 compute"
    elif request.name == "static":
        model, bits = onnx_integers.quantize_static_int8(model, request, task)
        precision = "int8"
    elif request.name == "dynamic":
        model, bits = onnx_integers.quantize_dynamic_int8(model, request)
        precision = "dynamic int8"
        # Convolutions whose activations are quantized as they come take one scale, whatever is
        # asked for.
        scales = {"granularity": onnx_integers.granularities(model)}
    elif request.stores:
        bits = layer_bits(request, onnx_weights.stored_names(model))
        kept = {name: grid_of(request, count) for name, count in bits.items() if count != FLOAT}
        onnx_weights.store_weights(model, kept)
        precision = stored_precision(request, bits)
    quantized = [name for name, count in bits.items() if count != FLOAT]
    if request.name != "float32" and not quantized:
        raise RefusedError("this network has no convolution or matrix product to quantize.")
    return model, {
        "precision": precision,
        "layers_quantized": len(quantized),
        "layers": bits,
        "storage_only": request.stores or request.name == "float16",
        **scales,
    }


def _replica(model: Path, manifest: Manifest, parallel: Parallel) -> Any:
    """Return a callable with a session and threads of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = parallel.share
    options.inter_op_num_threads = parallel.inter_op
    if parallel.inter_op > 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.log_severity_level = 3
    # Threads that go on spinning after a call would slow down whoever runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if manifest.realised.get("storage_only"):
        # Lets the session unpack stored weights once, when it starts.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    with TemporaryDirectory() as alone:
        # Weights may lie in other files, which no checksum covers. Beside a link there are none.
        link = Path(alone) / MODEL
        link.symlink_to(model.resolve())
        try:
            session = onnxruntime.InferenceSession(
                str(link), options, providers=["CPUExecutionProvider"]
            )
        except _refusals() as error:
            raise ArtifactError(
                f"ONNX Runtime cannot open {manifest.model!r}; it takes whole models of operators "
                f"that it has kernels for, which must hold their weights themselves ({error})."
            ) from error
    return partial(_answer, session, [item.name for item in session.get_inputs()])


def _refusals() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises about a file; its own errors derive from Exception alone."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    names = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    more = ("NoSuchFile", "NotImplemented", "RuntimeException")
    own = (getattr(native, name) for name in (*names, *more))
    return (RuntimeError, ValueError, OSError, *own)


def _answer(session: Any, names: list[str], *inputs: Array) -> Array:
    result: Array = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return result
