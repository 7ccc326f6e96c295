"""Open a `.pt2` file without running anything that it holds.

A `.pt2` is a zip archive. `torch.export.load` unpickles its sample inputs and every weight or
constant marked ``use_pickle``, evaluates its shape expressions as Python, and calls whatever
function of torch its graph names. So the archive is read here first: only members that are needed
and plain are copied into a new archive in memory, the sample inputs are left out, what pickles or
reaches outside of torch's tensor operators is refused, and torch opens the copy.

This file needs torch alone and imports nothing of autoopt: exports carry a copy of it.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch

MODEL = "models/model.json"
WEIGHTS = "data/weights/"
CONSTANTS = "data/constants/"
SAMPLES = "data/sample_inputs/model.pt"
CONFIGS = (WEIGHTS + "model_weights_config.json", CONSTANTS + "model_constants_config.json")
# What `torch.export.save` writes and loading does not need.
IGNORED = re.compile(r"(\.data/(?!version$).*|\.format/.*|data/sample_inputs/.*|extra/.*)")
NEEDED = re.compile(
    r"(archive_format|archive_version|byteorder|version|\.data/version|models/model\.json"
    r"|data/(weights|constants)/(model_(weights|constants)_config\.json|(weight|tensor)_\d+))"
)
# Operators that compute on tensors; `torch.ops` also holds ones that read and write files.
OPERATORS = re.compile(
    r"torch\.ops\.aten\.\w+(\.\w+)?|torch\.ops\.prims?\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|torch\.sym_(int|float|max|min|not|ite|sqrt)|math\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_"
    r"|getitem)"
)
FORBIDDEN = re.compile(r"torch\.ops\.aten\.(from_file|save|load|_?print|warn|format)\b.*")
FUNCTIONS = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift"
    r"|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt"
    r"|RoundDecimal|ToFloat|Identity|Integer|Rational|Add|Mul|Pow|Max|Min|And|Or|Not|Abs|floor"
    r"|ceiling|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|(Strict)?(Less|Greater)Than"
)
SYMBOL = re.compile(r"z?[su]f?\d+")
MAX_MEMBERS = 100_000
MAX_BYTES = 64 * 2**30
# Graphs shrink to a twentieth, weights hardly; small archives may do as they like.
MAX_RATIO = 200
SMALL = 64 * 2**20


class UntrustedProgramError(ValueError):
    """A `.pt2` file that is damaged, or holds what could run code."""


def load_program(path: Path, *, trust_code: bool = False) -> Callable[..., Any]:
    """Return the program in a `.pt2` file as a callable of tensors.

    Parameters
    ----------
    path
        The file.
    trust_code
        Open the file as torch would, running what it holds (pickles, native code). Only for files
        whose origin you trust.

    Raises
    ------
    UntrustedProgramError
        If the file is damaged or holds what could run code.
    """
    if trust_code:
        return _load_trusted(path)
    program = torch.export.load(io.BytesIO(safe_archive(path)))
    return program.module()


def _load_trusted(path: Path) -> Callable[..., Any]:
    """Open a file as torch would: an exported program, or else native code of AOTInductor."""
    with zipfile.ZipFile(path) as archive:
        exported = any(name.endswith(MODEL) for name in archive.namelist())
    if exported:
        return torch.export.load(path).module()
    return cast(Callable[..., Any], torch._inductor.aoti_load_package(str(path)))


def safe_archive(path: Path) -> bytes:
    """Return a copy of the archive that holds nothing that torch would execute.

    Raises
    ------
    UntrustedProgramError
        If the file is damaged or holds what could run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise UntrustedProgramError(
            f"{path.name!r} is not a readable archive ({error})."
        ) from error
    for name in (MODEL, *CONFIGS):
        if name not in members:
            raise UntrustedProgramError(f"{path.name!r} lacks {name!r}; export again.")
    for name in CONFIGS:
        config = _read_json(name, members[name])
        _check_config(name, config)
        # What is written is what was checked, whatever way the file spelt it.
        members[name] = json.dumps(config).encode()
    model = _read_json(MODEL, members[MODEL])
    if not isinstance(model, dict):
        raise UntrustedProgramError(f"{MODEL!r} must hold an object.")
    _check_graph(model)
    # Checks of the inputs' sizes that torch runs as Python; several inputs give rise to some.
    model["guards_code"] = []
    members[MODEL] = json.dumps(without_traces(model)).encode()
    return pack_archive(members)


