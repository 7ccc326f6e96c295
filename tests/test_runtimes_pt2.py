from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.runtimes.pt2 import UntrustedProgramError, load_program
from tests.runtime_builds import built, exported, samples

WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
GRAPH = "models/model.json"
LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def plain_file(folder: Path) -> Path:
    path = folder / "plain.pt2"
    torch.export.save(exported("mlp").program, path)
    return path


def rewrite(source: Path, target: Path, changes: Mapping[str, bytes]) -> Path:
    """Copy an archive with some members replaced or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        names = {info.filename for info in old.infolist()}
        for name in names - {f"{root}/{key}" for key in changes}:
            new.writestr(name, old.read(name))
        for name, content in changes.items():
            new.writestr(f"{root}/{name}", content)
    return target


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        return archive.read(f"{root}/{name}")


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def with_payload_in_samples(source: Path, target: Path, trace: Path) -> Path:
    content = pickled(((Payload(trace),), {}))
    return rewrite(source, target, {"data/sample_inputs/model.pt": content})


def with_payload_in_weight(source: Path, target: Path, trace: Path) -> Path:
    config = json.loads(member(source, WEIGHTS))
    entry = next(iter(config["config"].values()))
    entry["use_pickle"] = True
    changes = {
        WEIGHTS: json.dumps(config).encode(),
        f"data/weights/{entry['path_name']}": pickled(Payload(trace)),
    }
    return rewrite(source, target, changes)


def with_payload_in_constant(source: Path, target: Path, trace: Path) -> Path:
    config = json.loads(member(source, CONSTANTS))
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    config["config"]["planted"] = {**entry, "tensor_meta": None}
    changes = {
        CONSTANTS: json.dumps(config).encode(),
        "data/constants/opaque_obj_0": pickle.dumps(Payload(trace)),
    }
    return rewrite(source, target, changes)


def with_payload_in_shape(source: Path, target: Path, trace: Path) -> Path:
    graph = member(source, GRAPH).decode()
    marker = '"expr_str": "'
    start = graph.index(marker) + len(marker)
    end = graph.index('"', start)
    code = f"__import__('pathlib').Path('{trace}').touch() or 2"
    changed = graph[:start] + code + graph[end:]
    return rewrite(source, target, {GRAPH: changed.encode()})


def rewrite_structure(source: Path, target: Path, structure: object) -> Path:
    """Copy an archive with another structure of its inputs."""
    graph = json.loads(member(source, GRAPH))
    graph["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(structure)
    return rewrite(source, target, {GRAPH: json.dumps(graph).encode()})


def with_payload_in_structure(source: Path, target: Path, trace: Path) -> Path:
    """Plant a module that torch imports; escapes hide the word that makes it do so."""
    name = f"planted_{target.parent.name}_{target.stem}".replace("-", "_")
    (target.parent / f"{name}.py").write_text(
        f"import pathlib; pathlib.Path({str(trace)!r}).touch()"
    )
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "__enum__")
    context = f'[{{"{escaped}": true, "fqn": "{name}:Kind", "name": "x"}}]'
    assert "__enum__" not in context
    node = {"type": "builtins.dict", "context": context, "children_spec": [LEAF]}
    return rewrite_structure(source, target, [1, node])


def renamed(value: Any, old: str, new: str) -> Any:
    """Replace a name wherever it stands in nested JSON, as key or value."""
    if isinstance(value, dict):
        return {(new if k == old else k): renamed(v, old, new) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return new if value == old else value


class Unused(torch.nn.Module):
    """A layer, and an input that nothing depends on: its name may be changed freely."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x)
        return found


def unused_file(folder: Path) -> Path:
    path = folder / "unused.pt2"
    pair = (torch.ones(2, 3), torch.ones(2, 3))
    torch.export.save(torch.export.export(Unused().eval(), pair), path)
    return path


def with_payload_in_input_name(source: Path, target: Path, trace: Path) -> Path:
    graph = json.loads(member(unused_file(source.parent), GRAPH))
    name = graph["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"]
    code = f"{name}=__import__('pathlib').Path('{trace}').touch()"
    changes = {GRAPH: json.dumps(renamed(graph, name, code)).encode()}
    return rewrite(source.parent / "unused.pt2", target, changes)


