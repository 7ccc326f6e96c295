"""What an artefact's files hold, layer by layer, read back from the files themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from autoopt.errors import ArtifactError
from autoopt.runtimes.artifact import read_manifest, verify_files
from autoopt.runtimes.compressed import model_file

READERS: Mapping[str, str] = MappingProxyType(
    {
        "aotinductor": "aot_layers",
        "eager": "torch_layers",
        "compiled": "torch_layers",
        "cudagraphs": "torch_layers",
        "onnxruntime": "onnx_layers",
        "openvino": "openvino_layers",
    }
)
"""Runtime to the module whose ``read_layers(path, manifest)`` reads its files."""

CODES = frozenset({"int8", "uint8", "int4", "uint4", "int2", "uint2", "uint1"})
"""Element types that weights in few bits are stored in."""

TABLES = frozenset({"Gather", "embedding"})
"""Operators that only look weights up."""

INTEGER_KERNELS = ("QLinear", "QGemm", "Integer", "DynamicQuantize", " i8", " u8", "_I8", " int8")

COMPUTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "int8": INTEGER_KERNELS,
        # What is not in integers on a CUDA device is in 16 bits there.
        "dynamic int8": (*INTEGER_KERNELS, " bfloat16"),
        "fp8": (" float8", " bfloat16"),
        "int4": ("int4", " bfloat16"),
        "bfloat16": ("bf16", "bfloat16"),
        # Not the words of bfloat16.
        "float16": (" float16",),
        "float16 weights, float32 compute": (" float16", " f16", "_f16"),
    }
)
"""Precision that is computed in to what the kernels' names hold that do."""


@dataclass(frozen=True)
class FileLayer:
    """One layer with stored weights, as the file holds it.

    Attributes
    ----------
    name
        The network's name of it where the file keeps one, else what the file calls it.
    kind
        The operator in the file, such as ``Conv`` or ``MatMul``.
    shape
        Of its weights as they enter the operator.
    bits
        Bits that one weight takes in the file, scales and zero points left out.
    stored
        Element type in the file: ``float32``, ``int8``, ``uint4`` …
    kernel
        What the runtime chose to run it with on this machine, as it says itself, or the element
        type that the operator computes in.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    bits: float
    stored: str
    kernel: str

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return count_of(self.shape)


def read_layers(folder: Path) -> tuple[FileLayer, ...]:
    """Return the layers of an artefact in the order in which they run.

    Raises
    ------
    ArtifactError
        If the folder is damaged, or no reader knows its runtime.
    """
    manifest = read_manifest(folder)
    if manifest.runtime not in READERS:
        raise ArtifactError(
            f"the layers of {manifest.runtime!r} cannot be read; known: {', '.join(READERS)}."
        )
    verify_files(folder, manifest)
    reader = import_module(f"autoopt.runtimes.{READERS[manifest.runtime]}")
    with model_file(folder, manifest) as path:
        layers: tuple[FileLayer, ...] = reader.read_layers(path, manifest)
    return layers


def stayed_in_float32(layers: Iterable[FileLayer], precision: str) -> list[str]:
    """Return the layers that the runtime computes in float32 although another was asked for.

    Parameters
    ----------
    layers
        As they were read back.
    precision
        One of `COMPUTED`.

    Notes
    -----
    Tables that are only looked up compute nothing, so they are left out.
    """
    words = COMPUTED[precision]
    return [
        layer.name
        for layer in layers
        if layer.kind not in TABLES and not any(word in layer.kernel for word in words)
    ]


def stored_form(parts: Iterable[tuple[str, float]], weights: int) -> tuple[str, float]:
    """Return the element type of stored weights, and the bits that each of them takes.

    Parameters
    ----------
    parts
        Element type and bytes of every tensor that the weights are computed from.
    weights
        How many they are.

    Notes
    -----
    Codes are small integers, at least half a bit a weight of them; the fields that they may be
    split into are within a quarter of the largest. What else there is (scales, zero points,
    codebooks, shifts) is not counted. Without codes the largest tensor holds the weights.
    """
    parts = sorted(parts, key=lambda part: part[1], reverse=True)
    codes = [(kind, size) for kind, size in parts if kind in CODES]
    if codes and 16 * codes[0][1] >= weights:
        kind, most = codes[0]
        whole = sum(size for _, size in codes if 4 * size >= most)
    else:
        kind, whole = parts[0]
    exact = 8 * whole / max(weights, 1)
    # Whole where nothing but padding keeps it from being so.
    return kind, float(round(exact)) if abs(exact - round(exact)) < 0.1 else round(exact, 2)


def count_of(shape: Iterable[int]) -> int:
    """Return how many numbers a shape holds."""
    count = 1
    for size in shape:
        count *= int(size)
    return count
