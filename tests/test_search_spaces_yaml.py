from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from search_spaces import PRESETS, Choice, SearchSpace, SpaceFileError, preset, quick
from tests.strategies import spaces

TEXT = quick(2).to_yaml()


@given(spaces())
def test_yaml_round_trip_is_exact(space: SearchSpace) -> None:
    again = SearchSpace.from_yaml(space.to_yaml())
    assert again == space
    assert repr(dict(again.slots)) == repr(dict(space.slots))
    assert again.to_yaml() == space.to_yaml()


@given(spaces())
def test_dict_round_trip_is_exact_through_json(space: SearchSpace) -> None:
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again.to_yaml() == space.to_yaml()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_go_through_a_file(name: str, tmp_path: Path) -> None:
    space = preset(name, 2)
    path = tmp_path / "space.yaml"
    assert space.to_yaml(path) == path.read_text(encoding="utf-8")
    assert SearchSpace.from_yaml(path) == space
    assert SearchSpace.from_yaml(str(path)) == space


def test_text_is_made_for_readers() -> None:
    assert TEXT.startswith("version: 1\nslots:\n  student:\n    none: {}\n    width:\n")
    assert "        choice: [0.25, 0.375, 0.5]\n        usual: 0.5\n" in TEXT


def test_one_line_of_json_is_read_as_text() -> None:
    assert SearchSpace.from_yaml(json.dumps(quick(2).to_dict())) == quick(2)


def test_exponents_that_people_write_are_numbers() -> None:
    text = TEXT.replace("choice: [0.003]", "choice: [3e-3]").replace("usual: 0.003", "usual: 3e-3")
    assert text != TEXT
    assert SearchSpace.from_yaml(text) == quick(2)


def test_usual_may_be_left_out_of_a_file() -> None:
    text = TEXT.replace("        choice: [6, 12]\n        usual: 6\n", "        choice: [12, 6]\n")
    settings = SearchSpace.from_yaml(text).slots["recovery"]["distill"]
    assert settings["epochs"] == Choice([12, 6], usual=12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nslots: {}\n", "must be of version 1; got version: 2"),
        ("slots: {}\n", "got version: None"),
        ("version: true\nslots: {}\n", "got version: True"),
        ("version: 1\n", "must hold version and slots, nothing else; got ['version']"),
        ("version: 1\nslots: {}\nx: 1\n", "nothing else; got ['version', 'slots', 'x']"),
        ("version: 1\nslots: [1]\n", "slots must be a mapping; got [1]"),
        ("version: 1\nslots: {}\n", "every slot must be present"),
        ("- 1\n- 2\n", "a search space must be a mapping; got [1, 2]"),
        ("\n", "a search space must be a mapping; got None"),
        ("a: [\n", "must be YAML; the text given"),
        ("[" * 5000 + "\n", "must be YAML; the text given"),
        ("a: 2020-99-99\nb: 1\n", "must be YAML; the text given"),
        (TEXT.replace("student:", "studnet:"), "unknown slot 'studnet'; known: student"),
        (TEXT.replace("none: {}", "off: {}", 1), "names must be strings (quote them); got False"),
        (TEXT.replace("none: {}", "none:", 1), "student.none must be a mapping; got None"),
        (
            TEXT.replace("usual: 0.5", "usual: 0.6", 1),
            "student.width.fraction: usual must lie inside",
        ),
        (
            TEXT.replace("choice: [0.25", "chioce: [0.25"),
            "student.width.fraction: a dimension must be",
        ),
        (TEXT + "version: 1\n", "version is given twice"),
        ("version: 1\nslots: !!python/object/apply:os.getcwd []\n", "must be YAML"),
    ],
)
def test_each_error_states_the_rule_and_the_place(text: str, message: str) -> None:
    with pytest.raises(SpaceFileError) as caught:
        SearchSpace.from_yaml(text)
    assert message in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceFileError, match=r"got 'nowhere\.yaml'"):
        SearchSpace.from_yaml("nowhere.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceFileError, match="from_yaml takes a readable file"):
        SearchSpace.from_yaml(tmp_path / "binary")


@pytest.mark.parametrize("data", [None, 3, {"version": 1, "slots": {"student": {"a": {"x": 1}}}}])
def test_from_dict_refuses_what_is_no_space(data: Any) -> None:
    with pytest.raises(SpaceFileError, match="must be a mapping"):
        SearchSpace.from_dict(data)
