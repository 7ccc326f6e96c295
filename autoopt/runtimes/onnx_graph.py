"""Nodes and constants on their way into an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from autoopt.interfaces import Array

PREFIX = "stored"


class GraphParts:
    """Collects nodes that compute from constants alone, then puts them before a model's own."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, array: Array | np.generic) -> str:
        """Hold an array under a name; return the name."""
        from onnx import numpy_helper

        self._constants[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def shared(self, array: Array | np.generic) -> str:
        """Hold a small array that many nodes use once; return its name."""
        array = np.asarray(array)
        values = "_".join(map(str, array.reshape(-1).tolist()))
        name = f"{PREFIX}_{array.dtype}_{array.ndim}_{values}"
        return name if name in self._constants else self.constant(name, array)

    def integers(self, name: str, content: Array, shape: Sequence[int], bits: int) -> str:
        """Hold packed signed integers of 8 or 4 bits; return the name."""
        from onnx import TensorProto, helper

        kind = TensorProto.INT8 if bits == 8 else TensorProto.INT4
        self._constants[name] = helper.make_tensor(name, kind, shape, content.tobytes(), raw=True)
        return name

    def add(
        self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"{PREFIX}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], f"{output}_node", **attributes))
        return output

    def reshape(self, value: str, shape: Sequence[int], *, output: str | None = None) -> str:
        """Add a Reshape; return the name of its output."""
        return self.add("Reshape", [value, self.shared(np.array(shape, np.int64))], output)

    def put_before(self, model: onnx.ModelProto) -> None:
        """Put everything into a model, in place."""
        nodes = [*self._nodes, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(self._constants.values())
