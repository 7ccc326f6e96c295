from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoopt.cache import Cache, cache_key, default_cache_folder

ROOT = Path(__file__).parents[1]

# Stops inside the block once its file is on disk; goes on when it is told to.
WRITER = """
import sys
from pathlib import Path
from autoopt.cache import Cache
with Cache(Path(sys.argv[1])).write("networks", "k") as (folder, meta):
    (folder / "weights").write_text(sys.argv[2])
    meta["by"] = sys.argv[2]
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def store(cache: Cache, key: str, **meta: object) -> None:
    with cache.write("networks", key) as (folder, said):
        (folder / "weights").write_text(key)
        said.update(meta)


def writer(cache: Cache, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(cache.folder), name],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_was_stored_is_found_with_what_was_said_of_it(cache: Cache):
    store(cache, "k", cost=2.5)
    entry = cache.get("networks", "k")
    assert entry is not None
    assert (entry.key, entry.meta) == ("k", {"cost": 2.5})
    assert (entry.folder / "weights").read_text() == "k"
    assert cache.get("artifacts", "k") is None


def test_an_empty_cache_has_nothing_and_makes_no_folder(cache: Cache):
    assert cache.get("networks", "k") is None
    assert cache.entries("networks") == []
    assert not cache.folder.exists()


def test_nothing_is_seen_before_the_block_ends(cache: Cache):
    with cache.write("networks", "k") as (folder, _):
        (folder / "weights").write_text("half")
        assert cache.get("networks", "k") is None
        assert cache.entries("networks") == []
    assert cache.get("networks", "k") is not None


def test_a_block_that_raises_leaves_nothing(cache: Cache):
    def break_off() -> None:
        with cache.write("networks", "k") as (folder, _):
            (folder / "weights").write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        break_off()
    assert cache.get("networks", "k") is None
    assert list((cache.folder / "networks").iterdir()) == []


def test_a_writer_killed_inside_the_block_leaves_no_entry_and_the_key_free(cache: Cache):
    process = writer(cache, "dead")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list((cache.folder / "networks").rglob("weights"))  # it had begun to write
    assert cache.get("networks", "k") is None
    assert cache.entries("networks") == []
    store(cache, "k")
    assert [entry.key for entry in cache.entries("networks")] == ["k"]


def test_two_processes_that_write_one_key_both_succeed_and_one_whole_entry_stays(cache: Cache):
    processes = [writer(cache, name) for name in ("one", "other")]
    for process in processes:
        process.communicate("go\n")
        assert process.returncode == 0
    entry = cache.get("networks", "k")
    assert entry is not None
    assert (entry.folder / "weights").read_text() == entry.meta["by"] == "one"
    assert [path.name for path in (cache.folder / "networks").iterdir()] == ["k"]


def test_a_key_stored_again_keeps_its_first_entry(cache: Cache):
    store(cache, "k", turn=1)
    store(cache, "k", turn=2)
    entry = cache.get("networks", "k")
    assert entry is not None
    assert entry.meta == {"turn": 1}


def test_what_stands_in_the_place_of_an_entry_without_being_one_is_replaced(cache: Cache):
    (cache.folder / "networks" / "k").mkdir(parents=True)
    (cache.folder / "networks" / "k" / "foreign").touch()
    store(cache, "k", cost=1.0)
    entry = cache.get("networks", "k")
    assert entry is not None
    assert not (entry.folder / "foreign").exists()


def test_a_damaged_entry_counts_as_missing_and_is_replaced(cache: Cache):
    store(cache, "k", cost=1.0)
    (cache.folder / "networks" / "k" / "entry.json").write_text("{")
    assert cache.get("networks", "k") is None
    store(cache, "k", cost=2.0)
    entry = cache.get("networks", "k")
    assert entry is not None
    assert entry.meta["cost"] == 2.0


def test_what_json_cannot_hold_is_refused_and_leaves_nothing(cache: Cache):
    with pytest.raises(TypeError, match="not JSON serializable"):
        store(cache, "k", model=object())
    assert cache.entries("networks") == []


def test_entries_come_oldest_first(cache: Cache):
    for key, created in [("b", 3.0), ("c", 1.0), ("a", 2.0)]:
        store(cache, key, created=created)
    assert [entry.key for entry in cache.entries("networks")] == ["c", "a", "b"]


def test_keys_depend_on_the_values_and_not_on_their_order():
    parts = {"task": "abc", "recipe": [["student", "width", [["fraction", 0.5]]]], "seed": 0}
    assert cache_key(parts) == cache_key(dict(reversed(parts.items())))
    assert cache_key(parts) != cache_key({**parts, "seed": 1})


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_keys_are_the_same_in_a_process_with_another_hash_seed(hash_seed: str):
    code = "from autoopt.cache import cache_key; print(cache_key({'b': [1, 'ü'], 'a': None}))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    ).stdout
    assert out.decode().strip() == cache_key({"a": None, "b": [1, "ü"]})


def test_the_folder_is_that_of_the_environment_or_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("AUTOOPT_CACHE", str(tmp_path / "own"))
    assert default_cache_folder() == tmp_path / "own"
    monkeypatch.delenv("AUTOOPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "autoopt"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "autoopt"


def test_a_scratch_folder_that_was_left_days_ago_is_cleared_by_the_next_write(cache: Cache):
    store(cache, "k")
    root = cache.folder / "networks"
    old, young = root / ".writing-old", root / ".writing-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    store(cache, "other")
    assert not old.exists()
    assert young.exists()
