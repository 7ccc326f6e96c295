from __future__ import annotations

import os

import pytest

from autoopt.errors import UnknownNameError
from autoopt.targets import TARGETS, load_target
from autoopt.targets.cpu import Cpu


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_bears_its_name_and_describes_itself(name):
    target = load_target(name)
    description = target.describe()
    assert target.name == name
    assert description["name"] == name
    assert description["cores"] >= 1
    assert description["processor"]


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown target 'tpu'; known: cpu"):
        load_target("tpu")


def test_an_x86_processor_names_the_instruction_sets_that_matter(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni "
        "avx512_bf16 amx_tile\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    description = Cpu(cpuinfo).describe()
    assert description["processor"] == "Some CPU"
    assert description["instruction_sets"] == [
        "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx",
    ]  # fmt: skip


def test_an_arm_processor_names_neon(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nFeatures : fp asimd asimddp bf16\n")
    found = Cpu(cpuinfo).describe()["instruction_sets"]
    assert found == ["neon", "neon_dotprod", "neon_bf16"]


def test_a_system_without_cpuinfo_is_described_too(tmp_path):
    description = Cpu(tmp_path / "absent").describe()
    assert description["instruction_sets"] == []
    assert description["architecture"] == os.uname().machine
