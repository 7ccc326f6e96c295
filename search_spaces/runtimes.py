"""What executes the artefact. Their order differs from model to model, so none is left out."""

from __future__ import annotations

from search_spaces.menu import Options

__all__ = ["RUNTIMES"]

RUNTIMES: Options = {
    # PyTorch, operator by operator: the reference.
    "eager": {},
    # torch.compile's code generator; builds slowly.
    "compiled": {},
    "onnxruntime": {},
    "openvino": {},
}
