"""Open a `.pt2` file without running anything that it holds.

A `.pt2` is a zip archive. `torch.export.load` unpickles its sample inputs and every weight or
constant marked ``use_pickle``, evaluates its shape expressions as Python, and calls whatever
function of torch its graph names. So the archive is read here first: only members that are needed
and plain are copied into a new archive in memory, the sample inputs are left out, what pickles or
reaches outside of torch's tensor operators is refused, and torch opens the copy.

This file needs torch alone (and torchao for 8-bit floats) and imports nothing of autoopt: exports
carry a copy of it.
"""

from __future__ import annotations

import ast
import io
import json
import keyword
import re
import zipfile
from collections.abc import Callable, Mapping
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
    r"|torch\.ops\.torchao\.choose_scale_float8(\.default)?"
    r"|torch\.sym_(int|float|max|min|not|ite|sqrt)|math\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_"
    r"|getitem)"
)
# What Python writes as `&`, `|`, `^`, `<<` and `>>` is an operator like any, of a dunder name.
FORBIDDEN = re.compile(
    r"torch\.ops\.aten\.(from_file|save|load|_?print|warn|format)\b.*"
    r"|.*\.__(?!(and|or|xor|lshift|rshift)__(\.\w+)?$).*"
)
FUNCTIONS = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift"
    r"|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt"
    r"|RoundDecimal|ToFloat|Identity|Integer|Rational|Add|Mul|Pow|Max|Min|And|Or|Not|Abs|floor"
    r"|ceiling|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|(Strict)?(Less|Greater)Than"
)
SYMBOL = re.compile(r"z?[su]f?\d+")
# Names of modules, parameters and the like, whose parts may also be numbers (`layers.0.weight`).
PLAIN = re.compile(r"(?!(.*\.)?__)([\w-]+(\.[\w-]+)*)?")
# Arguments of operators, such as `mean` and `ij,jk->ik`, and versions.
TEXT = re.compile(r"[\w .,>+-]*")
MAX_MEMBERS = 100_000
MAX_BYTES = 64 * 2**30
# Graphs shrink to a twentieth, weights hardly; small archives may do as they like.
MAX_RATIO = 200
SMALL = 64 * 2**20


# What torch raises over a graph that was changed by hand.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, SyntaxError,
    TypeError, ValueError, OSError,
)  # fmt: skip


class UntrustedProgramError(ValueError):
    """A `.pt2` file that is damaged, or holds what could run code."""


def load_program(
    path: Path, *, trust_code: bool = False, device: str = "cpu"
) -> Callable[..., Any]:
    """Return the program in a `.pt2` file as a callable of tensors.

    Parameters
    ----------
    path
        The file.
    trust_code
        Open the file as torch would, running what it holds (pickles, native code). Only for files
        whose origin you trust.
    device
        Of torch, to which the program is brought if it is not the processor.

    Raises
    ------
    UntrustedProgramError
        If the file is damaged or holds what could run code.
    """
    if trust_code:
        return _load_trusted(path, device)
    archive = safe_archive(path)
    _import_operators(path, archive)
    try:
        return _on_device(torch.export.load(io.BytesIO(archive)), device)
    except _BROKEN as error:
        raise UntrustedProgramError(
            f"{path.name!r} is damaged: torch cannot open it ({type(error).__name__}: {error})."
        ) from error


def calls_torchao(archive: Path | io.BytesIO) -> bool:
    """Say whether the program in an archive calls an operator of torchao's."""
    with zipfile.ZipFile(archive) as members:
        graphs = [name for name in members.namelist() if name.endswith(MODEL)]
        return any(b"torch.ops.torchao." in members.read(name) for name in graphs)


