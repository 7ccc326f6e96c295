"""Starting an artefact as a parallel configuration says, in whatever runtime it was built for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU
from autoopt.errors import RefusedError
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import needs_model, read_manifest
from autoopt.runtimes.deployment import ReplicatedDeployment
from autoopt.runtimes.divided import DividedDeployment
from autoopt.runtimes.gathering import GatheringDeployment
from autoopt.runtimes.manifest_rules import plain_name
from autoopt.runtimes.processes import start_processes

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment, Parallel

_ONE_AFTER_ANOTHER = (
    "{} runs the operators of a network one after another, so threads for several at a time would "
    "have nothing to do; use replicas, or onnxruntime."
)
NO_INTER_OP: Mapping[str, str] = MappingProxyType(
    {
        "aotinductor": _ONE_AFTER_ANOTHER.format("torch"),
        "eager": _ONE_AFTER_ANOTHER.format("torch"),
        "compiled": _ONE_AFTER_ANOTHER.format("torch"),
        "cudagraphs": _ONE_AFTER_ANOTHER.format("torch"),
        "openvino": _ONE_AFTER_ANOTHER.format("OpenVINO"),
    }
)
"""Runtimes without threads for several operators at a time, and why."""


ONE_AT_A_TIME = (
    "a device answers one request after the other, so replicas, processes, stages, shards, "
    "gathered requests and operators at a time are for the processor; on {!r} only a batch may be "
    "given."
)


def refuse_spread(parallel: Parallel, device: str) -> str | None:
    """Say that a request cannot be spread so on a device, or None."""
    several = max(parallel.replicas, parallel.divided, parallel.inter_op) > 1
    if device != CPU and (several or parallel.processes or parallel.gather):
        return ONE_AT_A_TIME.format(device)
    return None


def refuse_parallel(runtime: str, parallel: Parallel, device: str = CPU) -> str | None:
    """Say why a runtime cannot serve in a parallel configuration on this machine, or None."""
    # Here, because the package reads YAML, which serving needs not.
    from search_spaces.cores import usable_cores

    cores = usable_cores()
    parts = parallel.processes_needed
    if parallel.threads > cores or parts > parallel.threads:
        name = "stages" if parallel.stages > 1 else "shards" if parallel.shards > 1 else "replicas"
        return (
            f"{parallel.threads} threads in {parts} {name} need at least a thread each and no more "
            f"than the {cores} cores that this process may use"
        )
    if parallel.inter_op > cores:
        return f"{parallel.inter_op} operators at a time need as many cores, but there are {cores}"
    return cannot_serve(runtime, parallel, device)


def cannot_serve(runtime: str, parallel: Parallel, device: str = CPU) -> str | None:
    """Say why a runtime cannot serve in a configuration, however many cores there are, or None."""
    if reason := refuse_spread(parallel, device):
        return reason
    if parallel.inter_op > 1 and runtime in NO_INTER_OP:
        return NO_INTER_OP[runtime]
    if parallel.gather and runtime == "compiled":
        return (
            "torch.compile makes code for the sizes of one request, but gathered requests come in "
            "every size; use another runtime."
        )
    if parallel.divided > 1 and runtime != "eager":
        return (
            f"{runtime} takes a network as a whole; only programs that torch runs operator by "
            "operator (runtime 'eager') can be divided into stages or shards."
        )
    if (parallel.processes or parallel.divided > 1) and sys.platform != "linux":
        return "processes that serve need anonymous shared memory, which only Linux has."
    return None


NATIVE = frozenset({"aotinductor"})
"""Runtimes whose artefacts are native code."""


def open_own(
    folder: Path, parallel: Parallel, *, network: Callable[[], nn.Module] | None = None
) -> Deployment:
    """Start an artefact that lies in the cache of whoever runs this: native code is run.

    Raises
    ------
    RefusedError, ArtifactError
        As `open_artifact`.
    """
    native = read_manifest(folder).runtime in NATIVE
    return open_artifact(folder, parallel, trust_code=native, network=network)


def open_artifact(
    folder: Path,
    parallel: Parallel,
    *,
    trust_code: bool = False,
    cores: Sequence[int] = (),
    network: Callable[[], nn.Module] | None = None,
) -> Deployment:
    """Start an artefact.

    Parameters
    ----------
    folder
        What a runtime's `build` wrote, or an export.
    parallel
        How requests are spread.
    trust_code
        Let a `.pt2` file run what it holds.
    cores
        Those that pinned replica processes take; the first ones when empty.
    network
        Gives the network with its positional face, for an artefact that holds weights alone.

    Raises
    ------
    RefusedError
        If the runtime cannot serve in this configuration.
    ArtifactError
        If the runtime cannot open the files.
    """
    manifest = read_manifest(folder)
    device = manifest.options.get("device", CPU)
    if reason := cannot_serve(manifest.runtime, parallel, device):
        raise RefusedError(reason)
    # Only programs of torch can hold code, so only its runtimes know the word.
    trusted = trust_code and plain_name(manifest.model).endswith(".pt2")
    options: dict[str, Any] = {"trust_code": True} if trusted else {}
    if needs_model(manifest):
        if parallel.processes or parallel.divided > 1:
            raise RefusedError(
                "processes of their own have no copy of the model's code, which this artefact "
                "needs; use replicas in one process."
            )
        options["network"] = network and network()
    if parallel.divided > 1:
        deployment: Deployment = DividedDeployment(folder, parallel, trust_code=trusted)
    elif parallel.processes:
        replicas = start_processes(folder, parallel, trust_code=trusted, cores=cores)
        deployment = ReplicatedDeployment(replicas, parallel, manifest.options["batch"])
    else:
        deployment = load_runtime(manifest.runtime).load(folder, parallel, **options)
    if parallel.gather:
        deployment = GatheringDeployment(deployment, parallel.gather, parallel.delay_ms / 1e3)
    return deployment
