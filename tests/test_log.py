from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoopt.errors import FolderError
from autoopt.log import Log

ROOT = Path(__file__).parents[1]

WRITER = """
import sys
from pathlib import Path
from autoopt.log import Log
log = Log(Path(sys.argv[1]))
for i in range(int(sys.argv[3])):
    log.append("stage", {"writer": sys.argv[2], "i": i})
"""

# Writes an event by hand and stops with the transaction open and its pages on their way to disk.
MID_WRITE = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
for i in range(200):
    connection.execute(
        "INSERT INTO events (time, kind, payload) VALUES (0, 'stage', ?)", ("x" * 4000,)
    )
print("writing", flush=True)
time.sleep(60)
"""


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log.sqlite", create=True)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_events_come_back_in_order_as_they_were_written(log: Log):
    first = log.append("started", {"number": 0, "recipe": {"runtime": {"option": "eager"}}})
    second = log.append("record", {"number": 0, "text": "± “ü”"})
    events = Log(log.path).read()
    assert [(event.id, event.kind) for event in events] == [(first, "started"), (second, "record")]
    assert events[1].payload == {"number": 0, "text": "± “ü”"}
    assert events[0].time <= events[1].time


def test_reading_goes_on_after_an_id_and_can_be_of_one_kind(log: Log):
    ids = [log.append(kind, {}) for kind in ("started", "choice", "started")]
    assert [event.id for event in log.read(ids[0])] == ids[1:]
    assert [event.id for event in log.read(kind="started")] == [ids[0], ids[2]]
    assert [event.id for event in log.read(ids[0], kind="started")] == [ids[2]]
    assert log.read(ids[-1]) == []


def test_what_json_cannot_hold_is_refused_and_leaves_nothing(log: Log):
    with pytest.raises(TypeError, match="not JSON serializable"):
        log.append("record", {"value": object()})
    assert log.read() == []


def test_threads_write_at_once_and_none_is_lost(log: Log):
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda i: log.append("stage", {"i": i}), range(40)))
    events = log.read()
    assert sorted(ids) == [event.id for event in events]
    assert {event.payload["i"] for event in events} == set(range(40))


def test_processes_write_at_once_and_each_keeps_its_order(log: Log):
    writers = [start(WRITER, log.path, name, 15) for name in "ab"]
    seen: list[int] = []
    while any(writer.poll() is None for writer in writers):
        seen += [event.id for event in log.read(seen[-1] if seen else 0)]
    seen += [event.id for event in log.read(seen[-1] if seen else 0)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    events = log.read()
    # What a follower saw bit by bit is all there is: no event appears behind its back.
    assert seen == [event.id for event in events]
    for name in "ab":
        assert [e.payload["i"] for e in events if e.payload["writer"] == name] == list(range(15))


def test_a_writer_killed_in_the_middle_leaves_the_log_as_it_was(log: Log):
    log.append("started", {"number": 0})
    writer = start(MID_WRITE, log.path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    # The file itself was being changed, or this test would show nothing.
    assert log.path.with_name(log.path.name + "-journal").stat().st_size > 0
    again = Log(log.path)
    assert [event.payload for event in again.read()] == [{"number": 0}]
    again.append("abandoned", {"number": 0})
    assert [event.kind for event in again.read()] == ["started", "abandoned"]


def test_a_missing_log_is_named_with_its_folder(tmp_path: Path):
    with pytest.raises(FolderError, match=r"there is no search in .*: log\.sqlite is gone"):
        Log(tmp_path / "log.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_log_in_a_folder_that_does_not_exist_cannot_be_made(tmp_path: Path):
    with pytest.raises(FolderError, match="its folder must exist and be writable"):
        Log(tmp_path / "nowhere" / "log.sqlite", create=True)


@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_database_is_refused_and_stays(tmp_path: Path, create: bool):
    path = tmp_path / "log.sqlite"
    path.write_text("these are the notes of somebody else, long enough for a header\n" * 20)
    before = path.read_bytes()
    with pytest.raises(FolderError, match=r"log\.sqlite is not the log of a search: file is not"):
        Log(path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("schema", ["trials (id INTEGER)", "events (id INTEGER, what TEXT)"])
@pytest.mark.parametrize("create", [False, True])
def test_a_foreign_database_is_refused_and_stays(tmp_path: Path, create: bool, schema: str):
    path = tmp_path / "log.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE {schema}")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(FolderError, match="is not the log of a search: no such"):
        Log(path, create=create)
    assert path.read_bytes() == before


def test_opening_again_with_create_keeps_what_is_there(log: Log):
    log.append("started", {"number": 0})
    assert len(Log(log.path, create=True).read()) == 1


def test_a_log_killed_at_birth_is_taken_up(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    path.touch()
    log = Log(path)
    log.append("started", {"number": 0})
    assert len(log.read()) == 1
