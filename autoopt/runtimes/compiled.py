"""PyTorch's compiler: the exported program, turned into native code when it is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.devices import CPU, device_of
from autoopt.errors import ArtifactError
from autoopt.interfaces import Parallel
from autoopt.runtimes.agreement import NOISE
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.deployment import chunk_sizes
from autoopt.runtimes.eager import Eager
from autoopt.runtimes.finish import finish_build

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Deployment, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

# Native code that differs more than this from the operators it was made of is miscompiled.
MISCOMPILED = 0.1
COARSE = 0.3
COARSE_PRECISIONS = frozenset({"bfloat16", "dynamic int8", "fp8", "int4"})
"""What computes in bfloat16, at least in part: native code rounds elsewhere than operators do."""

NO_COMPILER = (
    "torch.compile needs a C++ compiler, and none was found (looked for $CXX, g++ and clang++); "
    "install one, or use another runtime."
)
NO_TRITON = (
    "torch.compile makes kernels for CUDA devices with Triton, which is not installed; pip install "
    "triton, or use eager or cudagraphs."
)
NO_C_COMPILER = (
    "torch.compile launches kernels of CUDA devices by code that a C compiler makes, and none was "
    "found (looked for $CC, gcc, clang and cc); install one, or use eager or cudagraphs."
)


class Compiled:
    """Runs a `.pt2` file through `torch.compile` (Inductor).

    Code is made when the artefact is loaded, for the numbers of samples that its usual request is
    split into; chunks of other sizes run operator by operator.
    """

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if reason := missing_compiler(device_of(target.name)):
            return reason
        from autoopt.runtimes.torch_files import refuse_request

        return refuse_request(request, task, target)

    def build(
        self,
        network: nn.Module,
        request: Quantization,
        task: Task,
        folder: Path,
        *,
        exported: Exported | None = None,
        device: str = CPU,
    ) -> Mapping[str, Any]:
        """Write the artefact's files into `folder`; return what was realised.

        The parameters are those of `Eager.build`.
        """
        from autoopt.runtimes.torch_files import write_program

        write = partial(write_program, "compiled", network, request, task, folder)
        manifest = write(exported=exported, device=device)
        # Compiling takes seconds and happens at every load, which compares the code anyway.
        return finish_build(Eager().load, network, manifest, task, folder)

    def load(self, folder: Path, parallel: Parallel, *, trust_code: bool = False) -> Deployment:
        """Start what `build` wrote: compile, warm up, and compare with the operators.

        Raises
        ------
        ArtifactError
            If there is no compiler, or the native code does not agree with its program.
        """
        manifest = read_manifest(folder)
        if reason := missing_compiler(manifest.options.get("device", CPU)):
            raise ArtifactError(reason)
        from autoopt.runtimes.torch_files import deployed, example_arrays, read_program

        module = read_program(folder, manifest, trust_code=trust_code)
        fixed = manifest.options["batch"]
        sizes = frozenset(chunk_sizes(manifest.options["request"], parallel, fixed))
        call = _by_size(module, sizes)
        alone = Parallel(parallel.share)
        replica, plain = (deployed(made, manifest, alone) for made in (call, module))
        coarse = manifest.realised.get("precision") in COARSE_PRECISIONS
        for size in sorted(sizes):
            inputs = example_arrays(manifest, size)
            _warm_up(replica, plain, inputs, COARSE if coarse else MISCOMPILED)
        return deployed(call, manifest, parallel)

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what torch does in each precision; nothing where no compiler is there."""
        from autoopt.runtimes.torch_files import torch_abilities

        found = torch_abilities(target)
        reason = missing_compiler(device_of(target.name))
        return found if reason is None else dict.fromkeys(found, reason)


def missing_compiler(device: str) -> str | None:
    """Say what `torch.compile` lacks for a device, or None."""
    if device == CPU:
        return None if compiler() else NO_COMPILER
    if find_spec("triton") is None:
        return NO_TRITON
    return None if compiler("CC", ("gcc", "clang", "cc")) else NO_C_COMPILER


def compiler(variable: str = "CXX", known: tuple[str, ...] = ("g++", "clang++")) -> str | None:
    """Return the path of a compiler, that of C++ unless told otherwise, or None."""
    names = (os.environ.get(variable), *known)
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _by_size(module: Callable[..., Any], sizes: frozenset[int]) -> Callable[..., Any]:
    """Return a callable that takes native code for the sizes given and operators for others."""
    import torch

    # One function a size: each is compiled for one shape and never again.
    compiled = {size: torch.compile(_function(module), dynamic=False) for size in sizes}

    def call(*inputs: torch.Tensor) -> Any:
        return compiled.get(len(inputs[0]), module)(*inputs)

    return call


def _function(module: Callable[..., Any]) -> Callable[..., Any]:
    """Return a module as a function whose code is its own.

    torch keeps what it compiles with a function's code, and after a few modules that share one
    (`torch._dynamo.config.recompile_limit`, 8) it runs operators without a word to the caller.
    """

    def forward(*inputs: Any) -> Any:
        return module(*inputs)

    return FunctionType(
        forward.__code__.replace(), forward.__globals__, "forward", None, forward.__closure__
    )


def _warm_up(
    replica: Callable[..., Array],
    plain: Callable[..., Array],
    inputs: list[Array],
    bound: float = MISCOMPILED,
) -> None:
    found, expected, again = replica(*inputs), plain(*inputs), plain(*inputs)
    for _ in range(3):
        replica(*inputs)
    norm = float(np.linalg.norm(expected)) or 1.0
    error = float(np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64))) / norm
    # A program that is random, such as one with dropout kept on, differs from itself too.
    noise = float(np.linalg.norm(again.astype(np.float64) - expected.astype(np.float64))) / norm
    # Written so that a NaN of the native code alone is an error too.
    if np.isfinite(expected).all() and not error <= bound + NOISE * noise:
        raise ArtifactError(
            f"the compiled code differs from its program by {error:.2g} of the output; use the "
            "runtime 'eager' and report it to PyTorch."
        )
