"""What executes the artefact. Their order differs from model to model, so none is left out."""

from __future__ import annotations

from search_spaces.menu import Options

__all__ = ["RUNTIMES"]

RUNTIMES: Options = {
    # PyTorch, operator by operator: the reference.
    "eager": {},
    # torch.compile's code generator; builds slowly.
    "compiled": {},
    # The same code made once and kept in the file, so that it starts at once; only on processors
    # like this one, and only where its origin is trusted.
    "aotinductor": {},
    # On CUDA devices: the kernels of PyTorch's operators recorded once, launched together.
    "cudagraphs": {},
    "onnxruntime": {},
    "openvino": {},
}
