from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from autoopt.catalogue import Entry, as_text, entries
from autoopt.cli import main
from autoopt.runtimes import RUNTIMES
from autoopt.techniques import TECHNIQUES, load_technique
from search_spaces import QUANTIZATION, SLOTS, Choice, Dimension, Float, Int, thorough

TABLES = {**TECHNIQUES, "runtime": RUNTIMES}


def test_every_line_of_every_table_is_listed_with_words() -> None:
    listed = list(entries())
    assert [(entry.slot, entry.option) for entry in listed] == [
        (slot, option) for slot in SLOTS for option in TABLES[slot]
    ]
    assert [entry for entry in listed if len(entry.summary.split()) < 2] == []


@pytest.mark.parametrize("slot", TECHNIQUES)
def test_the_words_are_those_of_the_class(slot: str) -> None:
    for entry in entries():
        if entry.slot == slot:
            doc = load_technique(slot, entry.option).__doc__
            assert entry.summary == doc.strip().splitlines()[0]


def test_settings_are_those_of_the_whole_menu() -> None:
    menu = thorough(64).slots
    for entry in entries():
        if entry.option != "per_layer":
            assert entry.settings == menu[entry.slot].get(entry.option, {})


def test_what_only_a_person_can_write_is_listed_with_its_settings_though_no_preset_has_it() -> None:
    (entry,) = (entry for entry in entries() if entry.option == "per_layer")
    assert entry.settings == QUANTIZATION["per_layer"]
    assert set(entry.settings) == {"layers", "bits"}
    assert entry.presets == ()


# Elsewhere on the menu under another name, or a fine point of what is offered there.
NOT_OFFERED = {
    ("quantization", "static_int8"): {
        "calibration", "percentile", "activations", "sensitive", "scheme",
    },
    ("quantization", "calibrated_int8"): {"keep", "percentile", "scheme"},
    ("quantization", "weight_only"): {"group", "keep", "calibration", "percentile"},
    ("quantization", "packed"): {"granularity", "percentile"},
}  # fmt: skip


@pytest.mark.parametrize("slot", TECHNIQUES)
def test_every_setting_of_a_technique_is_on_the_menu_to_be_extended(slot: str) -> None:
    for entry in entries():
        if entry.slot == slot:
            fields = {
                field.name for field in dataclasses.fields(load_technique(slot, entry.option))
            }
            left_out = NOT_OFFERED.get((slot, entry.option), set())
            assert fields - set(entry.settings) == left_out, entry.option


def test_the_command_prints_options_ranges_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["techniques"]) == 0
    printed = capsys.readouterr().out
    assert "student\n  none" in printed
    assert "temperature" in printed
    assert "(usually 4.0)" in printed
    for options in TABLES.values():
        assert all(f"\n  {option}" in printed for option in options)


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["techniques", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps([entry.to_dict() for entry in entries()]))
    (width,) = [item for item in found if item["option"] == "width"]
    assert width["presets"][:3] == ["quick", "balanced", "thorough"]
    assert width["settings"]["fraction"]["usual"] == 0.5


def test_numbers_are_shown_as_ranges() -> None:
    settings: dict[str, Dimension] = {
        "a": Int(1, 9, step=2),
        "b": Float(0.5, 1.5),
        "c": Choice(["x", "y"]),
        "d": Choice([""]),
    }
    text = as_text(iter([Entry("pruning", "mine", "Cuts.", settings, ())]))
    assert text.splitlines()[1:] == [
        "  mine               Cuts.",
        "    a                1 to 9 in steps of 2 (usually 1)",
        "    b                0.5 to 1.5 (usually 0.5)",
        "    c                x, y (usually x)",
        "    d                '' (usually '')",
    ]


def test_the_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from autoopt.cli import main; main(['techniques']); "
        "assert not {'torch', 'optuna', 'openvino', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["technique"])
    assert "technique" in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_the_listing_quietly() -> None:
    command = f"{sys.executable} -m autoopt techniques | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "student\n", "")
