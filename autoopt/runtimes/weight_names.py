"""Which weight of the network a runtime's constant comes from.

Exporters rename, transpose and reshape weights, but hardly ever change their numbers; where they
do (a batch norm folded into its convolution) they keep the name. So a constant is known by the
name of its parameter, and else by its content. The matrices of recurrent layers are known by their
rows, since every format has an order of gates of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from autoopt.interfaces import Array
    from autoopt.runtimes.program import Exported

# The module that gives every network its positional face (`Task.wrapped`).
WRAPPER = "network."
REVERSE = "_reverse"
MATRIX = re.compile(r"weight_[ih]h_l\d+(_reverse)?")
PARAMETRIZED = re.compile(r"(?:(.*)\.)?parametrizations\.(\w+)\.original\d*")


class WeightNames:
    """Names of weights, found by their content.

    Parameters
    ----------
    weights
        Name to array.
    layers
        Names of the weights of layers: of tied weights these are taken first.
    """

    def __init__(self, weights: Mapping[str, Array], layers: Set[str] = frozenset()) -> None:
        self._layers = layers
        self._found: dict[bytes, list[str]] = {}
        for name, array in weights.items():
            if MATRIX.fullmatch(name.rpartition(".")[2]):
                for number, matrix in enumerate(directions(array)):
                    known = self._found.setdefault(_digest_of_rows(matrix), [])
                    known.append(direction_name(name, number))
            elif array.ndim > 1:
                self._found.setdefault(_digest(array), []).append(name)

    def of(self, array: Array) -> str | None:
        """Return the name of a constant's weight, whatever its shape, or None.

        Weights of the same content are handed out in their order, the last for ever after.
        """
        turned = [array, array.T] if array.ndim == 2 else [array]
        return self._take([self._found.get(_digest(candidate), []) for candidate in turned])

    def of_matrix(self, matrix: Array) -> str | None:
        """Return the name of a recurrent layer's matrix, whatever the order of its rows, or None.

        The rule of `of` holds here too.
        """
        return self._take([self._found.get(_digest_of_rows(matrix), [])])

    def _take(self, options: Iterable[list[str]]) -> str | None:
        pairs = [(name, names) for names in options for name in names]
        layers = [pair for pair in pairs if pair[0] in self._layers]
        for name, names in layers or pairs:
            if len(names) > 1:
                names.remove(name)
            return name
        return None


def directions(array: Array) -> Iterator[Array]:
    """Yield the matrix of each direction: formats put them side by side, torch does not."""
    yield from (array if array.ndim == 3 else array[None])


def direction_name(name: str, number: int) -> str:
    """Return what torch calls the matrix of a direction, given the name of the first one's."""
    return f"{name}{REVERSE}" if number else name


def _digest(array: Array) -> bytes:
    content = np.ascontiguousarray(array)
    return hashlib.blake2b(content.tobytes(), digest_size=16).digest()


def _digest_of_rows(matrix: Array) -> bytes:
    rows = sorted(row.tobytes() for row in np.ascontiguousarray(matrix))
    return hashlib.blake2b(b"".join(rows), digest_size=16, person=b"rows").digest()


def layer_of(name: str) -> str:
    """Return the name that a parameter's layer goes by in requests and tables.

    That of the module that holds it, but of a recurrent layer's matrix its own.
    """
    stem, _, last = name.rpartition(".")
    return name if MATRIX.fullmatch(last) else stem or name


def plain_name(name: str) -> str:
    """Return a parameter's name in the network, without the faces that were put around it."""
    while name.startswith(WRAPPER):
        name = name.removeprefix(WRAPPER)
    if found := PARAMETRIZED.fullmatch(name):
        return ".".join(filter(None, found.groups()))
    return name


def parameters(exported: Exported) -> dict[str, Any]:
    """Return the network's own parameters of more than one axis by their names in the network."""
    return {
        name.removeprefix(WRAPPER): value.detach().numpy()
        for name, value in exported.program.state_dict.items()
        if value.ndim > 1 and value.is_floating_point() and value.element_size() > 2
    }


def name_weights(
    model: onnx.ModelProto, exported: Exported, *, products: Set[str], matrices: Set[str]
) -> None:
    """Give initializers the names of the network's parameters, in place.

    Parameters
    ----------
    model
        What to change.
    exported
        Knows the parameters.
    products, matrices
        Initializers that products and convolutions, and recurrent layers, compute with. These
        choose first: where an embedding is tied to a layer, the layer's name says more.
    """
    from onnx import numpy_helper

    known = parameters(exported)
    names = WeightNames(known, exported.layers)
    items = list(model.graph.initializer)
    items.sort(key=lambda item: item.name not in products and item.name not in matrices)
    renamed: dict[str, str] = {}
    for item in items:
        plain = item.name.removeprefix(WRAPPER)
        own = plain if plain in known and plain not in renamed.values() else None
        found = own if own in exported.layers or item.name not in products else None
        if item.name in matrices:
            found = names.of_matrix(numpy_helper.to_array(item)[0])
        elif found is None and len(item.dims) > 1:
            found = names.of(numpy_helper.to_array(item)) or own
        if found and found not in renamed.values():
            renamed[item.name] = found
    _rename(model, renamed)


def _rename(model: onnx.ModelProto, renamed: dict[str, str]) -> None:
    """Rename initializers, and out of the way what bears a name that is given away."""
    given = set(renamed.values())
    for item in model.graph.initializer:
        if item.name in given and item.name not in renamed:
            renamed[item.name] = f"{item.name}.again"
    for item in model.graph.initializer:
        item.name = renamed.get(item.name, item.name)
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
