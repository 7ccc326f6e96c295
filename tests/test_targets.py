from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest
import torch

from autoopt.errors import RefusedError, UnknownNameError
from autoopt.handle.request import check_place
from autoopt.targets import TARGETS, load_target
from autoopt.targets.cpu import Cpu

CUDA = ("cuda", "cuda:0")


@pytest.mark.parametrize("name", ["cpu", *(pytest.param(n, marks=pytest.mark.cuda) for n in CUDA)])
def test_a_target_bears_its_name_and_describes_itself(name):
    target = load_target(name)
    description = target.describe()
    assert target.name == name
    assert description["name"] == name
    assert description["cores"] >= 1
    assert description["processor"]


def test_every_kind_of_target_is_tested():
    assert set(TARGETS) == {"cpu", *(name for name in CUDA if ":" not in name)}


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown target 'tpu'; known: cpu, cuda"):
        load_target("tpu")


@pytest.mark.parametrize("name", ["cpu:0", "cuda:", "cuda:one", "cuda:-1", "cuda:²"])
def test_a_number_is_taken_only_where_there_are_several_devices(name):
    with pytest.raises(UnknownNameError, match=re.escape(f"unknown target {name!r}")):
        load_target(name)


@pytest.mark.parametrize(
    ("built", "available", "count", "words"),
    [
        (None, False, 0, "was built without CUDA"),
        ("12.8", False, 0, "torch finds no CUDA device"),
        ("12.8", True, 1, "there are 1 CUDA devices, counted from 0"),
    ],
)
def test_an_absent_device_is_refused_with_the_reason(monkeypatch, built, available, count, words):
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(RefusedError, match=f"the target 'cuda:1' cannot be used: .*{words}"):
        load_target("cuda:1")


def test_a_cuda_device_names_what_its_tensor_cores_take(monkeypatch):
    properties = SimpleNamespace(
        name="Some GPU", major=8, minor=0, multi_processor_count=108, total_memory=40_000_000_000
    )
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    description = load_target("cuda").describe()
    assert description["instruction_sets"] == [
        "tensor_cores_fp16", "tensor_cores_int8", "tensor_cores_bf16",
    ]  # fmt: skip
    assert (description["architecture"], description["memory_mb"]) == ("sm_80", 40_000)
    check_place("cuda", None, None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", CUDA)
def test_a_search_on_a_device_that_is_not_there_is_refused_with_the_reason(name):
    with pytest.raises(RefusedError, match=f"the target '{name}' cannot be used: "):
        check_place(name, None, None)


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