def _import_operators(path: Path, archive: bytes) -> None:
    """Import torchao where the graph calls its operator, which only then exists."""
    if not calls_torchao(io.BytesIO(archive)):
        return
    try:
        import torchao.quantization  # noqa: F401 - registers the operator
    except ModuleNotFoundError as error:
        raise UntrustedProgramError(
            f"{path.name!r} computes in 8-bit floats by torchao, which is not installed; pip "
            "install torchao."
        ) from error


def _on_device(program: Any, device: str) -> Callable[..., Any]:
    """Return a program as a callable on a device; what was traced there is there already."""
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    found: Callable[..., Any] = program.module()
    return found


def _load_trusted(path: Path, device: str) -> Callable[..., Any]:
    """Open a file as torch would: an exported program, or else native code of AOTInductor."""
    with zipfile.ZipFile(path) as archive:
        exported = any(name.endswith(MODEL) for name in archive.namelist())
    if exported:
        return _on_device(torch.export.load(path), device)
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
    # Checks of the inputs' sizes that torch runs as Python; several inputs give rise to some.
    model["guards_code"] = []
    model = without_traces(model)
    _check_strings(model)
    members[MODEL] = json.dumps(model).encode()
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
    _check_strings(config)


def _check_strings(content: Any) -> None:
    """Refuse any string that is not plain, or not what its place in the graph allows.

    torch writes Python source out of a graph and executes it: names of inputs, of parameters and
    of modules stand in it as they are. So what is not known to be harmless is refused.
    """
    stack: list[tuple[str, Any]] = [("", content)]
    while stack:
        place, item = stack.pop()
        if isinstance(item, dict):
            if place == "as_operator" or place == "as_custom_obj":
                raise UntrustedProgramError(f"the graph holds {place!r}, which could run code.")
            for key, value in item.items():
                _KEYS.get(place, _check_plain)(key)
                stack.append((key, value))
        elif isinstance(item, list):
            stack += [(place, value) for value in item]
        elif isinstance(item, str):
            _VALUES.get(place, _check_plain)(item)


def _check_plain(text: str) -> None:
    if not PLAIN.fullmatch(text):
        raise UntrustedProgramError(f"{text[:200]!r} is no plain name, so it could be code.")


def _check_name(text: str) -> None:
    """Let only what Python takes for a name pass; some arguments have none."""
    if text and (not text.isidentifier() or keyword.iskeyword(text) or text.startswith("__")):
        raise UntrustedProgramError(f"{text[:200]!r} must be a name, but could be code.")


def _check_text(text: str) -> None:
    if not TEXT.fullmatch(text):
        raise UntrustedProgramError(f"the argument {text[:200]!r} is no word or formula.")


def _check_target(text: str) -> None:
    if not OPERATORS.fullmatch(text) or FORBIDDEN.fullmatch(text):
        raise UntrustedProgramError(f"the graph calls {text[:200]!r}, which is no tensor operator.")


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


def _check_tree(text: str) -> None:
    """Let only tensors in tuples, lists and dicts pass: other structures import modules."""
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
            plain = isinstance(keys, list) and all(map(_is_plain_key, keys))
            return len(node) == 3 and kind == "builtins.dict" and plain
    return False


def _is_plain_key(key: Any) -> bool:
    return type(key) is int or (type(key) is str and bool(PLAIN.fullmatch(key)))


# What a string may be, by the key that it stands under; everywhere else it has to be plain.
_VALUES: Mapping[str, Callable[[str], None]] = {
    "target": _check_target,
    "expr_str": _check_expression,
    "in_spec": _check_tree,
    "out_spec": _check_tree,
    "as_string": _check_text,
    "as_strings": _check_text,
    "name": _check_name,
    "forward_arg_names": _check_name,
    "torch_version": _check_text,
}
# The same for the keys of what stands under a key.
_KEYS: Mapping[str, Callable[[str], None]] = {
    "range_constraints": _check_expression,
    "tensor_values": _check_name,
    "sym_int_values": _check_name,
    "sym_bool_values": _check_name,
    "sym_float_values": _check_name,
    "custom_obj_values": _check_name,
}
