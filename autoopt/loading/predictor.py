"""Load an exported folder: numpy and the runtime of its artefact are all that is needed."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.devices import PlacedDeployment
from autoopt.errors import ArtifactError, RefusedError
from autoopt.interfaces import Parallel
from autoopt.loading.benchmark import (
    MEASURED,
    Benchmark,
    machine_differs,
    measured,
    reported_latency,
    time_call,
)
from autoopt.objectives.clock import ready as prepared
from autoopt.objectives.timing import Clock, wall_seconds
from autoopt.runtimes import RUNTIMES, package_of
from autoopt.runtimes.artifact import (
    Manifest,
    Port,
    changed_texts,
    read_manifest,
    verify_files,
)
from autoopt.runtimes.opening import open_artifact

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from autoopt.interfaces import Array, Deployment


class Predictor:
    """An exported strategy, loaded: call it with arrays or tensors, it answers with an array.

    Parameters
    ----------
    manifest
        What the artefact says about itself.
    deployment
        The running artefact.
    parallel
        How requests are spread.
    measured
        What the export says was measured.
    """

    def __init__(
        self,
        manifest: Manifest,
        deployment: Deployment,
        parallel: Parallel,
        measured: Mapping[str, Any] | None = None,
    ) -> None:
        self._manifest = manifest
        self._measured = measured or {}
        self._deployment = deployment
        self._parallel = parallel

    def __call__(self, *arrays: Any, **named: Any) -> Array:
        """Answer one request.

        Parameters
        ----------
        *arrays, **named
            One array or tensor an input, in order or by the names in `inputs`; the first axis is
            samples.

        Returns
        -------
        numpy.ndarray
            The network's raw outputs, first axis samples.

        Raises
        ------
        ValueError
            If inputs are missing, unknown, or of a shape, type or range that the artefact does not
            take.

        Notes
        -----
        Any number of samples is answered, whatever the artefact was built for; other numbers may
        take longer (`Manifest.options`).
        """
        return self._deployment(*self._fitted(self._in_order(arrays, named)))

    def _fitted(self, values: Sequence[Any]) -> list[Array]:
        """Return a request's values in the types and shapes that the artefact takes."""
        ports = self._manifest.inputs
        ready = [_fit(value, port) for value, port in zip(values, ports, strict=True)]
        lengths = {port.name: len(array) for array, port in zip(ready, ports, strict=True)}
        if len(set(lengths.values())) != 1 or not len(ready[0]):
            raise ValueError(
                "all inputs must have the same number of samples, at least one, along their first "
                f"axis, but got {lengths}."
            )
        return ready

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Names, element types and shapes of what goes in; None is the number of samples."""
        return self._manifest.inputs

    @property
    def output(self) -> Port:
        """Element type and shape of what comes out."""
        return self._manifest.output

    def benchmark(self, *arrays: Any, seconds: float = 2.0, **named: Any) -> Benchmark:
        """Time one request here and put it beside what the report says.

        Parameters
        ----------
        *arrays, **named
            A request; zeros of the size of the search's requests when absent. One of another size
            is timed, but not compared.
        seconds
            How long to measure.

        Raises
        ------
        ValueError
            If the request does not fit, or `seconds` is not positive and finite.
        """
        if not 0 < seconds < math.inf:
            raise ValueError(f"`seconds` must be positive and finite, but got {seconds!r}")
        ready = self._in_order(arrays, named) if arrays or named else self._zeros()
        call: Callable[[], object] = partial(self, *ready)
        clock: Clock = wall_seconds
        if isinstance(self._deployment, PlacedDeployment):
            # As the report's latency: the request lies on the device before.
            call, clock = prepared(self._deployment, self._fitted(ready))
        latency = time_call(call, seconds=seconds, clock=clock)
        return Benchmark(
            samples=len(ready[0]),
            latency=latency,
            reported=reported_latency(self._measured),
            differs=machine_differs(self._measured),
            reported_samples=self._measured.get("request_size"),
        )

    def _zeros(self) -> list[Array]:
        """Return a request of zeros: integers may be codes, of which only 0 is surely known."""
        samples = self._measured.get("request_size") or self._manifest.options["request"]
        return [
            np.zeros([samples if size is None else size for size in port.shape], port.dtype)
            for port in self.inputs
        ]

    def close(self) -> None:
        """Give threads and memory back."""
        self._deployment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        inputs = ", ".join(f"{port.name}: {port.dtype}{_shape(port)}" for port in self.inputs)
        return (
            f"Predictor({inputs} -> {self.output.dtype}{_shape(self.output)}; "
            f"{self._manifest.runtime}, {self._manifest.realised.get('precision', 'unknown')}; "
            f"{_spread(self._parallel)})"
        )

    def _in_order(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        names = [port.name for port in self._manifest.inputs]
        given = dict(zip(names, arrays, strict=False))
        doubled = given.keys() & named.keys()
        unknown = named.keys() - set(names)
        values = {**given, **named}
        if len(arrays) > len(names) or doubled or unknown or len(values) != len(names):
            raise ValueError(
                f"the inputs are {', '.join(names)}, each given once, in order or by name, but got "
                f"{len(arrays)} in order and {sorted(named) or 'none'} by name."
            )
        return [values[name] for name in names]


def load(folder: str | os.PathLike[str], *, trust_code: bool = False) -> Predictor:
    """Load an exported strategy; nothing in the folder is unpickled or executed.

    Parameters
    ----------
    folder
        What `strategy.export` wrote.
    trust_code
        Let a `.pt2` file run what it holds (pickles, native code); only for files whose origin
        you trust.

    Returns
    -------
    Predictor
        Call it with arrays; close it, or use it in a ``with`` block, when done.

    Raises
    ------
    ArtifactError
        If the folder is damaged, foreign or not to be trusted, or its runtime is not installed.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    found = measured(path, manifest.texts.get(MEASURED))
    if changed := changed_texts(path, manifest):
        warnings.warn(
            f"in {str(path)!r} missing or not as exported: {', '.join(changed)}; the model itself "
            "is, so it answers as it did.",
            stacklevel=2,
        )
    if differs := machine_differs(found):
        warnings.warn(
            f"{str(path)!r} was measured on another machine, so its timings do not hold here "
            f"({'; '.join(differs)}); `.benchmark()` measures again.",
            stacklevel=2,
        )
    parallel = _parallel(path, manifest)
    return load_artifact(path, parallel, trust_code=trust_code, measured=found)


