"""Searches read without their model, compared, packed and sent."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import autoopt
from autoopt.controller.job import LOG
from autoopt.errors import ArtifactError, ConstraintError, FolderError
from autoopt.handle.comparison import compared_searches
from tests.record_builds import ACCURACY, LATENCY, SMALL, Story, measured
from tests.small_searches import digits, finished_search


def story(*points: tuple[float, float, float], **settings: object) -> Story:
    """A search whose records have these figures of accuracy, latency and size."""
    told = Story(**settings)
    for number, figures in enumerate(points):
        recipe = SMALL if number else measured(0, *figures).recipe
        record = measured(number, *figures, recipe=recipe, role="search" if number else "original")
        told.record(record)
    return told


def copied(tmp_path: Path) -> Path:
    """A copy of a finished search's folder that a test may spoil."""
    search = finished_search()
    shutil.copytree(search.folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.slow
def test_a_search_is_read_in_a_process_that_has_no_model(tmp_path):
    search = finished_search()
    code = (
        "import sys, autoopt\n"
        "s = autoopt.open(sys.argv[1])\n"
        "print(len(s.front), len(s.trials), s.best().number, s.status.state)\n"
        "assert 'torch' not in sys.modules and 'optuna' not in sys.modules\n"
        "s.best().export(sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(search.folder), str(tmp_path / "export")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = f"{len(search.front)} {len(search.trials)} {search.best().number} finished"
    assert done.stdout.strip() == expected
    with autoopt.load(tmp_path / "export") as predict:
        assert len(predict(digits()[0][:3].reshape(-1, 1, 8, 8))) == 3


@pytest.mark.slow
def test_a_packed_search_exports_where_its_cache_is_not(tmp_path):
    search = finished_search()
    packed = search.pack(tmp_path / "sent.zip")
    with pytest.raises(FolderError, match="there already"):
        search.pack(packed)
    search.pack(packed, overwrite=True)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "there")
    folder = tmp_path / "there" / search.folder.name
    with sqlite3.connect(folder / LOG) as log:  # as on a machine that has no such cache
        ((id_, text),) = log.execute("SELECT id, payload FROM events WHERE kind='created'")
        log.execute(
            "UPDATE events SET payload=? WHERE id=?",
            [text.replace(search.settings.cache, "/nowhere"), id_],
        )
        log.execute(
            "UPDATE events SET payload=replace(payload, ?, '/nowhere') WHERE kind='opened'",
            [search.settings.cache],
        )
    found = autoopt.open(folder)
    assert found.settings.cache == "/nowhere"
    assert found.front.equals(search.front)
    assert found.best().export(tmp_path / "export").is_dir()
    for number in {s.number for s in found.strategies} - set(found.front.index) - {0}:
        # Other parallel settings of one artefact travel with it.
        travelled = folder / "cache" / "artifacts" / str(found.pick(number).record.artifact)
        if not travelled.is_dir():
            with pytest.raises(ArtifactError, match=r"search\.pack"):
                found.pick(number).export(tmp_path / "other")


@pytest.mark.slow
def test_a_search_that_finds_no_room_to_be_packed_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("autoopt.handle.packing._add_log", full)
    with pytest.raises(FolderError, match=r"cannot be packed into .*disk is full"):
        finished_search().pack(tmp_path / "sent.zip")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_search_is_refused(tmp_path):
    with pytest.raises(FolderError, match="is not there"):
        autoopt.open(tmp_path / "nothing")
    with pytest.raises(FolderError, match=r"log\.sqlite is missing"):
        autoopt.open(tmp_path)
    (tmp_path / LOG).write_bytes(b"no database at all, but some text of a certain length")
    with pytest.raises(FolderError, match="not the log of a search"):
        autoopt.open(tmp_path)
    (tmp_path / LOG).write_bytes(b"")
    with pytest.raises(FolderError, match="never begun"):
        autoopt.open(tmp_path)


@pytest.mark.slow
def test_a_log_that_was_cut_short_is_refused(tmp_path):
    folder = copied(tmp_path)
    content = (folder / LOG).read_bytes()
    (folder / LOG).write_bytes(content[: len(content) // 2])
    with pytest.raises(FolderError, match="malformed"):
        autoopt.open(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("record", {"number": "7"}),
        ("stage", {}),
        ("finished", {}),
        ("refusals", {"refusals": [1]}),
        ("refusals", {"refusals": [{"when": {"runtime": {}}}]}),
        ("choice", {"number": "a"}),
        ("command", {}),
        ("memory", {"number": 0, "stat": 3}),
    ],
)
def test_a_log_that_was_changed_is_refused_when_it_is_opened(tmp_path, kind, payload):
    folder = copied(tmp_path)
    with sqlite3.connect(folder / LOG) as log:
        if kind == "record":
            (text,) = log.execute(
                "SELECT payload FROM events WHERE kind='record' ORDER BY id DESC"
            ).fetchone()
            payload = {**json.loads(text), **payload}
        log.execute("INSERT INTO events (time, kind, payload) VALUES (?, ?, ?)",
                    [2e9, kind, json.dumps(payload)])  # fmt: skip
    with pytest.raises(FolderError, match=r"log\.sqlite in .* cannot be read"):
        autoopt.open(folder)


@pytest.mark.slow
def test_a_search_is_compared_with_another_or_its_folder(tmp_path):
    search, folder = finished_search(), copied(tmp_path)
    assert repr(search.compare(folder)) == repr(search.compare(autoopt.open(folder)))
    assert len(search.compare(str(folder)).fronts) == 2
    with pytest.raises(FolderError, match="is not there"):
        search.compare("nowhere")
    with pytest.raises(TypeError, match="or its folder, but got int"):
        search.compare(3)  # type: ignore[arg-type]  # bad input


@pytest.mark.slow
def test_a_search_of_a_newer_version_is_refused(tmp_path):
    folder = copied(tmp_path)
    with sqlite3.connect(folder / LOG) as log:
        (text,) = log.execute("SELECT payload FROM events WHERE kind='created'").fetchone()
        payload = json.loads(text)
        payload["settings"]["format"] = 99
        log.execute("UPDATE events SET payload=? WHERE kind='created'", [json.dumps(payload)])
    with pytest.raises(FolderError, match="format 1, but got 99"):
        autoopt.open(folder)


def test_two_fronts_stand_side_by_side():
    mine = story((0.9, 10, 4), (0.9, 4, 2), (0.8, 2, 2)).history
    other = story((0.9, 10, 4), (0.9, 5, 2), (0.7, 1, 2)).history
    found = compared_searches(mine, other, (Path("a"), Path("b")))
    assert found.reference == (0.7, 10, 4)
    volume = found.hypervolume
    # Box: 0.2 by 9 by 2; of size both reach 2 of 2.
    assert volume["a"] == pytest.approx((0.2 * 6 + 0.1 * 2) / (0.2 * 9))
    assert volume["b"] == pytest.approx((0.2 * 5) / (0.2 * 9))
    assert found.covered == {"a": 0.0, "b": 0.5}
    row = found.table.query("search == 'b' and number == 1").iloc[0]
    assert row["dominated_by"] == "1"
    assert "a is ahead" in repr(found)
    assert "<table" in found._repr_html_()


def test_searches_of_one_name_and_of_other_models_are_told_apart():
    mine = story((0.9, 10, 4)).history
    other = story((0.9, 10, 4), fingerprint="def").history
    found = compared_searches(mine, other, (Path("x/a"), Path("y/a")))
    assert found.names == ("this", "other")
    assert found.warnings[0].startswith("The two searched other models")
    assert found.hypervolume == {"this": 0.0, "other": 0.0}


def test_searches_under_other_conditions_are_told_apart():
    mine = story((0.9, 10, 4)).history
    assert compared_searches(mine, story((0.9, 9, 4)).history, (None, None)).warnings == ()
    other = story((0.9, 10, 4), request_size=1, threads=4, target="cuda").history
    assert compared_searches(mine, other, (None, None)).warnings == (
        "They were measured with 16 and 1 samples a request.",
        "They were measured with 2 and 4 threads.",
        "They were measured with the targets cpu and cuda.",
    )


def test_searches_are_compared_on_what_both_have():
    mine = story((0.9, 10, 4), (0.8, 5, 2)).history
    two = (ACCURACY, LATENCY)
    other = Story(axes=two, objectives=("quality", "latency"))
    other.record(measured(0, 0.9, 10, axes=two, role="original"))
    assert compared_searches(mine, other.history, (None, None)).axes == two
    none = Story(axes=(), objectives=())
    with pytest.raises(ConstraintError, match="both have"):
        compared_searches(mine, none.history, (None, None))
    with pytest.raises(ConstraintError, match="nothing to compare"):
        compared_searches(Story().history, Story().history, (None, None)).verdict()