def pack_archive(members: Mapping[str, bytes]) -> bytes:
    """Return a `.pt2` archive of these members, with empty sample inputs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**members, SAMPLES: b""}.items():
            text = name.endswith(".json")
            kind = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
            archive.writestr(f"model/{name}", content, kind)
    return buffer.getvalue()


def without_traces(value: Any) -> Any:
    """Return the graph without the metadata of its nodes (stack traces, paths of the author)."""
    if isinstance(value, list):
        return [without_traces(item) for item in value]
    if not isinstance(value, dict):
        return value
    node = "target" in value and "metadata" in value
    return {
        key: {} if node and key == "metadata" else without_traces(item)
        for key, item in value.items()
    }


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Read what is needed; refuse what is unknown, doubled or out of proportion."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    total = sum(info.file_size for info in infos)
    compressed = sum(info.compress_size for info in infos)
    if len(infos) > MAX_MEMBERS or total > MAX_BYTES or total > max(SMALL, MAX_RATIO * compressed):
        raise UntrustedProgramError(
            f"{path.name!r} would unpack to {total} bytes in {len(infos)} members from "
            f"{compressed} bytes, which no model does."
        )
    members: dict[str, bytes] = {}
    for info in infos:
        _, slash, name = info.filename.partition("/")
        if slash and IGNORED.fullmatch(name):
            continue
        if not slash or not NEEDED.fullmatch(name):
            raise UntrustedProgramError(
                f"{path.name!r} holds {info.filename!r}, which is no plain weight or graph; native "
                "code and custom objects are opened only with trust_code=True."
            )
        if name in members:
            raise UntrustedProgramError(f"{path.name!r} holds {name!r} twice.")
        members[name] = archive.read(info)
    return members


def _read_json(name: str, content: bytes | str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UntrustedProgramError(f"{name!r} is not JSON ({error}).") from error


def _check_config(name: str, config: Any) -> None:
    """Refuse pickled weights and custom objects."""
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise UntrustedProgramError(f"{name!r} must map names to entries.")
    for key, entry in entries.items():
        if entry.get("use_pickle") is not False:
            raise UntrustedProgramError(
                f"{key!r} in {name!r} is a pickle, which could run code; it is not opened."
            )
        if not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            raise UntrustedProgramError(
                f"{key!r} in {name!r} names the member {entry.get('path_name')!r}, no plain tensor."
            )


def _check_graph(model: Any) -> None:
    """Refuse graphs that name other functions than operators, or hide Python in a string."""
    for key, value in _items(model):
        if key == "target" and isinstance(value, str):
            if not OPERATORS.fullmatch(value) or FORBIDDEN.fullmatch(value):
                raise UntrustedProgramError(
                    f"the graph calls {value!r}, which is no tensor operator."
                )
        elif key == "expr_str":
            _check_expression(value)
        elif key in {"range_constraints"} and isinstance(value, dict):
            for symbol in value:
                _check_expression(symbol)
        elif key in {"in_spec", "out_spec"}:
            _check_tree(value)
        elif key in {"as_custom_obj", "as_operator"} and value:
            raise UntrustedProgramError(f"the graph holds {key!r}, which could run code.")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Go through all keys and values of nested JSON."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield from item.items()
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _check_expression(text: Any) -> None:
    """Let only arithmetic of symbols pass: torch gives it to `sympy.sympify`, which evaluates."""
    try:
        plain = len(text) < 10_000 and _is_plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        plain = False
    if not plain:
        raise UntrustedProgramError(f"the shape expression {text!r} is not plain arithmetic.")


def _is_plain(node: ast.expr) -> bool:
    """Say whether an expression is made of numbers, symbols and known functions only."""
    match node:
        case ast.Constant(value=value):
            return type(value) in (int, float, bool)
        case ast.Name(id=name):
            return bool(SYMBOL.fullmatch(name))
        case ast.UnaryOp(operand=operand):
            return _is_plain(operand)
        case ast.BinOp(left=left, right=right):
            return _is_plain(left) and _is_plain(right)
        case ast.Compare(left=left, comparators=others):
            return all(map(_is_plain, [left, *others]))
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            flags = [item.value for item in node.keywords if item.arg]
            whole = len(flags) == len(node.keywords)
            return bool(SYMBOL.fullmatch(name)) and whole and all(map(_is_plain, flags))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return bool(FUNCTIONS.fullmatch(name)) and all(map(_is_plain, arguments))
    return False


def _check_tree(text: Any) -> None:
    """Let only tensors in tuples, lists and dicts pass: other structures import modules."""
    if not isinstance(text, str):
        return
    spec = _read_json("spec", text)
    match spec:
        case [1, dict(root)]:
            stack: list[Any] = [root]
        case _:
            raise UntrustedProgramError("the graph's inputs or outputs have no known structure.")
    while stack:
        node = stack.pop()
        if not _is_plain_node(node):
            kind = node.get("type") if isinstance(node, dict) else node
            raise UntrustedProgramError(
                f"the graph's inputs or outputs are of type {kind!r} with more than plain keys."
            )
        stack.extend(node["children_spec"])


def _is_plain_node(node: Any) -> bool:
    """Say whether a node of a structure is a tensor, a tuple, a list, or a dict of plain keys.

    The context is parsed as torch parses it: JSON can spell one word in many ways, and torch
    imports the module that an object with ``__enum__`` names.
    """
    match node:
        case {"type": None, "context": None, "children_spec": []}:
            return len(node) == 3
        case {"type": str(kind), "context": str(context), "children_spec": list()}:
            keys = _read_json("context", context)
            if kind in {"builtins.tuple", "builtins.list"}:
                return len(node) == 3 and keys is None
            plain = isinstance(keys, list) and all(type(key) in (str, int) for key in keys)
            return len(node) == 3 and kind == "builtins.dict" and plain
    return False
