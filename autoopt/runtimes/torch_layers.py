"""The layers of a `.pt2` program: the operators that its graph calls with stored weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.runtimes.artifact import needs_model
from autoopt.runtimes.layer_table import FileLayer, count_of, stored_form
from autoopt.runtimes.pt2 import load_program
from autoopt.runtimes.weight_names import layer_of, plain_name

if TYPE_CHECKING:
    from autoopt.runtimes.artifact import Manifest

# Operator to the place of its weights among its arguments; a list of weights has a negative one.
PLACES: Mapping[str, int] = {
    "linear": 1, "conv1d": 1, "conv2d": 1, "conv3d": 1, "convolution": 1, "addmm": 2, "mm": 1,
    "matmul": 1, "conv_transpose1d": 1, "conv_transpose2d": 1, "lstm": 2, "gru": 2,
    "rnn_tanh": 2, "embedding": 0, "_int_mm": 1, "_scaled_mm": 1, "_weight_int4pack_mm": 1,
}  # fmt: skip


def read_layers(path: Path, manifest: Manifest) -> tuple[FileLayer, ...]:
    """Return the layers of a program in the order in which they run.

    Of weights alone, which run by the model's own code, the matrices in the order of their names.
    """
    if needs_model(manifest):
        return tuple(_weights(path))
    return layers_of(load_program(path))


def layers_of(program: Any) -> tuple[FileLayer, ...]:
    """Return the layers of a program that is open, in the order in which they run.

    Parameters
    ----------
    program
        A graph module, as an exported program's `module()` gives it.
    """
    tensors = program.state_dict() | dict(program.named_buffers())
    layers = []
    for node in program.graph.nodes:
        kind = str(node.target).split(".")[1] if str(node.target).startswith("aten.") else ""
        place = PLACES.get(kind)
        if place is None or len(node.args) <= place:
            continue
        given = node.args[place]
        for weights in given if isinstance(given, list | tuple) else [given]:
            held = _held(weights, tensors)
            value = weights.meta.get("val")
            if held and value is not None and value.ndim > 1:
                layers.append(_layer(kind, tuple(map(int, value.shape)), held, value.dtype))
    return tuple(layers)


def _layer(kind: str, shape: tuple[int, ...], held: Mapping[str, Any], computes: Any) -> FileLayer:
    parts = [(_words(one.dtype), one.numel() * one.element_size()) for one in held.values()]
    stored, bits = stored_form(parts, count_of(shape))
    largest = max(held, key=lambda name: held[name].numel())
    kernel = f"aten.{kind} {_words(computes)}"
    return FileLayer(layer_of(plain_name(largest)), kind, shape, bits, stored, kernel)


def _weights(path: Path) -> Iterator[FileLayer]:
    from safetensors.torch import load_file

    for name, weights in load_file(path).items():
        if weights.ndim > 1:
            kind = _words(weights.dtype)
            bits = float(8 * weights.element_size())
            own = name.removeprefix("network.").removeprefix("network.")
            shape = tuple(map(int, weights.shape))
            yield FileLayer(layer_of(plain_name(own)), "module", shape, bits, kind, f"torch {kind}")


def _words(kind: Any) -> str:
    return str(kind).removeprefix("torch.")


def _held(node: Any, tensors: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored tensors that a value is computed from, or None if an input is among it."""
    if node.op == "get_attr":
        return {node.target: tensors[node.target]} if node.target in tensors else {}
    if node.op != "call_function":
        return None
    held: dict[str, Any] = {}
    for inner in node.all_input_nodes:
        found = _held(inner, tensors)
        if found is None:
            return None
        held |= found
    return held
