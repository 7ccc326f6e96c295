"""OpenVINO models that compute in int8: NNCF's quantization, and ranges of our own in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.precision import exact_zero
from autoopt.runtimes.calibration import CALIBRATION, activation_ranges, calibration_batches
from autoopt.runtimes.layers import FLOAT
from autoopt.runtimes.openvino_files import MATRICES
from autoopt.runtimes.quiet import decline_telemetry, quiet_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoopt.interfaces import Array, Quantization
    from autoopt.task import Task


def quantize_static_int8(
    model: Any,
    request: Quantization,
    task: Task,
    *,
    layers: Mapping[str, Any],
    bits: dict[str, int],
) -> Any:
    """Return the model with weights and activations in int8, by NNCF.

    Parameters
    ----------
    model
        In float32.
    request, task
        What is asked, and the samples to calibrate on.
    layers
        The model's nodes by the names of their layers.
    bits
        Those of each layer; one of 32 stays in float.
    """
    decline_telemetry()
    with quiet_library("nncf", "openvino"):
        import nncf
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            QuantizationParameters,
        )

        batches = list(calibration_batches(task))
        per_channel = request.granularity == "per_channel"
        left = [layers[name].get_friendly_name() for name, n in bits.items() if n == FLOAT]
        # States rounded at every step lose accuracy, and no kernel here computes them in integers.
        kinds = sorted({node.get_type_name() for node in model.get_ordered_ops()} & MATRICES.keys())
        presets = nncf.QuantizationPreset
        quantized = nncf.quantize(
            model,
            nncf.Dataset(batches, lambda batch: batch if len(batch) > 1 else batch[0]),
            preset=presets.PERFORMANCE if request.activations == "symmetric" else presets.MIXED,
            subset_size=max(1, min(len(batches), CALIBRATION)),
            ignored_scope=nncf.IgnoredScope(names=left, types=kinds) if left or kinds else None,
            # Leaves masked scores in float, whose range of 1e38 would round all others to nothing.
            model_type=nncf.ModelType.TRANSFORMER if _has_attention(model) else None,
            advanced_parameters=AdvancedQuantizationParameters(
                weights_quantization_params=QuantizationParameters(per_channel=per_channel),
                batchwise_statistics=len(task.example[0]) > 1,
            ),
        )
    if request.calibration != "minmax":
        set_ranges(quantized, batches, request)
    return quantized


def _has_attention(model: Any) -> bool:
    """Say whether scores are normalised over more than classes: a softmax of more than two axes."""
    return any(
        node.get_type_name() == "Softmax" and len(node.get_output_partial_shape(0)) > 2
        for node in model.get_ordered_ops()
    )


def set_ranges(model: Any, batches: list[tuple[Array, ...]], request: Quantization) -> int:
    """Give the quantizers of activations ranges of the request's calibration; return how many.

    Those of one range a channel, before depthwise convolutions, keep NNCF's.
    """
    from openvino import opset13 as op

    quantizers = {
        f"activation_{number}": node
        for number, node in enumerate(model.get_ordered_ops())
        if node.get_type_name() == "FakeQuantize" and _is_activation(node)
    }
    found = activation_ranges(_watched(model, quantizers), batches, request)
    for name, node in quantizers.items():
        if name not in found:
            continue
        for place, value in zip((1, 2, 3, 4), 2 * exact_zero(found[name]), strict=True):
            old = node.input_value(place)
            new = op.constant(np.full(tuple(old.get_shape()), value, np.float32))
            node.input(place).replace_source_output(new.output(0))
    return len(found)


def _is_activation(node: Any) -> bool:
    source = node.input_value(0).get_node().get_type_name()
    return source != "Constant" and int(np.prod(node.input_value(1).get_shape())) == 1


def _watched(model: Any, quantizers: Mapping[str, Any]) -> Any:
    """Return a callable from a batch to what comes into each quantizer where nothing is rounded."""
    import openvino

    shown = model.clone()
    places = {node.get_friendly_name(): name for name, node in quantizers.items()}
    inner = [node for node in shown.get_ordered_ops() if node.get_friendly_name() in places]
    # In float: the plugin's kernels for integers have shown other numbers inside than they gave on.
    for node in shown.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            node.output(0).replace(node.input_value(0))
    # A value that several quantizers read, or that is an output already, is not added again: which
    # of the outputs belongs to whom is known by the output itself, not by a number.
    added = {
        places[node.get_friendly_name()]: shown.add_outputs([node.input_value(0)])[0]
        for node in inner
    }
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(shown, "CPU", config).create_infer_request()

    def answer(batch: tuple[Array, ...]) -> dict[str, Array]:
        request.infer(list(batch), share_inputs=False)
        return {name: request.get_tensor(output).data.copy() for name, output in added.items()}

    return answer
