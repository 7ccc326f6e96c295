"""What techniques, runtimes, targets and objectives owe to the rest, and the requests they share.

Implementations live one a file in `techniques/`, `runtimes/`, `targets/` and `objectives/`; each
folder's table names them (``name -> "module:Class"``), so that listing imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from autoopt.errors import UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from autoopt.measurement import Stat
    from autoopt.plan import Edit
    from autoopt.task import Task

    Array = npt.NDArray[np.generic]
else:
    Array = object


def load_class(kind: str, package: str, table: Mapping[str, str], name: str) -> Any:
    """Return the class that a table names, importing its module now.

    Raises
    ------
    UnknownNameError
        If the table does not hold `name`.
    """
    if name not in table:
        raise UnknownNameError(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(f"{package}.{module}"), attribute)


@dataclass(frozen=True)
class Quantization:
    """A request for precision that each runtime realises with its own kernels.

    Attributes
    ----------
    name
        ``"float32"``, ``"bfloat16"``, ``"float16"``; ``"static"`` and ``"dynamic"`` compute in
        integers; ``"weight_only"``, ``"codebook"`` and ``"binary"`` store weights in few bits and
        compute in float. By torchao: ``"fp8"`` computes in floats of 8 bits, ``"fp8_weights"``
        stores in them, and ``"int4"`` has kernels that unpack 4 bits.
    bits
        Bits a weight takes: 32, 16, 8, 4, 2 or 1; of a codebook those of its clusters.
    granularity
        ``"per_tensor"``, ``"per_channel"`` or ``"per_group"`` scales of the weights.
    keep
        What becomes of the first and the last layer: ``"none"`` (nothing special),
        ``"first_last"`` (they stay in float) or ``"first_last_int8"`` (weights in 8 bits).
    scheme
        Weights on a ``"symmetric"`` or an ``"affine"`` grid.
    group
        Weights that share a scale, with ``"per_group"``.
    clusters
        Entries of the codebook.
    calibration
        How ranges of activations are found: ``"minmax"``, ``"percentile"``, ``"mse"`` or
        ``"entropy"``.
    percentile
        Percent of the values that a ``"percentile"`` range holds.
    weight_ranges
        The same for weights that are stored in few bits: which of them the grid covers. With
        ``"usual"`` those of least squared error on symmetric grids of 4 bits and fewer, else all.
    activations
        Activations on an ``"affine"`` or a ``"symmetric"`` grid.
    share
        Share of the layers that stay at a higher precision, from 0 to 1.
    raised
        Bits of these layers.
    order
        Which these are: the ``"sensitivity"`` of a profile, or the ``"front"`` or the ``"back"``
        of the network.
    mean_bits
        Bits that a weight may take on average, with what turns codes into numbers: those of each
        layer are found by an integer program on a profile. 0 for none.
    layers
        Bits of layers, or of all layers of a block, by their names; what is not named takes `bits`.
        32 means float.
    """

    name: str = "float32"
    bits: int = 32
    granularity: str = "per_channel"
    keep: str = "none"
    scheme: str = "symmetric"
    group: int = 0
    clusters: int = 0
    calibration: str = "minmax"
    percentile: float = 99.99
    weight_ranges: str = "usual"
    activations: str = "affine"
    share: float = 0.0
    raised: int = 32
    order: str = "sensitivity"
    mean_bits: float = 0.0
    layers: tuple[tuple[str, int], ...] = ()

    @property
    def stores(self) -> bool:
        """Say whether weights are stored in few bits while computation stays in float."""
        return self.name in {"weight_only", "codebook", "binary"}


@dataclass(frozen=True)
class Parallel:
    """How a request is spread over the processor.

    Attributes
    ----------
    threads
        Threads of all replicas together.
    replicas
        Copies that answer parts of a request at the same time.
    batch
        Samples in one call of the runtime; 0 shares the whole request evenly among the replicas.
    inter_op
        Operators of one replica that may run at the same time, where the network has branches.
    processes
        Whether each replica is a process of its own.
    pinned
        Whether the process of each replica is bound to cores of its own.
    gather
        Samples up to which requests that arrive at the same time are answered together; 0 for
        each on its own.
    delay_ms
        Milliseconds that the first of these waits for others.
    stages
        Processes that each hold some of the operators, one after the other: parts of a request
        stream through them (pipeline parallel).
    shards
        Processes that each hold a part of every layer and exchange results (tensor parallel).
    """

    threads: int
    replicas: int = 1
    batch: int = 0
    inter_op: int = 1
    processes: bool = False
    pinned: bool = False
    gather: int = 0
    delay_ms: float = 0.0
    stages: int = 1
    shards: int = 1

    def __post_init__(self) -> None:
        """Hold the bounds."""
        if self.threads < 1 or self.replicas < 1 or self.batch < 0 or self.inter_op < 1:
            raise ValueError(
                "`threads >= 1`, `replicas >= 1`, `batch >= 0` and `inter_op >= 1` must hold, but "
                f"got (threads={self.threads}, replicas={self.replicas}, batch={self.batch}, "
                f"inter_op={self.inter_op})."
            )
        if min(self.stages, self.shards) < 1 or self.divided > max(self.stages, self.shards):
            raise ValueError(
                "`stages >= 1` and `shards >= 1` must hold, and one of them be 1, but got "
                f"(stages={self.stages}, shards={self.shards})."
            )
        if self.divided > 1 and (self.replicas > 1 or self.processes or self.inter_op > 1):
            raise ValueError(
                "a network that is divided into stages or shards runs once, in as many processes, "
                f"but got (replicas={self.replicas}, processes={self.processes}, "
                f"inter_op={self.inter_op})."
            )
        if self.pinned and not (self.processes or self.divided > 1):
            raise ValueError("only what runs in processes of its own can be `pinned`.")
        if self.gather < 0 or not 0 <= self.delay_ms < 1e6 or (self.delay_ms and not self.gather):
            raise ValueError(
                "`gather >= 0` and `0 <= delay_ms < 1e6` must hold, and a delay needs something "
                f"to gather, but got (gather={self.gather}, delay_ms={self.delay_ms})."
            )

    @property
    def divided(self) -> int:
        """Processes that hold one network among them."""
        return self.stages * self.shards

    @property
    def processes_needed(self) -> int:
        """Processes that serve: replicas, stages or shards."""
        return self.divided if self.divided > 1 else self.replicas

    @property
    def share(self) -> int:
        """Threads of one replica, stage or shard."""
        return max(1, self.threads // self.processes_needed)


@runtime_checkable
class Technique(Protocol):
    """A frozen dataclass of the network stage; its fields are the settings."""

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say beforehand why this cannot be done, or None."""

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a changed copy of `model`, which itself stays as it was."""


@runtime_checkable
class StructuralTechnique(Protocol):
    """A technique whose whole effect is a list of edits, so that a cache can replay it."""

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say beforehand why this cannot be done, or None."""

    def edits(self, model: nn.Module, task: Task) -> tuple[Edit, ...]:
        """Return the edits to replay on `model`, which itself stays as it was."""


