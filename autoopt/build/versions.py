"""Versions that decide about what is built: of our own code and of libraries."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

MAKERS = ("techniques", "plan", "replay", "cuts", "factors", "regrowth", "precision")
"""Our own code that decides about what a network becomes."""

BUILDERS = ("torch", "nncf", "openvino", "onnx", "onnxruntime", "torch-pruning")
"""Libraries whose version decides about what is built."""

OPTIONAL = ("torchao",)
"""The same of those that need not be installed."""


def library_versions() -> dict[str, str]:
    """Return the versions of all libraries that decide about what is built."""
    found = {name: version(name) for name in BUILDERS}
    return found | {name: version(name) for name in OPTIONAL if find_spec(name)}


@cache
def code_of(module: str) -> str:
    """Return the hash of a package's or module's source: its version in a key."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(module)
    origin = Path(found.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
