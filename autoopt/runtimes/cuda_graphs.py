"""CUDA graphs: the program's kernels recorded once and launched by one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU, device_of
from autoopt.errors import ArtifactError
from autoopt.interfaces import Parallel
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.deployment import chunk_sizes
from autoopt.runtimes.finish import finish_build
from autoopt.runtimes.layers import refuse_known

if TYPE_CHECKING:
    import torch
    from torch import nn

    from autoopt.interfaces import Quantization, Target
    from autoopt.runtimes.device import DeviceDeployment
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

NEEDS_CUDA = "CUDA graphs record the kernels of a CUDA device, but candidates run on {!r}."
WARM_CALLS = 3
"""Calls before a recording, in which libraries choose kernels and take their memory."""


class CudaGraphs:
    """Runs a `.pt2` file whose kernels are recorded when it is loaded, and launched together.

    A network of many small kernels waits for the processor to launch them; a recording does not.
    It holds for one number of samples: the usual request's chunks are recorded, others run
    operator by operator.
    """

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        from autoopt.runtimes.torch_files import KNOWN, refuse_request

        if reason := refuse_known(request, "torch", (*KNOWN, "static")):
            return reason
        if device_of(target.name) == CPU:
            return NEEDS_CUDA.format(target.name)
        return refuse_request(request, task, target)

    def build(
        self,
        network: nn.Module,
        request: Quantization,
        task: Task,
        folder: Path,
        *,
        exported: Exported | None = None,
        device: str = "cuda:0",
    ) -> Mapping[str, Any]:
        """Write the artefact's files into `folder`; return what was realised.

        The parameters are those of `Eager.build`.
        """
        from autoopt.runtimes.torch_files import write_program

        write = partial(write_program, "cudagraphs", network, request, task, folder)
        return finish_build(
            self.load, network, write(exported=exported, device=device), task, folder
        )

    def load(
        self, folder: Path, parallel: Parallel, *, trust_code: bool = False
    ) -> DeviceDeployment:
        """Start what `build` wrote: record it for the sizes of its usual request.

        Raises
        ------
        ArtifactError
            If there is no CUDA device, or an operator cannot be recorded.
        """
        from autoopt.runtimes.device import DeviceDeployment, device_of_artifact
        from autoopt.runtimes.torch_files import example_arrays, read_program

        manifest = read_manifest(folder)
        device = device_of_artifact(manifest)
        module = read_program(folder, manifest, trust_code=trust_code)
        fixed = manifest.options["batch"]
        # Chunks are filled up where only one number of samples is taken.
        usual = {fixed} if fixed else set(chunk_sizes(manifest.options["request"], parallel))
        recorded = {
            size: _recorded(module, _placed(example_arrays(manifest, size), device))
            for size in sorted(usual)
        }

        def call(*inputs: torch.Tensor) -> torch.Tensor:
            chosen: Callable[..., torch.Tensor] = recorded.get(len(inputs[0])) or module
            return chosen(*inputs)

        return DeviceDeployment(call, device, parallel, fixed)

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what torch does in each precision; nothing on the processor."""
        from autoopt.runtimes.torch_files import torch_abilities

        found = torch_abilities(target)
        if device_of(target.name) == CPU:
            return dict.fromkeys(found, NEEDS_CUDA.format(target.name))
        return found


def _placed(arrays: Sequence[Any], device: torch.device) -> list[torch.Tensor]:
    import torch

    return [torch.from_numpy(array).to(device) for array in arrays]


def _recorded(
    module: Callable[..., Any], inputs: list[torch.Tensor]
) -> Callable[..., torch.Tensor]:
    """Record a module's kernels for inputs of one size; return what launches them.

    The recording reads and writes the same memory each time, so inputs are copied in and the
    answer is copied out of it.
    """
    import torch

    device = inputs[0].device
    with torch.cuda.device(device), torch.inference_mode():
        # Types of torch's own are missing or differ from version to version.
        cuda: Any = torch.cuda
        graph, side = cuda.CUDAGraph(), cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_CALLS):
                module(*inputs)
        torch.cuda.synchronize(device)
        try:
            # Other threads of this process may go on using the device meanwhile.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                output: torch.Tensor = module(*inputs)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:300]
            raise ArtifactError(
                f"the kernels of this network cannot be recorded ({said}); use eager or compiled."
            ) from error

    def launch(*given: torch.Tensor) -> torch.Tensor:
        for held, new in zip(inputs, given, strict=True):
            held.copy_(new)
        graph.replay()
        return output.clone()

    return launch