@runtime_checkable
class RewritingTechnique(Protocol):
    """A technique that changes weights, and maybe shapes by edits that a cache can replay.

    The weights are saved whole, so that nothing is computed again when the network is loaded. One
    that trains says so by an attribute or a property ``trains``.
    """

    def refuse(self, task: Task, target: Target) -> str | None:
        """Say beforehand why this cannot be done, or None."""

    def rewrite(self, model: nn.Module, task: Task) -> tuple[nn.Module, tuple[Edit, ...]]:
        """Return a changed copy and the edits that lead to its shapes; `model` stays as it was."""

    def apply(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the changed copy alone."""


class Deployment(Protocol):
    """A running artefact."""

    def __call__(self, *inputs: Array) -> Array:
        """Answer one request: arrays whose first axis is samples, in the order of the inputs."""

    def close(self) -> None:
        """Give threads and memory back."""


class Runtime(Protocol):
    """Builds files from a network and runs them."""

    def refuse(self, request: Quantization, task: Task, target: Target) -> str | None:
        """Say beforehand why this runtime cannot realise the request here, or None."""

    def build(
        self,
        network: nn.Module,
        request: Quantization,
        task: Task,
        folder: Path,
        *,
        exported: Any = None,
        device: str = "cpu",
    ) -> Mapping[str, Any]:
        """Write the artefact's files into `folder` (which exists); return what was realised.

        `exported` is the network traced before, to save doing it again; `device` is torch's name
        of where it will run. What refuses all but the processor is never given another.
        """

    def load(self, folder: Path, parallel: Parallel) -> Deployment:
        """Start what `build` wrote; must not need torch unless the format does."""

    def abilities(self, target: Target) -> Mapping[str, str]:
        """Return precision to ``"computes"`` or why it does not, as the library itself says."""


class Target(Protocol):
    """A machine or device that candidates are measured on."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Return what the machine can do: processor, cores, instruction sets, memory."""


class Decoder(Protocol):
    """A language model that runs token after token, keeping keys and values of what it read."""

    def tokens(self, request: Sequence[Array]) -> Array:
        """Return the tokens of a request, of shape (texts, tokens)."""

    def prompt(self, tokens: Array) -> tuple[Array, Any]:
        """Read texts; return scores for every token, and what was kept."""

    def step(self, tokens: Array, past: Any) -> tuple[Array, Any]:
        """Read one more token of each text, of shape (texts, 1); `past` stays as it was."""


@dataclass(frozen=True)
class Probe:
    """What an objective may look at when it measures one deployed candidate.

    Attributes
    ----------
    deployment
        The running candidate.
    reference
        The original in eager float32, running in the same process; None while it is itself
        first loaded.
    request
        Arrays of one request (first axis: `request_size` samples of the validation part).
    parallel
        The candidate's parallel configuration.
    size_bytes
        Bytes of the artefact's model files.
    open
        Starts the same artefact under another parallel configuration.
    memory
        Measures the peak memory of a fresh process that serves the artefact.
    score
        Gives the task's metric of the deployment on a part, ``"validation"`` or ``"test"``.
    seconds
        Time that a timing objective may take.
    build_seconds
        What making the artefact's files took; None where it was not noted.
    decoder
        Starts the artefact's graphs for one token after the other; None where there are none.
    network
        Gives what the artefact was built from, as a function of positional tensors; None where it
        is not at hand.
    device_memory
        Measures what a device holds in serving; None of it where there is no device.
    """

    deployment: Deployment
    reference: Deployment | None
    request: Sequence[Array]
    parallel: Parallel
    size_bytes: int
    open: Callable[[Parallel], Deployment]
    memory: Callable[[], Stat]
    score: Callable[[str], Stat]
    seconds: float = 1.0
    build_seconds: float | None = None
    decoder: Callable[[], Decoder] | None = None
    network: Callable[[], nn.Module] | None = None
    device_memory: Callable[[], Stat | None] | None = None


@dataclass(frozen=True)
class Reading:
    """One objective's figure with its raw samples.

    `speedup` and `reference_ms` come from objectives that time against the reference; `protocol`
    says how it was measured, in plain values.
    """

    stat: Stat
    speedup: Stat | None = None
    reference_ms: float | None = None
    samples: Mapping[str, list[list[float]]] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)


class Objective(Protocol):
    """Something to minimise or maximise.

    One that has an attribute ``exclusive = True`` is measured while nothing else is on the device;
    one that cannot be measured on every machine has a method ``refuse() -> str | None``, one that
    is not for every task ``refuse_task(task) -> str | None``. One with ``decodes = True`` needs
    language models that run token after token, for which artefacts are built with more graphs.
    """

    @property
    def name(self) -> str:
        """Under which it is searched, constrained and shown."""

    @property
    def unit(self) -> str:
        """Of its figure, or nothing."""

    @property
    def direction(self) -> str:
        """``"minimize"`` or ``"maximize"``."""

    def measure(self, probe: Probe) -> Reading:
        """Measure one deployed candidate."""