def with_payload_in_parameter_name(source: Path, target: Path, trace: Path) -> Path:
    unused = unused_file(source.parent)
    code = f'w", open("{trace}", "w")) if True else ("'
    changes = {
        name: json.dumps(renamed(json.loads(member(unused, name)), "layer.weight", code)).encode()
        for name in (GRAPH, WEIGHTS)
    }
    return rewrite(unused, target, changes)


def open_as_torch_does(path: Path) -> None:
    """Open and call it, with what happens to go wrong afterwards left aside."""
    try:
        program = torch.export.load(path)
        arguments, keywords = program.example_inputs
        program.module()(*arguments, **keywords)
    except Exception:  # noqa: BLE001  # only the payload's trace counts
        return


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "plant",
    [
        with_payload_in_weight,
        with_payload_in_constant,
        with_payload_in_shape,
        with_payload_in_structure,
        with_payload_in_input_name,
        with_payload_in_parameter_name,
    ],
)
def test_a_planted_payload_runs_in_torch_and_is_refused_here(plant, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    open_as_torch_does(plant(plain_file(tmp_path), tmp_path / "a.pt2", theirs))
    assert theirs.exists()
    with pytest.raises(UntrustedProgramError):
        load_program(plant(plain_file(tmp_path), tmp_path / "b.pt2", ours))
    assert not ours.exists()


@pytest.mark.filterwarnings("ignore")
def test_a_payload_in_the_guards_runs_in_torch_and_is_left_out_here(tmp_path):
    trace = tmp_path / "trace"
    graph = json.loads(member(plain_file(tmp_path), GRAPH))
    graph["guards_code"] = [f"__import__('pathlib').Path({str(trace)!r}).touch() or True"]
    changes = {GRAPH: json.dumps(graph).encode()}
    path = rewrite(tmp_path / "plain.pt2", tmp_path / "a.pt2", changes)
    x = torch.from_numpy(samples("mlp"))
    torch.testing.assert_close(load_program(path)(x), exported("mlp").program.module()(x))
    assert not trace.exists()
    torch.export.load(path).module()(x)
    assert trace.exists()


def test_a_program_of_two_inputs_of_one_length_opens(tmp_path):
    class Sum(torch.nn.Module):
        def forward(self, a, b):
            return a + b

    batch = torch.export.Dim("batch", min=1)
    axes = ({0: batch}, {0: batch})
    pair = (torch.ones(2, 3), torch.ones(2, 3))
    path = tmp_path / "sum.pt2"
    torch.export.save(torch.export.export(Sum(), pair, dynamic_shapes=axes), path)
    assert json.loads(member(path, GRAPH))["guards_code"]
    assert load_program(path)(torch.ones(5, 3), torch.ones(5, 3)).sum() == 30


@pytest.mark.filterwarnings("ignore")
def test_a_payload_in_the_sample_inputs_runs_in_torch_and_is_left_out_here(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    open_as_torch_does(with_payload_in_samples(plain_file(tmp_path), tmp_path / "a.pt2", theirs))
    assert theirs.exists()
    module = load_program(with_payload_in_samples(plain_file(tmp_path), tmp_path / "b.pt2", ours))
    x = torch.from_numpy(samples("mlp"))
    torch.testing.assert_close(module(x), exported("mlp").program.module()(x))
    assert not ours.exists()


@pytest.mark.parametrize(
    ("kind", "context"),
    [
        ("builtins.dict", '{"a": 1}'),
        ("builtins.dict", "[true]"),
        ("builtins.dict", "null"),
        ("builtins.dict", "[[1]]"),
        ("builtins.list", "[]"),
        ("builtins.tuple", "{}"),
        ("builtins.tuple", None),
        ("collections.namedtuple", '"os.Thing"'),
        ("collections.defaultdict", "{}"),
        (None, "null"),
        (["builtins.tuple"], "null"),
    ],
)
def test_a_structure_of_anything_but_plain_containers_is_refused(kind, context, tmp_path):
    inner = {"type": kind, "context": context, "children_spec": [LEAF]}
    outer = {"type": "builtins.tuple", "context": "null", "children_spec": [LEAF, inner]}
    path = rewrite_structure(plain_file(tmp_path), tmp_path / "a.pt2", [1, outer])
    with pytest.raises(UntrustedProgramError, match="more than plain keys"):
        load_program(path)


@pytest.mark.parametrize("change", ["a name", "x=1", "lambda", "a.b", "__class__", "é(", "a\nb"])
def test_names_that_could_be_code_are_refused(change, tmp_path):
    path = unused_file(tmp_path)
    graph = json.loads(member(path, GRAPH))
    name = graph["graph_module"]["graph"]["inputs"][-1]["as_tensor"]["name"]
    changes = {GRAPH: json.dumps(renamed(graph, name, change)).encode()}
    with pytest.raises(UntrustedProgramError, match=r"code|damaged"):
        load_program(rewrite(path, tmp_path / "b.pt2", changes))


def test_a_graph_that_torch_cannot_read_is_damaged(tmp_path):
    path = plain_file(tmp_path)
    graph = json.loads(member(path, GRAPH))
    del graph["graph_module"]["signature"]
    changes = {GRAPH: json.dumps(graph).encode()}
    with pytest.raises(UntrustedProgramError, match="is damaged"):
        load_program(rewrite(path, tmp_path / "b.pt2", changes))


@pytest.mark.parametrize("structure", [[2, LEAF], [1], LEAF, [1, LEAF, LEAF], "x"])
def test_a_structure_of_an_unknown_protocol_is_refused(structure, tmp_path):
    path = rewrite_structure(plain_file(tmp_path), tmp_path / "a.pt2", structure)
    with pytest.raises(UntrustedProgramError, match="no known structure"):
        load_program(path)


def test_programs_of_nested_containers_with_plain_keys_open(tmp_path):
    class Nested(torch.nn.Module):
        def forward(self, x, y):
            return {"a": (x["left"] + y[0], [x[1]])}

    x = torch.ones(2)
    inputs = ({"left": x, 1: x}, [x])
    path = tmp_path / "nested.pt2"
    torch.export.save(torch.export.export(Nested(), inputs), path)
    found = load_program(path)(*inputs)
    assert found["a"][0].tolist() == [2, 2]


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__",
        "torch.ops.aten.add.__class__",
        "torch.ops.aten.__and__.__class__",
        "torch.ops.aten.__init__.__and__",
        "torch.load",
        "#pickle.x",
    ],
)
def test_a_graph_that_calls_anything_but_operators_is_refused(target, tmp_path):
    source = plain_file(tmp_path)
    graph = json.loads(member(source, GRAPH))
    graph["graph_module"]["graph"]["nodes"][0]["target"] = target
    path = rewrite(source, tmp_path / "a.pt2", {GRAPH: json.dumps(graph).encode()})
    with pytest.raises(UntrustedProgramError, match="no tensor operator"):
        load_program(path)


