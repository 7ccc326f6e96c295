from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from autoopt.exporting.sections import report_sections
from autoopt.measure import environment
from autoopt.measure.environment import (
    chosen,
    compiler_version,
    cpu_quota,
    environment_of,
    ranges_of,
    set_variables,
    system_settings,
)


def test_the_environment_says_kernel_versions_and_affinity_and_is_plain(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    found = environment_of("cpu")
    assert found["system"]["system"] == platform.system()
    assert found["system"]["kernel"].startswith(platform.release())
    assert found["system"]["affinity"] == ranges_of(sorted(os.sched_getaffinity(0)))
    assert found["system"]["torch"]
    assert found["variables"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert (found["torch"], found["python"]) == (version("torch"), platform.python_version())
    assert json.loads(json.dumps(found)) == found


def test_no_name_of_the_machine_and_no_path_is_noted(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("HOME", "/nowhere/somebody-of-note")
    text = json.dumps(environment_of("cpu"))
    assert "somebody-of-note" not in text
    # A name as short as "vm" may stand in a word of the kernel's own.
    assert platform.node() not in json.loads(text)["system"].values()


def test_variables_are_those_that_count_and_libraries_lose_their_folders():
    found = set_variables(
        {
            "OMP_NUM_THREADS": "4",
            "LD_PRELOAD": "/opt/x/libjemalloc.so.2:/y/libiomp5.so",
            "HOME": "/",
        }
    )
    assert found == {"OMP_NUM_THREADS": "4", "LD_PRELOAD": "libjemalloc.so.2 libiomp5.so"}
    assert set_variables({}) == {}


def test_settings_are_read_as_the_kernel_shows_them_and_left_out_where_it_does_not(tmp_path: Path):
    governor = tmp_path / "devices/system/cpu/cpu0/cpufreq/scaling_governor"
    pages = tmp_path / "kernel/mm/transparent_hugepage/enabled"
    for path, text in ((governor, "performance\n"), (pages, "always [madvise] never\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    found = system_settings(tmp_path)
    assert (found["governor"], found["huge_pages"]) == ("performance", "madvise")
    assert {"boost", "no_turbo", "hyper_threading", "quota"}.isdisjoint(found)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
    ],
)
def test_the_quota_of_a_control_group_is_in_processors(tmp_path: Path, files, quota):
    for name, text in files.items():
        path = tmp_path / "fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert cpu_quota(tmp_path) == quota


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1], "0-1"), ([0, 1, 2, 3, 8, 10, 11], "0-3,8,10-11")],
)
def test_numbers_in_a_row_become_a_range(numbers, text):
    assert ranges_of(numbers) == text


def test_a_choice_is_what_stands_in_brackets():
    assert [chosen(x) for x in ("a [b] c", "plain", None)] == ["b", "plain", None]


def test_the_compiler_names_itself_and_may_be_absent(monkeypatch, tmp_path: Path):
    fake = tmp_path / "c++"
    fake.write_text("#!/bin/sh\necho 'Some compiler 1.2'\necho more\n")
    fake.chmod(0o755)
    for path, words in ((str(fake), "Some compiler 1.2"), (None, None), ("/no/such", None)):
        monkeypatch.setattr(environment, "compiler", lambda path=path: path)
        compiler_version.cache_clear()
        assert compiler_version() == words
    compiler_version.cache_clear()


def test_the_report_of_an_export_shows_the_system_apart_from_versions():
    stat = {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1, "unit": "ms"}
    where = {"processor": "Some CPU", "system": {"kernel": "6.1"}, "variables": {}, "numpy": "2.0"}
    record = {"measurement": {"stats": {"latency": stat}, "environment": where}}
    shown = report_sections({"record": record})
    assert shown["measured on"]["system"] == {"kernel": "6.1"}
    assert shown["measured on"]["versions"] == {"numpy": "2.0"}
    assert "environment variables" not in shown["measured on"]
