"""PyTorch's compiler: the exported program, turned into native code when it is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import ArtifactError
from autoopt.interfaces import Parallel
from autoopt.runtimes.agreement import NOISE
from autoopt.runtimes.artifact import Manifest, read_manifest
from autoopt.runtimes.deployment import ReplicatedDeployment, chunk_sizes
from autoopt.runtimes.eager import Eager
from autoopt.runtimes.finish import finish_build

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Array, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

# Native code that differs more than this from the operators it was made of is miscompiled.
MISCOMPILED = 0.1
NO_COMPILER = (
    "torch.compile needs a C++ compiler, and none was found (looked for $CXX, g++ and clang++); "
    "install one, or use another runtime."
)


class Compiled:
    """Runs a `.pt2` file through `torch.compile` (Inductor).

    Code is made when the artefact is loaded, for the numbers of samples that its usual request is
    split into; chunks of other sizes run operator by operator.
    """

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if compiler() is None:
            return NO_COMPILER
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
    ) -> Mapping[str, Any]:
        """Write the artefact's files into `folder`; return what was realised.

        The parameters are those of `Eager.build`.
        """
        from autoopt.runtimes.torch_files import write_program

        manifest = write_program("compiled", network, request, task, folder, exported=exported)
        # Compiling takes seconds and happens at every load, which compares the code anyway.
        return finish_build(Eager().load, network, manifest, task, folder)

    def load(
        self, folder: Path, parallel: Parallel, *, trust_code: bool = False
    ) -> ReplicatedDeployment:
        """Start what `build` wrote: compile, warm up, and compare with the operators.

        Raises
        ------
        ArtifactError
            If there is no C++ compiler, or the native code does not agree with its program.
        """
        if compiler() is None:
            raise ArtifactError(NO_COMPILER)
        from autoopt.runtimes.torch_files import read_program, torch_replica

        manifest = read_manifest(folder)
        module = read_program(folder, manifest, trust_code=trust_code)
        fixed = manifest.options["batch"]
        sizes = frozenset(chunk_sizes(manifest.options["request"], parallel, fixed))
        call = _by_size(module, sizes)
        replica, plain = torch_replica(call, parallel), torch_replica(module, parallel)
        for size in sorted(sizes):
            _warm_up(replica, plain, _example(manifest, size))
        return ReplicatedDeployment([replica] * parallel.replicas, parallel, fixed)

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what torch does in each precision; nothing where no compiler is there."""
        from autoopt.runtimes.torch_files import torch_abilities

        found = torch_abilities(target)
        return found if compiler() else dict.fromkeys(found, NO_COMPILER)


def compiler() -> str | None:
    """Return the path of a C++ compiler, or None."""
    names = (os.environ.get("CXX"), "g++", "clang++")
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
    def forward(*inputs: Any) -> Any:
        return module(*inputs)

    return forward


def _example(manifest: Manifest, size: int) -> list[Array]:
    """Return inputs of a plausible range: noise for floats, zeros (a valid index) for integers."""
    generator = np.random.default_rng(0)
    arrays: list[Array] = []
    for port in manifest.inputs:
        shape = [size if axis is None else axis for axis in port.shape]
        floating = port.dtype.startswith("float")
        noise = generator.standard_normal(shape) if floating else np.zeros(shape)
        arrays.append(noise.astype(port.dtype))
    return arrays


def _warm_up(
    replica: Callable[..., Array], plain: Callable[..., Array], inputs: list[Array]
) -> None:
    found, expected, again = replica(*inputs), plain(*inputs), plain(*inputs)
    for _ in range(3):
        replica(*inputs)
    norm = float(np.linalg.norm(expected)) or 1.0
    error = float(np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64))) / norm
    # A program that is random, such as one with dropout kept on, differs from itself too.
    noise = float(np.linalg.norm(again.astype(np.float64) - expected.astype(np.float64))) / norm
    # Written so that a NaN of the native code alone is an error too.
    if np.isfinite(expected).all() and not error <= MISCOMPILED + NOISE * noise:
        raise ArtifactError(
            f"the compiled code differs from its program by {error:.2g} of the output; use the "
            "runtime 'eager' and report it to PyTorch."
        )
