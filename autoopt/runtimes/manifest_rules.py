"""What must hold in an `artifact.json`: its options, its ports and the files of each format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from autoopt.devices import CPU

# The first is the file that the runtime opens; it reads the others, of the same stem, unasked.
SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aotinductor": (".pt2",),
        "eager": (".pt2",),
        "compiled": (".pt2",),
        "cudagraphs": (".pt2",),
        "onnxruntime": (".onnx",),
        "openvino": (".xml", ".bin"),
    }
)
DEVICE = re.compile(r"cuda:\d{1,3}")
PACKED = ".gz"
LIVE = ".safetensors"
"""Ending of weights that eager runs by the model's own code, which no exporter could trace."""
HINTS = ("f32", "bf16")
SPREAD: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("threads", "replicas", "batch", "inter_op", "gather", "stages", "shards"), (int,)
        ),
        **dict.fromkeys(("processes", "pinned"), (bool,)),
        "delay_ms": (int, float),
    }
)
"""Names of a parallel configuration, and the types that their values may have."""
DTYPES = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
    | {"float16", "float32", "float64", "complex64", "complex128"}
)


def plain_name(name: str) -> str:
    """Return the name of a file without the ending that says it is compressed."""
    return name.removesuffix(PACKED)


def broken_option(runtime: str, options: Mapping[str, Any]) -> str | None:
    """Say which rule the options of a runtime's artefact break, or None."""
    for name in ("request", "threads"):
        if not _is_count(options.get(name)):
            return f"option {name!r} must be a positive integer, but got {options.get(name)!r}"
    if "batch" not in options or not (options["batch"] is None or _is_count(options["batch"])):
        found = options.get("batch", "nothing")
        return f"option 'batch' must be null or a positive integer, but got {found!r}"
    spread = options.get("parallel", {})
    if not isinstance(spread, dict) or not all(
        type(value) in SPREAD.get(name, ()) for name, value in spread.items()
    ):
        return f"option 'parallel' must map {', '.join(SPREAD)} to their values, but got {spread!r}"
    sizes = options.get("unpacked", {})
    if not isinstance(sizes, dict) or not all(map(_is_count, sizes.values())):
        return f"option 'unpacked' must map files to their sizes in bytes, but got {sizes!r}"
    if runtime == "openvino" and options.get("hint") not in HINTS:
        return f"option 'hint' must be one of {', '.join(HINTS)}, but got {options.get('hint')!r}"
    device = options.get("device", CPU)
    if not isinstance(device, str) or not (device == CPU or DEVICE.fullmatch(device)):
        return f"option 'device' must be 'cpu' or 'cuda:N', but got {device!r}"
    group = options.get("activation_group", 0)
    if type(group) is not int or group < 0:
        return f"option 'activation_group' must be an integer of at least 0, but got {group!r}"
    return None


def broken_file(runtime: str, model: str, files: Iterable[str]) -> str | None:
    """Say which file of the runtime's format has the wrong name or no checksum, or None."""
    suffixes = SUFFIXES.get(runtime)
    if suffixes is None:
        return None
    if model.endswith(PACKED) and not all(name.endswith(PACKED) for name in files):
        return f"either all files are compressed or none, but got {', '.join(sorted(files))}"
    path = PurePosixPath(plain_name(model))
    if runtime == "eager" and path.suffix == LIVE:
        return None
    if path.suffix != suffixes[0]:
        return f"`model` of {runtime!r} must end in {suffixes[0]!r}, but got {model!r}"
    missing = {str(path.with_suffix(suffix)) for suffix in suffixes} - set(map(plain_name, files))
    if missing:
        return f"`files` must hold every file of the model, but lacks {', '.join(sorted(missing))}"
    return None


def broken_port(name: str, dtype: str, shape: Iterable[Any]) -> str | None:
    """Say what is wrong with an input or the output, or None."""
    if dtype not in DTYPES:
        return f"the element type of {name!r} must be NumPy's name of a number, but got {dtype!r}"
    sizes = list(shape)
    if not sizes or not all(size is None or (type(size) is int and size >= 0) for size in sizes):
        return f"the shape of {name!r} must hold sizes, null for samples, but got {sizes!r}"
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0
