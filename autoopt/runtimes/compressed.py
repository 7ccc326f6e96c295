"""Model files stored compressed: what zeros are worth where no kernel skips them.

The files of a network with many zeros are written through gzip and unpacked whenever the artefact
is loaded, by every runtime and by the `predict.py` of an export. The network is not faster for it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from autoopt.errors import ArtifactError
from autoopt.runtimes.artifact import Manifest, write_manifest
from autoopt.runtimes.manifest_rules import PACKED, plain_name
from autoopt.zeros import zero_share

if TYPE_CHECKING:
    from torch import nn

# Below this share of zeros compression is not worth its time: dense weights hardly shrink.
FEWEST_ZEROS = 0.3
# Files that stay above this share of their size are left as they are.
LARGEST_SHARE = 0.8
# Level 6 is within 3 % of what slower codecs reach on sparse weights.
LEVEL = 6
CHUNK = 1 << 20


def store_compactly(folder: Path, manifest: Manifest, network: nn.Module) -> Manifest:
    """Compress the files of an artefact whose network has many zeros, if that saves a fifth.

    Returns
    -------
    Manifest
        As it stands in the folder afterwards. Where the network has many zeros, `realised` says
        which share, and that it is worth storage only.
    """
    zeros = zero_share(network)
    if zeros < FEWEST_ZEROS:
        return manifest
    # A precision that computes faster is no storage-only one, whatever its zeros are.
    idle = manifest.realised["precision"] == "float32"
    realised = {
        **manifest.realised,
        "zeros": round(zeros, 4),
        "zeros_realised": "storage only",
        "storage_only": manifest.realised.get("storage_only", False) or idle,
    }
    manifest = replace(manifest, realised=realised)
    sizes = {name: (folder / name).stat().st_size for name in manifest.files}
    packed = {name: gzip.compress((folder / name).read_bytes(), LEVEL, mtime=0) for name in sizes}
    if sum(map(len, packed.values())) > LARGEST_SHARE * sum(sizes.values()):
        return write_manifest(folder, manifest, manifest.files)
    for name, content in packed.items():
        (folder / f"{name}{PACKED}").write_bytes(content)
    manifest = replace(
        manifest,
        model=f"{manifest.model}{PACKED}",
        options={**manifest.options, "unpacked": sizes},
    )
    written = write_manifest(folder, manifest, [f"{name}{PACKED}" for name in packed])
    for name in packed:
        (folder / name).unlink()
    return written


@contextmanager
def model_file(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Give the file that the runtime opens, with its companions beside it, unpacked if need be.

    Raises
    ------
    ArtifactError
        If a compressed file is damaged, or larger than the artefact says.
    """
    if not manifest.model.endswith(PACKED):
        yield folder / manifest.model
        return
    with TemporaryDirectory(prefix="autoopt-") as scratch:
        for name in manifest.files:
            plain = plain_name(name)
            size = manifest.options.get("unpacked", {}).get(plain, 0)
            _unpack(folder / name, Path(scratch) / plain, size)
        yield Path(scratch) / plain_name(manifest.model)


def _unpack(source: Path, target: Path, size: int) -> None:
    """Unpack one file of that size; a file that unpacks to another is not what was written."""
    written = 0
    try:
        with gzip.open(source) as packed, target.open("wb") as plain:
            while chunk := packed.read(CHUNK):
                written += len(chunk)
                if written > size:
                    break
                plain.write(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(
            f"{source.name!r} cannot be unpacked ({error}); export again."
        ) from error
    if written != size:
        raise ArtifactError(
            f"{source.name!r} must unpack to {size:,} bytes, but holds "
            f"{'more' if written > size else f'{written:,}'}; export again."
        )
