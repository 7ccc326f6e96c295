"""What torch compiles: all of it, however many artefacts a process has had before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.errors import ArtifactError
from autoopt.runtimes import compiled
from autoopt.runtimes.agreement import bound_of
from autoopt.runtimes.compiled import COARSE, _by_size, _warm_up
from autoopt.runtimes.finish import TF32, precision_on


def test_every_artefact_of_a_process_is_compiled_and_not_only_the_first_ones(monkeypatch):
    seen: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.append(graph)
        return graph.forward

    plain = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, dynamic: plain(f, dynamic=dynamic, backend=backend)
    )
    count = torch._dynamo.config.recompile_limit + 4
    kept = []
    for number in range(count):
        torch.manual_seed(number)
        module: Any = torch.export.export(nn.Linear(4, 4), (torch.randn(2, 4),)).module()
        call, x = _by_size(module, frozenset({2, 3})), torch.randn(2, 4)
        with torch.inference_mode():
            torch.testing.assert_close(call(x), module(x))
        kept.append(call)
        assert len(seen) == number + 1


def answers(*found: float) -> Any:
    values = iter(found)
    return lambda x: np.full(4, next(values))


@pytest.mark.parametrize(("bound", "fine"), [(compiled.MISCOMPILED, False), (COARSE, True)])
def test_native_code_may_differ_as_its_precision_explains(bound: float, fine: bool):
    x: list[Any] = [np.ones(4)]
    replica, plain = answers(1.2, 1.2, 1.2, 1.2), answers(1.0, 1.0)
    if fine:
        _warm_up(replica, plain, x, bound)
    else:
        with pytest.raises(ArtifactError, match=r"differs from its program by 0\.2"):
            _warm_up(replica, plain, x, bound)


@pytest.mark.parametrize(
    ("device", "precision", "allowed", "expected"),
    [
        ("cpu", "float32", True, "float32"),
        ("cuda:0", "float32", True, TF32),
        ("cuda:0", "float32", False, "float32"),
        ("cuda:0", "bfloat16", True, "bfloat16"),
    ],
)
def test_float32_is_what_tensor_cores_make_of_it(
    monkeypatch, device: str, precision: str, allowed: bool, expected: str
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    assert precision_on(device, precision) == expected


def test_tf32_has_the_bound_of_float16():
    assert bound_of(TF32) == bound_of("float16") == 0.1
