"""A network as an exported program: where every runtime starts."""

from __future__ import annotations

import inspect
import io
import json
import sysconfig
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from autoopt.errors import UntraceableError
from autoopt.precision import quantizable
from autoopt.runtimes.artifact import Port

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram


_STANDARD = sysconfig.get_paths()["stdlib"]


TRACING_FAILS = (
    RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError,
)  # fmt: skip
"""What torch raises over a network that it cannot trace; most of its own errors are among them."""


class Traceable(Protocol):
    """What tracing takes from a task."""

    @property
    def example(self) -> tuple[torch.Tensor, ...]:
        """One request."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return the network with its positional face."""


@dataclass(frozen=True)
class Exported:
    """A network traced once; all float32 builds of it can start from here.

    Attributes
    ----------
    program
        What `torch.export.export` gave.
    fixed
        The only number of samples that it takes, or None where any number will do.
    inputs, output
        Names, element types and sizes.
    layers
        The parameters that can be brought to few bits, by their names in the network.
    """

    program: ExportedProgram
    fixed: int | None
    inputs: tuple[Port, ...]
    output: Port
    layers: frozenset[str] = frozenset()
    _forms: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def form(self, name: str, convert: Callable[[Exported], Any]) -> Any:
        """Return this network in a runtime's own form, converted once; copy before changing it.

        A conversion takes seconds, and every precision of a network starts from the same one.
        """
        if name not in self._forms:
            self._forms[name] = convert(self)
        return self._forms[name]

    def converted(self, name: str) -> Any:
        """Return what `form` made under a name before, or None."""
        return self._forms.get(name)


def export_program(network: nn.Module, task: Traceable) -> Exported:
    """Trace a network with any number of samples, or with the request's where it must be fixed.

    Raises
    ------
    UntraceableError
        If torch cannot trace it at all.
    """
    import torch

    module = task.wrapped(network).eval()
    # One sample would be taken for a constant.
    example = tuple(torch.cat([x, x]) if len(x) == 1 else x for x in task.example)
    # A copy: an exported program shares memory with what it is given.
    example = tuple(x.detach().clone() for x in example)
    batch = torch.export.Dim("batch", min=1)
    fixed = None
    with torch.no_grad(), _quiet_recurrence():
        try:
            program = torch.export.export(
                module, example, dynamic_shapes=_axes(module, len(example), {0: batch})
            )
        except TRACING_FAILS:
            example, fixed = tuple(x.detach().clone() for x in task.example), len(task.example[0])
            try:
                program = torch.export.export(module, example)
            except TRACING_FAILS as error:
                raise UntraceableError(
                    f"torch.export cannot trace this network ({_first_line(error)})"
                    f"{_broken_at(error)}; rewrite what depends on the values of tensors."
                ) from error
        output = module(*example)
    names = task.input_names
    return Exported(
        program=program,
        fixed=fixed,
        inputs=tuple(_port(name, x) for name, x in zip(names, example, strict=True)),
        output=_port("output", output),
        layers=frozenset(
            name if weight.recurrent else f"{name}.{weight.parameter}".lstrip(".")
            for name, weight in quantizable(network).items()
        ),
    )


@contextmanager
def _quiet_recurrence() -> Iterator[None]:
    """Silence torch's warning that recurrent layers lay their own weights out while they run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The tensor attributes .*_flat_weights")
        yield


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a `.pt2` without pickles, sample inputs or the author's paths and stack traces."""
    import torch

    from autoopt.runtimes.pt2 import IGNORED, MODEL, pack_archive, without_traces

    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(buffer) as archive:
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if not IGNORED.fullmatch(name):
                members[name] = archive.read(info)
    members[MODEL] = _compact(members[MODEL], without_traces)
    path.write_bytes(pack_archive(members))


def _compact(content: bytes, change: Any) -> bytes:
    return json.dumps(change(json.loads(content)), separators=(",", ":")).encode()


def _axes(module: nn.Module, count: int, axis: dict[int, Any]) -> Any:
    """Return dynamic shapes for `count` positional inputs, whether or not `forward` is variadic."""
    parameters = inspect.signature(module.forward).parameters.values()
    variadic = any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters)
    axes = tuple(axis for _ in range(count))
    return (axes,) if variadic else axes


def _port(name: str, tensor: torch.Tensor) -> Port:
    return Port(name, str(tensor.dtype).removeprefix("torch."), (None, *map(int, tensor.shape[1:])))


def _broken_at(error: BaseException) -> str:
    """Return the person's own line that ended the trace, or nothing if only libraries show."""
    ours = str(Path(__file__).parents[1])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename
        foreign = "site-packages" in file or "dist-packages" in file or file.startswith("<")
        if not foreign and not file.startswith((ours, _STANDARD)):
            return f" at {Path(file).name}:{frame.lineno}, `{frame.line}`"
    return ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
