from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest

import search_spaces
from search_spaces import (
    NEUTRAL,
    PARALLEL,
    PRESETS,
    Choice,
    SpaceError,
    UnknownNameError,
    balanced,
    cap_threads,
    preset,
    quick,
    thorough,
)
from search_spaces.cores import usable_cores


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_whole_spaces_that_hold_the_original(name: str) -> None:
    space = preset(name, 2)
    assert space.contains({slot: (option, {}) for slot, option in NEUTRAL.items()})
    assert space.contains(space.sample(Random(0)))


@pytest.mark.parametrize("name", PRESETS)
def test_usual_settings_do_not_change_from_preset_to_preset(name: str) -> None:
    space = preset(name, 2)
    for slot, options in space.slots.items():
        for option in options:
            assert space.usual(slot, option) == thorough(2).usual(slot, option)


def test_presets_grow_from_quick_to_thorough() -> None:
    assert [quick(2).size, balanced(2).size] == [9_360, 395_136]
    assert thorough(2).size > 8_975_616
    assert quick(2) | balanced(2) | thorough(2) == thorough(2)


@pytest.mark.parametrize(
    ("slot", "option", "setting", "value"),
    [
        ("recovery", "distill", "alpha", 0.5),
        ("recovery", "distill_ensemble", "temperature", 2.0),
        ("pruning", "sparse", "slope", 0.5),
        ("quantization", "mixed", "group", 64),
        ("quantization", "mixed", "raised", 4),
        ("quantization", "fp8", "keep", "first_last"),
    ],
)
def test_a_setting_of_one_usual_value_costs_no_points_and_can_be_extended(
    slot: str, option: str, setting: str, value: float | str
) -> None:
    more = thorough(2).extend(**{slot: {option: {setting: Choice([value])}}})
    assert more.slots[slot][option][setting].contains(value)
    assert more.usual(slot, option) == thorough(2).usual(slot, option)
    assert more.size > thorough(2).size


def test_layers_by_name_are_left_to_the_person_and_extend_a_preset() -> None:
    named = {"layers": Choice(["stem=8, head=8"]), "bits": Choice([4])}
    assert all("per_layer" not in preset(name, 2).slots["quantization"] for name in PRESETS)
    space = thorough(2).extend(quantization={"per_layer": named})
    assert space.usual("quantization", "per_layer") == {"layers": "stem=8, head=8", "bits": 4}


def test_quick_leaves_out_the_runtime_that_builds_slowly() -> None:
    assert list(quick(2).slots["runtime"]) == ["eager", "onnxruntime", "openvino"]
    assert "compiled" in balanced(2).slots["runtime"]


@pytest.mark.parametrize(
    ("cores", "threads", "replicas"),
    [(1, [1], [1]), (2, [1, 2], [1, 2]), (3, [1, 2], [1, 2]), (64, [1, 2, 4], [1, 2])],
)
def test_threads_and_replicas_are_capped_at_the_cores(
    cores: int, threads: list[int], replicas: list[int]
) -> None:
    tuned = balanced(cores).slots["parallel"]["tuned"]
    assert tuned["threads"].values_list() == threads
    assert tuned["replicas"].values_list() == replicas
    assert tuned["batch"].size == 5


def test_cores_are_those_that_this_process_may_use_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert thorough().slots["parallel"]["tuned"]["threads"].values_list() == [1, 2, 4, 8, 16]


def test_cores_are_those_of_the_machine_where_processes_cannot_be_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert usable_cores() == 2
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_cap_threads_leaves_other_settings_alone() -> None:
    capped = cap_threads({"mine": {"threads": Choice([1, 8]), "spin": Choice([9])}}, 4)
    assert capped["mine"] == {"threads": Choice([1]), "spin": Choice([9])}


@pytest.mark.parametrize("cores", [0, -1, 1.5, True])
def test_cores_must_be_a_positive_whole_number(cores: int) -> None:
    with pytest.raises(
        SpaceError, match=f"cores must be a whole number of at least 1; got {cores}"
    ):
        cap_threads(PARALLEL, cores)


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(UnknownNameError) as caught:
        preset("huge")
    assert (
        str(caught.value) == "unknown preset 'huge'; known: quick, balanced, thorough, edge, cuda"
    )


def test_public_names_are_those_in_the_table_of_contents() -> None:
    public = """
        FACTORIZATION NEUTRAL PARALLEL PRESETS PRUNING QUANTIZATION RECOVERY RUNTIMES SLOTS
        STAGES STUDENTS
        Choice Dimension DimensionError Float Int Options Point PointError Scalar SearchSpace
        Settings SpaceError SpaceFileError UnknownNameError
        balanced cap_threads cuda edge preset quick thorough
    """
    names = public.split()
    assert sorted(search_spaces.__all__) == sorted(names)
    assert all(hasattr(search_spaces, name) for name in search_spaces.__all__)


def test_import_needs_the_standard_library_and_yaml_alone() -> None:
    code = (
        "import sys, yaml; before = set(sys.modules); import search_spaces; "
        "tops = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(*(tops - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["search_spaces"]
