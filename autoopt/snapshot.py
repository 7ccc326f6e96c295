"""Values on their way to other processes, with large tensors in a file that all of them map.

`dump` gives a payload that lives in memory only and a safetensors file beside it; `load` maps
that file privately: what a process writes into a tensor stays in that process. What is defined in
``__main__`` travels by value; what is importable only through the sender's ``sys.path`` is found
because that path travels too.

A payload is code: `load` runs it, so it must come from this program's own processes and never
from a file.
"""

from __future__ import annotations

import io
import json
import mmap
import pickle
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

if TYPE_CHECKING:
    from torch import UntypedStorage

# Smaller values travel in the payload.
LARGE_BYTES = 64 * 1024
# Width of the widest vector register: mapped tensors start where a fresh one would.
ALIGNMENT = 64


@dataclass(frozen=True)
class _Span:
    """Where a value lies in the file, in bytes from its start."""

    start: int
    size: int


@dataclass(frozen=True)
class _Payload:
    """What travels in memory.

    `storages` holds, for each tensor storage, its bytes or where they lie; `buffers` the same
    for NumPy arrays.
    """

    path: tuple[str, ...]
    file: str | None
    storages: tuple[_Span | bytes, ...]
    buffers: tuple[_Span, ...]
    body: bytes


def dump(value: Any, folder: Path) -> bytes:
    """Turn a value into a payload, and write its large tensors and arrays into `folder`.

    Tensors that share memory, tied parameters and views among them, share it after `load` too.

    Parameters
    ----------
    value
        Anything that cloudpickle takes.
    folder
        Exists; gets one safetensors file under a new name, or none if nothing is large.

    Raises
    ------
    pickle.PicklingError, TypeError
        If a part of the value cannot travel, such as an open file, a lock or a CUDA tensor.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(value)
    chunks = [memory for memory in pickler.storages if len(memory) >= LARGE_BYTES]
    chunks += pickler.buffers
    file, spans = _write(chunks, folder) if chunks else (None, [])
    order = iter(spans)
    storages = tuple(
        next(order) if len(memory) >= LARGE_BYTES else bytes(memory) for memory in pickler.storages
    )
    path = tuple(str(Path(entry or ".").absolute()) for entry in sys.path)
    return pickle.dumps(_Payload(path, file, storages, tuple(order), stream.getvalue()))


def check(value: Any) -> None:
    """Raise what `dump` would raise for a value that cannot travel; nothing is written.

    Raises
    ------
    pickle.PicklingError, TypeError
        As `dump`, and whatever the value's own way of being copied raises.
    """
    _Pickler(io.BytesIO()).dump(value)


def load(payload: bytes, folder: Path) -> Any:
    """Rebuild what `dump` was given.

    Parameters
    ----------
    payload
        What `dump` returned, from a process of this program.
    folder
        The same folder; its file may be deleted once this has returned.

    Notes
    -----
    Entries of the sender's ``sys.path`` that are missing here are appended to this process's.
    """
    content: _Payload = pickle.loads(payload)
    sys.path += [entry for entry in content.path if entry not in sys.path]
    mapped = _mapped(folder / content.file) if content.file else None
    buffers = [_cut(mapped, span) for span in content.buffers]
    return _Unpickler(content, mapped, buffers).load()


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """Takes tensor storages and large arrays out of the stream."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.storages: list[memoryview] = []
        self.buffers: list[memoryview] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[UntypedStorage] = []
        super().__init__(stream, protocol=5, buffer_callback=self._keep_inside)

    def persistent_id(self, value: Any) -> tuple[int, Any, int] | None:
        """Return a number for a tensor's storage; all else goes into the stream."""
        # Where torch was never imported there are no tensors.
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.storage.TypedStorage):
            return None
        storage = value._untyped_storage
        if storage.device.type != "cpu":
            raise pickle.PicklingError(
                f"only tensors on the CPU can travel, but got one on {storage.device}. Move it "
                "with .cpu() first."
            )
        # Storages, not tensors: views and tied weights are one storage.
        number = self._numbers.get(storage._cdata)
        if number is None:
            number = len(self.storages)
            self._numbers[storage._cdata] = number
            self._alive.append(storage)
            self.storages.append(_bytes_of(storage))
        return number, value.dtype, storage.nbytes()

    def _keep_inside(self, buffer: pickle.PickleBuffer) -> bool:
        memory = buffer.raw()
        if len(memory) < LARGE_BYTES:
            return True
        self.buffers.append(memory)
        return False


class _Unpickler(pickle.Unpickler):
    """Gives storages back, each once."""

    def __init__(
        self, content: _Payload, mapped: mmap.mmap | None, buffers: Sequence[memoryview]
    ) -> None:
        super().__init__(io.BytesIO(content.body), buffers=buffers)
        self._content = content
        self._mapped = mapped
        self._made: dict[int, UntypedStorage] = {}

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage of a number, as a typed one."""
        import torch

        number, dtype, size = pid
        if number not in self._made:
            found = self._content.storages[number]
            if not size:
                self._made[number] = torch.UntypedStorage(0)
            elif isinstance(found, bytes):
                own = torch.frombuffer(bytearray(found), dtype=torch.uint8).clone()
                self._made[number] = own.untyped_storage()
            else:
                view = torch.frombuffer(_cut(self._mapped, found), dtype=torch.uint8)
                self._made[number] = view.untyped_storage()
        return torch.storage.TypedStorage(
            wrap_storage=self._made[number], dtype=dtype, _internal=True
        )


def _bytes_of(storage: UntypedStorage) -> memoryview:
    import torch

    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return flat.numpy().data


def _write(chunks: Sequence[memoryview], folder: Path) -> tuple[str, list[_Span]]:
    """Write a safetensors file under a new name, whole or not at all.

    The header is padded to `ALIGNMENT`, and each chunk is an array of bytes padded the same way,
    because the format allows no holes between arrays.
    """
    header: dict[str, Any] = {}
    starts: list[int] = []
    end = 0
    for number, chunk in enumerate(chunks):
        starts.append(end)
        end += len(chunk) + -len(chunk) % ALIGNMENT
        header[f"{number:06d}"] = {
            "dtype": "U8",
            "shape": [end - starts[-1]],
            "data_offsets": [starts[-1], end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    name = f"{uuid.uuid4().hex}.safetensors"
    partial = folder / f".{name}.partial"
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for chunk in chunks:
                file.write(chunk)
                file.write(b"\0" * (-len(chunk) % ALIGNMENT))
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)
    offset = 8 + len(text)
    return name, [
        _Span(offset + start, len(chunk)) for start, chunk in zip(starts, chunks, strict=True)
    ]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _cut(mapped: mmap.mmap | None, span: _Span) -> memoryview:
    if mapped is None:
        raise ValueError("a payload that points into a file must name it, but it names none.")
    return memoryview(mapped)[span.start : span.start + span.size]