def load_artifact(
    folder: Path,
    parallel: Parallel,
    *,
    trust_code: bool = False,
    measured: Mapping[str, Any] | None = None,
    cores: Sequence[int] = (),
    network: Callable[[], nn.Module] | None = None,
) -> Predictor:
    """Load what a runtime's `build` wrote, or an export, spreading requests as told.

    Pinned replica processes take the first of `cores`; `network` is as in `open_artifact`.

    Raises
    ------
    ArtifactError
        As `load`.
    """
    manifest = read_manifest(folder)
    if manifest.runtime not in RUNTIMES:
        raise ArtifactError(
            f"{str(folder)!r} asks for the runtime {manifest.runtime!r}; known: "
            f"{', '.join(sorted(RUNTIMES))}. Install the autoopt that exported it."
        )
    verify_files(folder, manifest)
    try:
        deployment = open_artifact(
            folder, parallel, trust_code=trust_code, cores=cores, network=network
        )
    except ModuleNotFoundError as error:
        package = package_of(manifest.runtime)
        raise ArtifactError(
            f"this artefact runs in {manifest.runtime!r}, but {error.name!r} is not installed; "
            f"pip install {package}."
        ) from error
    except RefusedError as error:
        raise ArtifactError(f"{str(folder)!r} cannot be served here: {error}") from error
    return Predictor(manifest, deployment, parallel, measured)


def _parallel(path: Path, manifest: Manifest) -> Parallel:
    default = {"threads": manifest.options.get("threads", 1)}
    try:
        return Parallel(**manifest.options.get("parallel", default))
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{str(path)!r} garbles how to spread requests ({error}).") from error


def _fit(value: Any, port: Port) -> Array:
    """Return an array or tensor as the contiguous array that an input takes."""
    # Tensors are recognised by what they can do, so that torch need not be installed.
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"input {port.name!r} must be numbers, but got dtype {array.dtype}.")
    if array.ndim != len(port.shape) or any(
        expected is not None and size != expected
        for size, expected in zip(array.shape, port.shape, strict=False)
    ):
        raise ValueError(
            f"input {port.name!r} must be of shape {_shape(port)}, but got {array.shape}."
        )
    wanted = np.dtype(port.dtype)
    if array.dtype.kind == "f" and wanted.kind in "iub":
        raise ValueError(
            f"input {port.name!r} takes {wanted}, but got {array.dtype}; convert it knowingly."
        )
    if array.dtype.kind != "f" and wanted.kind in "iub" and not np.can_cast(array.dtype, wanted):
        _check_range(array, wanted, port)
    return np.ascontiguousarray(array, dtype=wanted)


def _check_range(array: Array, wanted: np.dtype[Any], port: Port) -> None:
    """Refuse integers that would wrap around in a smaller type."""
    low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        raise ValueError(
            f"input {port.name!r} takes {wanted}, from {low} to {high}, but got values from "
            f"{int(array.min())} to {int(array.max())}."
        )


def _spread(parallel: Parallel) -> str:
    """Return in words how requests are spread; what is as usual is left out."""
    copies = "processes" if parallel.processes else "replicas"
    words = [f"{parallel.threads} threads", f"{parallel.replicas} {copies}"]
    if parallel.divided > 1:
        words[1] = f"{parallel.divided} {'stages' if parallel.stages > 1 else 'shards'}"
    words += [f"batch {parallel.batch}"] if parallel.batch else []
    words += [f"{parallel.inter_op} operators at a time"] if parallel.inter_op > 1 else []
    words += ["pinned"] if parallel.pinned else []
    if parallel.gather:
        words.append(f"gathers {parallel.gather} samples in {parallel.delay_ms:g} ms")
    return ", ".join(words)


def _shape(port: Port) -> str:
    return "(" + ", ".join("N" if size is None else str(size) for size in port.shape) + ")"
