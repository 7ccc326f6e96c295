"""What a search is asked for and cannot give."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

import autoopt
from autoopt.errors import AutooptError, SearchError
from search_spaces import SpaceError
from tests.small_searches import digits, history, narrow, start, trained_mlp, until


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"objectives": ["beauty"]}, r"'beauty'; known: .*latency.*size"),
        ({"objectives": ["size", "size"]}, "named once"),
        ({"metric": "prettiness"}, r"prettiness.*accuracy"),
        ({"space": "enormous"}, r"enormous.*known: quick, balanced, thorough"),
        ({"target": "abacus"}, r"abacus.*cpu"),
        ({"budget": "soon"}, "'soon'"),
        ({"budget": -3}, "seconds > 0"),
        ({"budget": "0 trials"}, "trials > 0"),
        ({"constraints": {"beauty": 1}}, r"'beauty'; known: accuracy, size"),
        ({"constraints": {"size": "tiny"}}, "'tiny'"),
        ({"sampler": "magic"}, r"'magic'; known: .*staged.*tpe"),
        ({"budget": float("inf")}, "be finite"),
        ({"seed": -1}, "`seed` must be a whole number .*-1"),
        ({"seed": 0.5}, "`seed` must be a whole number .*0.5"),
        ({"threads": 10_000}, "`threads` must be no more than .*10000"),
        ({"workers": 0}, "`workers` must be a whole number from 1 .*0"),
        ({"workers": 1.5}, "`workers` must be a whole number from 1 .*1.5"),
        ({"workers": 10_000}, "`workers` must be a whole number from 1 .*10000"),
        ({"limits": {"network": 3}}, "`limits` must be Limits"),
        ({"storage": "nonsense"}, "`storage` must be the URL .*'nonsense'"),
        ({"techniques": {"mine": object}}, r"must say its `slot`.*'mine'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_unknown_is_said_with_what_is_known_and_nothing_is_begun(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises((AutooptError, ValueError, SpaceError), match=words):
        start(tmp_path / "search", **options)
    assert not (tmp_path / "search" / "log.sqlite").exists()


@pytest.mark.parametrize("sampler", [3, None, object(), dict])
def test_what_is_no_sampler_is_refused_with_an_example(tmp_path: Path, sampler: object) -> None:
    with pytest.raises(TypeError, match=r"`sampler` must be 'tpe' or 'staged'.*NSGAIISampler"):
        start(tmp_path / "search", sampler=sampler)
    assert not (tmp_path / "search").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "search").write_text("mine")
    with pytest.raises(AutooptError, match="is a file"):
        start(tmp_path / "search")


def test_a_technique_that_cannot_travel_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    lock = threading.Lock()

    class Mine:
        slot = "pruning"
        settings: ClassVar[dict[str, Any]] = {}

        def apply(self, model: Any, task: Any) -> Any:
            with lock:
                return model

    with pytest.raises(SearchError, match=r"'mine' must be able to go .*cannot pickle"):
        start(tmp_path / "search", techniques={"mine": Mine})
    assert not (tmp_path / "search").exists()


def test_a_start_that_fails_leaves_what_was_there_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Any) -> Any:
        raise OSError("no more processes")

    monkeypatch.setattr("autoopt.controller.launch", fail)
    folder = tmp_path / "search"
    with pytest.raises(OSError, match="no more processes"):
        start(folder)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="no more processes"):
        start(folder)
    assert [item.name for item in folder.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_constraints_that_nothing_keeps_leave_an_empty_front_and_a_word(tmp_path: Path) -> None:
    search = start(tmp_path / "search", constraints={"size": "<= 0.000001 MB"})
    assert len(search.front) == 0
    assert "latency" not in search.front.columns
    assert {"strategy", "accuracy", "size_mb", "speedup"} <= set(search.front.columns)
    assert "none of 3 measured strategies satisfies size <= 1e-06" in repr(search)
    with pytest.raises(AutooptError, match=r"none of 3 measured .*nearest is number 2"):
        search.best("size")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of some size at a folder; only root can have one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    filler = disk / "filler"
    # The search writes meanwhile, so there may be less room than it seemed.
    with suppress(OSError):
        filler.write_bytes(b"x" * max(0, shutil.disk_usage(disk).free - leave))
    return filler


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_search_with_its_name_and_it_can_be_resumed(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        # Room for the log and the study, and none for the artefacts.
        options = {"cache": disk / "cache", "space": narrow(runtime=["eager"])}
        filler = fill(disk, leave=4096)
        with pytest.raises(SearchError, match=f"the disk that holds {disk}.* is full"):
            start(tmp_path / "search", **options)
        assert not history(tmp_path / "search").raw
        filler.unlink()
        search = autoopt.resume(tmp_path / "search", trained_mlp(), digits(), block=True)
        assert search.status.trials >= 2
        assert search.status.failed == 0


@pytest.mark.slow
def test_a_full_disk_under_the_search_itself_is_named_and_it_can_be_resumed(tmp_path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        search = start(
            disk / "search",
            cache=tmp_path / "cache",
            space=narrow(parallel=["default", "tuned"]),
            budget="30 trials",
            objectives=["latency"],
            block=False,
        )
        until(lambda: search.strategies, "the first candidate")
        filler = fill(disk, leave=0)
        with pytest.raises(SearchError, match=f"the disk that holds {disk}.* is full"):
            search.wait(120)
        filler.unlink()
        measured = len(search.strategies)
        assert measured >= 1
        again = autoopt.resume(
            disk / "search", trained_mlp(), digits(), budget="1 trial", block=True
        )
        assert again.status.trials == measured + 1
