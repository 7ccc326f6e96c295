"""PyTorch as it is: the exported program, run operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU
from autoopt.errors import UntraceableError
from autoopt.interfaces import Parallel
from autoopt.runtimes.artifact import needs_model, read_manifest
from autoopt.runtimes.finish import finish_build

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task


class Eager:
    """Runs a `.pt2` file in PyTorch, operator by operator.

    A network that cannot be exported runs by its own code, from its weights (`runtimes/live.py`).
    """

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
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

        Parameters
        ----------
        network
            In float32; stays as it was.
        request
            The precision asked for.
        task
            Gives the example and the samples that are checked.
        folder
            An existing folder.
        exported
            The network traced before (`export_program`), to save doing it again.
        device
            Of torch, where it will run.
        """
        from autoopt.runtimes.live import write_live
        from autoopt.runtimes.torch_files import write_program

        try:
            write = partial(write_program, "eager", network, request, task, folder)
            manifest = write(exported=exported, device=device)
        except UntraceableError as error:
            manifest = write_live(network, request, task, folder, reason=str(error), device=device)
            load = partial(self.load, network=task.wrapped(network))
            return finish_build(load, network, manifest, task, folder)
        return finish_build(self.load, network, manifest, task, folder)

    def load(
        self,
        folder: Path,
        parallel: Parallel,
        *,
        trust_code: bool = False,
        network: nn.Module | None = None,
    ) -> Deployment:
        """Start what `build` wrote.

        Parameters
        ----------
        folder, parallel
            The artefact, and how requests are spread.
        trust_code
            Let a program run what it holds.
        network
            With its positional face: what an artefact needs that holds weights alone.
        """
        from autoopt.runtimes.live import read_live
        from autoopt.runtimes.torch_files import deployed, read_program

        manifest = read_manifest(folder)
        module: Any = (
            read_live(folder, manifest, network)
            if needs_model(manifest)
            else read_program(folder, manifest, trust_code=trust_code)
        )
        return deployed(module, manifest, parallel)

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what torch does in each precision."""
        from autoopt.runtimes.torch_files import torch_abilities

        return torch_abilities(target)
