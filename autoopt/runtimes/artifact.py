"""An artefact on disk: the model files and the `artifact.json` that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from autoopt.errors import ArtifactError
from autoopt.runtimes.manifest_rules import (
    LIVE,
    broken_file,
    broken_option,
    broken_port,
    plain_name,
)

FORMAT = 1
NAME = "artifact.json"


@dataclass(frozen=True)
class Port:
    """One input or the output of an artefact.

    Attributes
    ----------
    name
        Name that a request may use.
    dtype
        NumPy name of the element type.
    shape
        Sizes; None where it is the number of samples.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Manifest:
    """What `artifact.json` holds.

    Attributes
    ----------
    runtime
        Name of the runtime that made the files and loads them.
    model
        File that the runtime opens.
    inputs, output
        What goes in, in order, and what comes out.
    options
        What loading needs to know: ``request`` (samples of the request it was built for),
        ``threads``, ``batch`` (the only number of samples that the files take, or None), and the
        runtime's own. Requests of every other size are answered the same, only slower: what takes
        one number of samples fills up, what is compiled for some falls back on operators.
    realised
        What the runtime really did with the request for precision.
    files
        Name to SHA-256 of every model file.
    texts
        Name to SHA-256 of what an export says beside them: recipe, report, figures, script.
    """

    runtime: str
    model: str
    inputs: tuple[Port, ...]
    output: Port
    options: Mapping[str, Any] = field(default_factory=dict)
    realised: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def needs_model(manifest: Manifest) -> bool:
    """Say whether an artefact holds weights alone, which run by the model's own code only."""
    return plain_name(manifest.model).endswith(LIVE)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    folder: Path, manifest: Manifest, names: Iterable[str], texts: Iterable[str] = ()
) -> Manifest:
    """Write `artifact.json` with the checksums of model files and texts; return it completed.

    The file appears whole or not at all.
    """
    files, said = (
        {name: checksum(folder / name) for name in sorted(known)} for known in (names, texts)
    )
    data = {"format": FORMAT, **asdict(manifest), "files": files, "texts": said}
    partial = folder / f".{NAME}.partial"
    partial.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / NAME)
    return read_manifest(folder)


def read_manifest(folder: Path) -> Manifest:
    """Read `artifact.json` and refuse what is foreign, newer or points outside of its folder.

    Raises
    ------
    ArtifactError
        Saying which rule is broken.
    """
    path = folder / NAME
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(
            f"{str(folder)!r} holds no {NAME}; give a folder that `strategy.export` wrote."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{str(path)!r} is not JSON ({error}); export again.") from error
    if not isinstance(data, dict):
        raise ArtifactError(f"{str(path)!r} must hold an object, but got {type(data).__name__}.")
    version = data.get("format")
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{str(path)!r}: `format` must be a positive integer, got {version!r}.")
    if version > FORMAT:
        raise ArtifactError(
            f"{str(path)!r} is of format {version}, newer than {FORMAT}, the newest that this "
            "autoopt reads; install a newer autoopt."
        )
    manifest = _parse(path, data)
    _check_names(folder, manifest)
    _check_rules(folder, manifest)
    return manifest


def read_artifact(folder: Path) -> dict[str, Any]:
    """Return what `read_manifest` gives as plain values.

    Raises
    ------
    ArtifactError
        As `read_manifest`.
    """
    return asdict(read_manifest(folder))


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every model file with its checksum.

    Raises
    ------
    ArtifactError
        Naming the first file that differs.
    """
    for name, expected in manifest.files.items():
        found = checksum(folder / name)
        if found != expected:
            raise ArtifactError(
                f"the file {name!r} in {str(folder)!r} is not what was exported (SHA-256 "
                f"{found[:12]}… instead of {expected[:12]}…); copy or export it again."
            )


def changed_texts(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the texts of an export that are missing, links, or not as written."""
    return tuple(
        name
        for name, expected in manifest.texts.items()
        if (folder / name).is_symlink()
        or not (folder / name).is_file()
        or checksum(folder / name) != expected
    )


def artifact_size(folder: Path) -> int:
    """Return the bytes that the model files take on disk."""
    manifest = read_manifest(folder)
    return sum((folder / name).stat().st_size for name in manifest.files)


def _parse(path: Path, data: Mapping[str, Any]) -> Manifest:
    try:
        manifest = Manifest(
            runtime=data["runtime"],
            model=data["model"],
            inputs=tuple(_port(item) for item in data["inputs"]),
            output=_port(data["output"]),
            options=dict(data["options"]),
            realised=dict(data["realised"]),
            files=dict(data["files"]),
            # Neither artefacts nor older exports have any.
            texts=dict(data.get("texts", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{str(path)!r} lacks or garbles a field ({error!r}); export again."
        ) from error
    sums = {**manifest.texts, **manifest.files}
    names = [manifest.runtime, manifest.model, *sums, *sums.values(), *manifest.texts.values()]
    if not all(isinstance(name, str) for name in names) or manifest.model not in manifest.files:
        raise ArtifactError(
            f"{str(path)!r}: `model` must be one of `files`, which map names to checksums, but got "
            f"(model={manifest.model!r}, files={sorted(map(str, manifest.files))})."
        )
    return manifest


def _check_rules(folder: Path, manifest: Manifest) -> None:
    """Refuse options, ports and sets of files that no runtime writes."""
    ports = (*manifest.inputs, manifest.output)
    broken = [broken_port(port.name, port.dtype, port.shape) for port in ports]
    broken.append(broken_file(manifest.runtime, manifest.model, manifest.files))
    broken.append(broken_option(manifest.runtime, manifest.options))
    names = [port.name for port in manifest.inputs]
    if not names or len(set(names)) != len(names):
        broken.append(f"`inputs` must have names of their own, at least one, but got {names}")
    for rule in filter(None, broken):
        raise ArtifactError(f"{str(folder / NAME)!r}: {rule}; export again.")


def _port(data: Mapping[str, Any]) -> Port:
    return Port(str(data["name"]), str(data["dtype"]), tuple(data["shape"]))


def _check_names(folder: Path, manifest: Manifest) -> None:
    """Let nothing in the manifest reach outside of the folder."""
    for name in (*manifest.files, *manifest.texts):
        plain = PurePosixPath(name)
        if (
            plain.is_absolute()
            or len(plain.parts) != 1
            or name in {".", "..", NAME}
            or "\\" in name
        ):
            raise ArtifactError(
                f"{NAME} may only name files that lie beside it, but got {name!r}; do not use it."
            )
    for name in manifest.files:
        if (folder / name).is_symlink():
            raise ArtifactError(f"the file {name!r} in {str(folder)!r} is a link; do not use it.")
        if not (folder / name).is_file():
            raise ArtifactError(f"the file {name!r} is missing in {str(folder)!r}; export again.")
