"""Where an artefact runs: one runtime a file; this table names them and imports nothing."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from autoopt.interfaces import load_class
from autoopt.runtimes.program import export_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autoopt.interfaces import Runtime

__all__ = ["PACKAGES", "RUNTIMES", "export_program", "load_runtime", "package_of", "pt2_source"]

RUNTIMES: Mapping[str, str] = MappingProxyType(
    {
        "aotinductor": "aot_inductor:AotInductor",
        "eager": "eager:Eager",
        "compiled": "compiled:Compiled",
        "cudagraphs": "cuda_graphs:CudaGraphs",
        "onnxruntime": "onnx_session:OnnxRuntime",
        "openvino": "openvino_request:OpenVino",
    }
)

PACKAGES: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("aotinductor", "compiled", "cudagraphs", "eager"), "torch")
)
"""Runtime to the package that has it, where they differ in name."""


def package_of(runtime: str) -> str:
    """Return the package that has a runtime."""
    return PACKAGES.get(runtime, runtime)


def load_runtime(name: str) -> Runtime:
    """Return the runtime of that name; its library is imported when it builds or loads.

    Raises
    ------
    UnknownNameError
        If the table does not hold `name`.
    """
    runtime: Runtime = load_class("runtime", __name__, RUNTIMES, name)()
    return runtime


def pt2_source() -> str:
    """Return the text of the safe loader of `.pt2` files, which exports carry a copy of."""
    return Path(__file__).with_name("pt2.py").read_text(encoding="utf-8")