@pytest.mark.parametrize(
    "name", ["data/aotinductor/model/a.so", "data/weights/model.pt", "data/constants/custom_obj_0"]
)
def test_native_code_and_unknown_members_are_refused(name, tmp_path):
    path = rewrite(plain_file(tmp_path), tmp_path / "a.pt2", {name: b"\x7fELF"})
    with pytest.raises(UntrustedProgramError, match="trust_code=True"):
        load_program(path)


def test_an_archive_that_unpacks_out_of_proportion_is_refused(tmp_path):
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(4):
            # Deflate reaches 1:1030; a member that lies about its size is caught by zipfile.
            archive.writestr(f"m/data/weights/weight_{number}", bytes(100_000_000))
    with pytest.raises(UntrustedProgramError, match="unpack to 400000000 bytes"):
        load_program(path)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "a.pt2"
    path.write_bytes(b"not a zip")
    with pytest.raises(UntrustedProgramError, match="not a readable archive"):
        load_program(path)


def test_a_member_that_comes_twice_is_refused(tmp_path):
    path = plain_file(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        name = next(n for n in archive.namelist() if n.endswith(GRAPH))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"{}")
    with pytest.raises(UntrustedProgramError, match="twice"):
        load_program(path)


def test_what_is_built_holds_no_pickle_and_no_path_of_its_author():
    path = built("mlp", "eager") / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents["model/data/sample_inputs/model.pt"] == b""
    assert not any(b"site-packages" in c or b"stack_trace" in c for c in contents.values())


@pytest.mark.filterwarnings("ignore")
def test_what_is_built_opens_in_plain_torch_too():
    module = torch.export.load(built("mlp", "eager") / "model.pt2").module()
    x = torch.from_numpy(samples("mlp"))
    torch.testing.assert_close(module(x), exported("mlp").program.module()(x))


def test_trusted_files_open_as_torch_does(tmp_path):
    module = load_program(plain_file(tmp_path), trust_code=True)
    x = torch.from_numpy(samples("mlp"))
    torch.testing.assert_close(module(x), exported("mlp").program.module()(x))
