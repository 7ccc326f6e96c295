"""A name for (model, data, metric, loss, split, seed) that is the same in every process."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

from autoopt.task.parts import DatasetPart, Part, TensorPart

PROBED_ITEMS = 256

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN = (str, int, float, bool, type(None))


def fingerprint(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of length-prefixed pieces, in hex."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()


def tensor_digest(value: torch.Tensor) -> bytes:
    """Return a digest of a tensor's type, shape and bytes."""
    plain = value.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def model_digest(model: nn.Module) -> bytes:
    """Return a digest of a model's structure, code and state."""
    pieces: list[bytes] = []
    types: set[type] = set()
    for name, module in model.named_modules():
        types.update(kind for kind in type(module).__mro__ if not _library(kind))
        settings = {
            key: value
            for key, value in sorted(vars(module).items())
            if key != "training" and not key.startswith("_") and _is_plain(value)
        }
        shown = f"{name}:{_name(type(module))}({module.extra_repr()}) {settings}"
        pieces.append(_ADDRESS.sub("", shown).encode())
    pieces += sorted(source_of(kind).encode() for kind in types)
    state = {**dict(model.named_buffers()), **model.state_dict()}
    for name in sorted(state):
        value = state[name]
        held = tensor_digest(value) if isinstance(value, torch.Tensor) else repr(value).encode()
        pieces += [name.encode(), held]
    tied: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), []).append(name)
    pieces += sorted(repr(names).encode() for names in tied.values() if len(names) > 1)
    return bytes.fromhex(fingerprint(pieces))


def part_digest(part: Part, probed: int = PROBED_ITEMS) -> bytes:
    """Return a digest of a part: all bytes if held in memory, else of `probed` spread items."""
    if isinstance(part, TensorPart):
        return bytes.fromhex(fingerprint(map(tensor_digest, (*part.tensors, part.labels))))
    length = len(part)
    count = min(length, probed)
    rows = sorted({round(i * (length - 1) / max(count - 1, 1)) for i in range(count)})
    pieces = [str(length).encode()]
    if isinstance(part, DatasetPart):
        pieces.append(_name(type(part.dataset)).encode())
    for row in rows:
        # One at a time: collating items of different lengths could pad, or fail.
        for inputs, targets in part.select([row]).batches(1):
            pieces += map(tensor_digest, (*inputs, targets))
    return bytes.fromhex(fingerprint(pieces))


def source_of(value: Any) -> str:
    """Return the text that a function, class or object of the person's stands for.

    Its compiled code, not its source: a file may have changed since it was imported, and a class
    defined twice is found at its first place. Settings of a dataclass or a module are shown by
    its repr. Addresses and names of files are left out.
    """
    if isinstance(value, nn.Module):
        return f"{source_of(type(value))} {model_digest(value).hex()}"
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        inner = getattr(value, "func", None)
        text = _ADDRESS.sub("", repr(value))
        return f"{source_of(inner or type(value))} {text}"
    return f"{_name(value)} {_code(value, set())}"


def _code(value: Any, seen: set[int]) -> str:
    """Return what a function or class does, with the functions and plain values that it uses."""
    function = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else value
    if id(function) in seen or _library(function):
        return _name(function)
    seen.add(id(function))
    if inspect.isclass(function):
        bases = [_member(base, seen) for base in function.__bases__]
        return " ".join([*bases, *(f"{n}={_member(m, seen)}" for n, m in _members(function))])
    if not inspect.isfunction(function):
        return _name(function)
    used = _used(function)
    defaults = [function.__defaults__, function.__kwdefaults__]
    texts = [_compiled(function.__code__)]
    texts += [f"{name}={_member(used[name], seen)}" for name in sorted(used)]
    return " ".join([*texts, *(repr(item) for item in defaults if _is_plain(item))])


def _members(cls: type) -> list[tuple[str, Any]]:
    """Return what a class defines: no data in dunder names, some of which Python adds when asked.

    `__annotations__` appears in a class when it is first read, and others depend on the version.
    """
    return sorted(
        (name, member)
        for name, member in vars(cls).items()
        if inspect.isroutine(member) or not (name.startswith("__") and name.endswith("__"))
    )


def _used(function: FunctionType) -> dict[str, Any]:
    """Return the globals and the closure that a function's names stand for."""
    space = function.__globals__
    found = {name: space[name] for name in function.__code__.co_names if name in space}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        with suppress(ValueError):  # A cell that nothing was put into yet.
            found[name] = cell.cell_contents
    return found


def _member(value: Any, seen: set[int]) -> str:
    if isinstance(value, property):
        return _code(value.fget, seen)
    if inspect.isroutine(value) or inspect.isclass(value):
        return _code(value, seen)
    return repr(value) if _is_plain(value) else type(value).__qualname__


def _compiled(code: CodeType) -> str:
    """Return what a code object does, without names of files and numbers of lines."""
    constants = []
    for item in code.co_consts:
        if isinstance(item, CodeType):
            constants.append(_compiled(item))
        elif isinstance(item, frozenset):
            # The order in a set of strings differs from process to process.
            constants.append(str(sorted(map(repr, item))))
        else:
            constants.append(repr(item))
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return f"{code.co_code.hex()} {code.co_names} {arguments} {constants}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _library(value: Any) -> bool:
    """Say whether something belongs to an installed package, whose version stands for its code."""
    module = getattr(value, "__module__", None) or "builtins"
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("autoopt", "torch"):
        return True
    if root == "__main__":
        # A person's, though its file may be that of a launcher, as in a notebook.
        return False
    parts = Path(getattr(sys.modules.get(module), "__file__", None) or "").parts
    return "site-packages" in parts or "dist-packages" in parts


def _name(value: Any) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if not _library(value):
        # Run as a script, a person's file is `__main__`; imported, it has its name: one identity.
        return f"{name}"
    module = getattr(value, "__module__", None) or "builtins"
    root = module.partition(".")[0]
    # The versions of these stand in the keys of the cache, where they matter.
    known = root in sys.stdlib_module_names or root in ("autoopt", "torch")
    version = "" if known else getattr(sys.modules.get(root), "__version__", "")
    return f"{module}.{name} {version}".strip()
