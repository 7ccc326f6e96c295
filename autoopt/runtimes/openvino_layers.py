"""The layers of an OpenVINO model, and the kernels that its plugin chooses on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.interfaces import Parallel
from autoopt.runtimes.layer_table import FileLayer, count_of, stored_form
from autoopt.runtimes.openvino_files import MATRICES
from autoopt.runtimes.openvino_request import serving_config
from autoopt.runtimes.quiet import decline_telemetry

if TYPE_CHECKING:
    from autoopt.runtimes.artifact import Manifest

KINDS = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul", "LSTMSequence",
     "GRUSequence", "RNNSequence", "Gather"}
)  # fmt: skip
FUSED = 2
PLACES: Mapping[str, tuple[int, ...]] = {**MATRICES, "Gather": (0,)}


def read_layers(path: Path, manifest: Manifest) -> tuple[FileLayer, ...]:
    """Return the layers of a model in the order in which they run.

    The file keeps no names of the network's own: where the manifest lists as many, these are
    taken, else layers are called by their kind and number.
    """
    decline_telemetry()
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    spread = Parallel(manifest.options["threads"])
    kernels = _kernels(core.compile_model(model, "CPU", serving_config(manifest, spread)))
    found = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        for place in PLACES.get(kind, (1,)) if kind in KINDS else ():
            if node.get_input_size() <= place:
                continue
            # What depends on an input may have no shape yet.
            shape = node.get_input_partial_shape(place)
            held = None if shape.is_dynamic else _held(node.input_value(place).get_node())
            if held is not None and len(shape) > 1:
                found.append((node, kind, tuple(shape.to_shape()), held))
    names = _names([kind for _, kind, _, _ in found], manifest.realised.get("layers") or {})
    layers = []
    for name, (node, kind, shape, held) in zip(names, found, strict=True):
        parts = [(_element(constant), _bytes(constant)) for constant in held]
        stored, bits = stored_form(parts, count_of(shape))
        kernel = next((kernels[name] for name in _followed(node) if name in kernels), kind)
        layers.append(FileLayer(name, kind, shape, bits, stored, kernel))
    return tuple(layers)


def _followed(node: Any) -> list[str]:
    """Return the names of a node and of the next ones alone behind it: it may be fused with them.

    A matrix product with its bias bears the name of the sum.
    """
    names = [node.get_friendly_name()]
    for _ in range(FUSED):
        targets = list(node.output(0).get_target_inputs())
        if len(targets) != 1:
            break
        node = targets[0].get_node()
        names.append(node.get_friendly_name())
    return names


def _names(kinds: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Return a name for each layer: the network's own where every one of them is known."""
    for named in (KINDS - PLACES.keys(), KINDS - {"Gather"}):
        own = iter(known)
        if len(known) == sum(kind in named for kind in kinds):
            break
    else:
        named = frozenset()
    counts: dict[str, int] = {}
    names = []
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
        plain = f"{kind} {counts[kind]}"
        names.append(next(own, plain) if kind in named else plain)
    return names


def _held(node: Any) -> list[Any] | None:
    """Return the constants that a value is computed from, or None where it depends on an input."""
    if node.get_type_name() == "Constant":
        return [node]
    if node.get_type_name() in {"Parameter", "ReadValue"} or not node.get_input_size():
        return None
    held: list[Any] = []
    for place in range(node.get_input_size()):
        inner = _held(node.input_value(place).get_node())
        if inner is None:
            return None
        held += inner
    return held


def _element(constant: Any) -> str:
    """Return the name of a constant's element type, as NumPy would spell it."""
    name: str = constant.get_output_element_type(0).get_type_name()
    words = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint"}
    letters = name.rstrip("0123456789")
    return f"{words.get(letters, letters)}{name[len(letters) :]}"


def _bytes(constant: Any) -> float:
    bits: int = constant.get_output_element_type(0).bitwidth
    return count_of(constant.get_output_shape(0)) * bits / 8


def _kernels(compiled: Any) -> dict[str, str]:
    """Return node names to the kernel that runs them, as the compiled model says itself."""
    found: dict[str, str] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        layer, kernel = str(_value(info, "layerType")), str(_value(info, "primitiveType"))
        precision = str(_value(info, "runtimePrecision"))
        words = kernel if kernel.endswith(precision) else f"{kernel} {precision}"
        if kernel.startswith(("undef", "unknown")):  # the plugin does not say which
            words = f"{layer} {precision}"
        # ``12/DequantizationMultiply`` is what became of 12.
        names = str(_value(info, "originalLayersNames")).split(",")
        for name in (*names, node.get_friendly_name()):
            found.setdefault(name.partition("/")[0], words)
    return found


def _value(info: Any, name: str) -> Any:
    if name not in info:
        return ""
    value = info[name]
    return value.astype(str) if hasattr(value, "astype") else value
