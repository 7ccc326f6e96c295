"""PyTorch's compiler ahead of time: native code in the file, so that loading compiles nothing."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.devices import CPU, device_of
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Parallel
from autoopt.runtimes.abilities import NOT_HERE
from autoopt.runtimes.artifact import Manifest, read_manifest, write_manifest
from autoopt.runtimes.compiled import compiler
from autoopt.runtimes.finish import finish_build

if TYPE_CHECKING:
    from torch import nn

    from autoopt.interfaces import Deployment, Quantization, Target
    from autoopt.runtimes.program import Exported
    from autoopt.task import Task

NO_COMPILER = (
    "AOTInductor needs a C++ compiler, and none was found (looked for $CXX, g++ and clang++); "
    "install one, or use another runtime."
)
UNPACKED = (
    "AOTInductor unpacks stored weights when it compiles, so the file would be as large as in "
    "float32; use eager, onnxruntime or openvino."
)
BY_TORCHAO = "{} by torchao is offered in programs of torch only; use eager or compiled."
NOT_TRUSTED = (
    "this artefact is native code, which can do whatever it likes; where you trust its origin, "
    "open it with trust_code=True."
)
CONFIG: Mapping[str, Any] = {
    # Weights become constants, which lets oneDNN lay them out beforehand.
    "freezing": True,
    # Each replica computes with its share of the threads, not with those of the build.
    "cpp.dynamic_threads": True,
}
_FAILS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What torch's compiler raises over a graph that it cannot take; it has no error of its own."""

INSTRUCTIONS = "AOTI_CPU_ISA"
"""Key under which a package says which instructions it was compiled for."""


class AotInductor:
    """Runs a `.pt2` package of native code, compiled when it is built.

    The package holds code for this processor: it is opened only where one was told to trust it,
    and only on a processor that has the instructions.
    """

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""
        if device_of(target.name) != CPU:
            return NOT_HERE.format("AOTInductor's packages")
        if compiler() is None:
            return NO_COMPILER
        from autoopt.runtimes.torch_files import refuse_request
        from autoopt.runtimes.torchao_layers import TORCHAO

        if request.name in TORCHAO:
            return BY_TORCHAO.format(request.name)
        return refuse_request(request, task, target) or (UNPACKED if request.stores else None)

    def build(
        self,
        network: nn.Module,
        request: Quantization,
        task: Task,
        folder: Path,
        *,
        exported: Exported | None = None,
    ) -> Mapping[str, Any]:
        """Compile the network and write the package into `folder`; return what was realised.

        The parameters are those of `Eager.build`.

        Raises
        ------
        RefusedError
            If torch cannot compile this network.
        """
        from autoopt.runtimes.torch_files import MODEL, realise, torch_manifest

        program = realise(network, request, task, exported)
        _compile(program.exported, folder / MODEL)
        manifest = torch_manifest("aotinductor", program, task)
        manifest = write_manifest(folder, manifest, [MODEL])
        # What was just compiled here is not foreign.
        return finish_build(partial(self.load, trust_code=True), network, manifest, task, folder)

    def load(self, folder: Path, parallel: Parallel, *, trust_code: bool = False) -> Deployment:
        """Start what `build` wrote; replicas share the weights.

        Raises
        ------
        ArtifactError
            If it is not to be trusted, damaged, or compiled for another processor.
        """
        if not trust_code:
            raise ArtifactError(NOT_TRUSTED)
        from autoopt.runtimes.torch_files import deployed

        manifest = read_manifest(folder)
        return deployed(_opened(folder, manifest, parallel.replicas), manifest, parallel)

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return what torch does in each precision; nothing where no compiler is there."""
        from autoopt.runtimes.torch_files import torch_abilities

        found = torch_abilities(target)
        if device_of(target.name) != CPU:
            return dict.fromkeys(found, NOT_HERE.format("AOTInductor's packages"))
        if compiler() is None:
            return dict.fromkeys(found, NO_COMPILER)
        return {**found, "stored weights": UNPACKED}


def _compile(exported: Exported, path: Path) -> None:
    """Write the package of a program, without the sources that torch puts beside the code.

    Raises
    ------
    RefusedError
        If torch cannot compile it.
    """
    from autoopt.runtimes.aot_layers import listed_layers

    whole = path.with_name(f".whole-{path.name}")
    try:
        try:
            _package(exported, whole, CONFIG)
        except _FAILS:
            # Some passes over frozen graphs fail where all else works (torch 2.13: a batch of
            # samples that is split and stacked again).
            _package(exported, whole, {**CONFIG, "freezing": False})
        _without_sources(whole, path, listed_layers(exported))
    except _FAILS as error:
        raise RefusedError(
            f"AOTInductor cannot compile this network ({str(error).strip()[:300]}); use another "
            "runtime."
        ) from error
    finally:
        whole.unlink(missing_ok=True)


def _package(exported: Exported, path: Path, config: Mapping[str, Any]) -> None:
    import torch

    # Freezing asks for it; torch warns of its own deprecated calls.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch._inductor.aoti_compile_and_package(
            exported.program, package_path=str(path), inductor_configs=dict(config)
        )


def _without_sources(source: Path, target: Path, layers: bytes) -> None:
    """Copy a package but for its C++, which holds paths of this machine and is not needed.

    Instead it lists the layers that were compiled, which the code itself does not show.
    """
    from autoopt.runtimes.aot_layers import LAYERS

    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as slim:
        for info in whole.infolist():
            if not info.filename.endswith(".cpp"):
                # Under one name for the root, whatever the file was called.
                name = f"model/{info.filename.partition('/')[2]}"
                slim.writestr(name, whole.read(info))
        slim.writestr(f"model/{LAYERS}", layers)


def _opened(folder: Path, manifest: Manifest, runners: int) -> Callable[..., Any]:
    """Open the package so that as many calls as `runners` can run at the same time."""
    from torch._inductor.package.package import load_package

    from autoopt.runtimes.compressed import model_file

    with model_file(folder, manifest) as model:
        try:
            _check_instructions(model)
            opened: Callable[..., Any] = load_package(str(model), num_runners=runners)
        except (RuntimeError, OSError, LookupError) as error:
            raise ArtifactError(
                f"{manifest.model!r} is no package that AOTInductor can open "
                f"({str(error).strip()[:300]}); build it again here."
            ) from error
    return opened


def _check_instructions(model: Path) -> None:
    """Refuse code whose instructions this processor lacks: it would end the process.

    Raises
    ------
    ArtifactError
        Naming what is lacking.
    """
    import torch
    from torch._inductor.codecache import get_device_information

    # torch itself only warns. What the file says is read without running any of it.
    reader: Any = torch._C._aoti.AOTIModelPackageLoader
    needed = reader.load_metadata_from_package(os.fspath(model), "model").get(INSTRUCTIONS, "")
    there = get_device_information("cpu")[INSTRUCTIONS]
    if lacking := set(needed.split()) - set(there.split()):
        raise ArtifactError(
            f"this artefact is native code that needs {', '.join(sorted(lacking))}, which this "
            "processor lacks; build it again here, or export the strategy in another runtime."
        )
