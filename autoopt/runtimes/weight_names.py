"""Which layer of the network a runtime's constant comes from.

Exporters rename, transpose and reshape weights, but hardly ever change their numbers; where they
do (a batch norm folded into its convolution) they keep the name. So a constant is known by the
name of its parameter, and else by its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from autoopt.interfaces import Array
    from autoopt.runtimes.program import Exported

# The module that gives every network its positional face (`Task.wrapped`).
WRAPPER = "network."


class WeightNames:
    """Names of weights, found by their content.

    Parameters
    ----------
    weights
        Name to array.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._found: dict[bytes, list[str]] = {}
        for name, array in weights.items():
            if array.ndim > 1:
                self._found.setdefault(_digest(array), []).append(name)

    def of(self, array: Array) -> str | None:
        """Return the name of a constant's weight, whatever its shape, or None.

        Weights of the same content are handed out in their order, the last for ever after.
        """
        turned = [array, array.T] if array.ndim == 2 else [array]
        for candidate in turned:
            names = self._found.get(_digest(candidate))
            if names:
                return names.pop(0) if len(names) > 1 else names[0]
        return None


def _digest(array: Array) -> bytes:
    content = np.ascontiguousarray(array)
    return hashlib.blake2b(content.tobytes(), digest_size=16).digest()


def layer_of(name: str) -> str:
    """Return the dotted name of the module that holds a parameter."""
    return name.rpartition(".")[0] or name


def parameters(exported: Exported) -> dict[str, Any]:
    """Return the network's own parameters of more than one axis by their names in the network."""
    return {
        name.removeprefix(WRAPPER): value.detach().numpy()
        for name, value in exported.program.state_dict.items()
        if value.ndim > 1 and value.is_floating_point() and value.element_size() > 2
    }


def name_weights(model: onnx.ModelProto, exported: Exported) -> None:
    """Give initializers the names of the network's parameters, in place."""
    from onnx import numpy_helper

    known = parameters(exported)
    names = WeightNames(known)
    renamed: dict[str, str] = {}
    taken = {item.name for item in model.graph.initializer}
    for item in model.graph.initializer:
        plain = item.name.removeprefix(WRAPPER)
        found = plain if plain in known else None
        if found is None and len(item.dims) > 1:
            found = names.of(numpy_helper.to_array(item))
        if found and found != item.name and found not in taken:
            renamed[item.name] = item.name = found
            taken.add(found)
    for node in model.graph.node:
        for place, used in enumerate(node.input):
            node.input[place] = renamed.get(used, used)


def known_weights(exported: Exported) -> dict[str, Any]:
    """Return the network's weights as its ONNX form holds them, or else as the network does."""
    from onnx import numpy_helper

    model = exported.converted("onnx")
    if model is None:
        return parameters(exported)
    return {
        item.name: numpy_helper.to_array(item)
        for item in model.graph.initializer
        if len(item.dims) > 1
    }
