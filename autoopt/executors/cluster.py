"""A Dask cluster: how to reach it, what its workers are like, and whether they can serve."""

from __future__ import annotations

import hashlib
import platform
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.errors import SearchError

if TYPE_CHECKING:
    from distributed import Client

MEASURE = "measure"
"""Name of the worker, or of the resource label of the workers, that measures."""

MUST_AGREE = ("torch", "torch-pruning", "nncf", "openvino", "onnx", "onnxruntime", "numpy",
              "cloudpickle", "distributed")  # fmt: skip
"""Libraries that decide about what is built, measured or sent."""


@dataclass(frozen=True)
class Cluster:
    """What reaches a cluster from another process; the client itself cannot travel.

    Attributes
    ----------
    address
        Of the scheduler.
    security
        What the client was given to encrypt what it sends, or None.
    """

    address: str
    security: Any = None


@dataclass(frozen=True, order=True)
class Member:
    """One worker.

    Attributes
    ----------
    host
        Its machine: what runs on one host shares it.
    name, address
        As the scheduler knows them.
    measures
        Whether it was named or labelled for measuring.
    """

    host: str
    name: str
    address: str
    measures: bool = False


@dataclass(frozen=True)
class Division:
    """Who trains and who measures.

    Attributes
    ----------
    measuring
        The one worker on which everything is measured; None while there is none.
    training
        The workers that train.
    apart
        Whether nothing is trained on the machine that measures.
    """

    measuring: Member | None
    training: tuple[Member, ...]

    @property
    def apart(self) -> bool:
        """Whether nothing is trained on the machine that measures."""
        lane = self.measuring
        return lane is not None and all(member.host != lane.host for member in self.training)

    @classmethod
    def of(cls, members: Iterable[Member], host: str = "") -> Division:
        """Divide workers: one measures, the others train, on other machines where there are any.

        Parameters
        ----------
        members
            All workers that can serve.
        host
            The machine that measures; the one of the first worker that can when empty.
        """
        known = sorted(members)
        labelled = [member for member in known if member.measures]
        lanes = [m for m in labelled or known if host in ("", m.host)]
        # A machine whose label went with its worker measures on: figures of one search compare.
        lanes = lanes or [m for m in known if m.host == host]
        lane = lanes[0] if lanes else None
        free = [member for member in known if not member.measures] or known
        elsewhere = tuple(m for m in free if m.host != (lane.host if lane else host))
        return cls(lane, elsewhere or tuple(free))

    def __str__(self) -> str:
        """Say who does what."""
        hosts = len({member.host for member in self.training})
        machines = f"{hosts} machine{'s' if hosts > 1 else ''}"
        lane = f"{self.measuring.name} on {self.measuring.host}" if self.measuring else "nobody"
        how = "beside training elsewhere" if self.apart else "while nothing is trained"
        return f"cluster: {len(self.training)} workers on {machines} train, {lane} measures, {how}"


def connect(cluster: Cluster) -> Client:
    """Return a client of this process's own.

    Raises
    ------
    SearchError
        If distributed is missing or the scheduler does not answer.
    """
    try:
        from distributed import Client

        return Client(
            cluster.address, security=cluster.security, set_as_default=False, name="autoopt"
        )
    except ImportError as error:
        raise SearchError(
            "a search on a cluster needs distributed: pip install 'autoopt[cluster]'"
        ) from error
    except (OSError, TimeoutError) as error:
        raise SearchError(
            f"the scheduler of the cluster at {cluster.address} does not answer ({error}): start "
            "it, then go on with autoopt.resume(..., client=...)"
        ) from error


def members(client: Client) -> dict[str, Member]:
    """Return the workers that the scheduler knows, by address.

    Raises
    ------
    SearchError
        If the scheduler does not answer.
    """
    try:
        if client.scheduler is None:
            raise OSError(f"the client is {client.status}")
        # Not client.scheduler_info: where nobody answers, that gives what it last heard.
        workers = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
    except (OSError, TimeoutError, RuntimeError) as error:
        raise SearchError(
            f"the scheduler of the cluster is gone ({error}): start a cluster, then go on with "
            "autoopt.resume(..., client=...)"
        ) from error
    return {
        address: Member(
            host=str(said["host"]),
            name=str(said["name"]),
            address=address,
            measures=said["name"] == MEASURE or said.get("resources", {}).get(MEASURE, 0) > 0,
        )
        for address, said in workers.items()
    }


def unfit(client: Client, addresses: Collection[str], cache: Path) -> dict[str, str]:
    """Return why workers cannot serve: what they lack or have in another version, by address.

    Parameters
    ----------
    client, addresses
        The workers in question.
    cache
        Folder that all of them must share.
    """
    token = f".shared-{uuid.uuid4().hex}"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        (cache / token).touch()
        answers = client.run(
            describe, str(cache / token), workers=list(addresses), on_error="return"
        )
    finally:
        (cache / token).unlink(missing_ok=True)
    here = describe(str(cache))
    found = {}
    for address in addresses:
        if reason := _reason(answers.get(address), here, cache):
            found[address] = reason
    return found


def describe(shared: str) -> dict[str, str]:
    """Return versions of this process, and whether it sees a path."""
    versions = {"python": platform.python_version(), "autoopt": _own_code()}
    for name in MUST_AGREE:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {**versions, "shared": "yes" if Path(shared).exists() else "no"}


def _reason(there: object, here: Mapping[str, str], cache: Path) -> str:
    if isinstance(there, ModuleNotFoundError):
        return f"{there}: install the same autoopt there"
    if not isinstance(there, dict):
        return f"it did not answer: {there!r}"
    differing = [
        f"{name} {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
        for name in sorted({*there, *here} - {"shared"})
        if there.get(name) != here.get(name)
    ]
    if differing:
        return f"{', '.join(differing)}: install the same versions"
    if there["shared"] != "yes":
        return (
            f"it does not see the cache {cache}: put it on a folder that all machines share, by "
            "cache=... or AUTOOPT_CACHE"
        )
    return ""


def _own_code() -> str:
    """Return the version of this package and a hash of its code, which decides about cache keys."""
    found = find_spec("autoopt")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("autoopt")
    files = sorted(Path(found.origin).parent.rglob("*.py"))
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{version('autoopt')} ({code[:8]})"
