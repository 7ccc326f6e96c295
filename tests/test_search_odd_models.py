"""Whole searches over models that do what most do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import autoopt
from tests.small_searches import digits, fit, narrow


class Own(nn.Module):
    """An MLP on pixels from 0 to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(torch.relu(self.first(x / 255)))


class InPlace(Own):
    def forward(self, x: torch.Tensor) -> Any:
        # Its training loop below gives it rows picked anew, so nothing of the data changes there.
        x /= 255
        return self.head(torch.relu(self.first(x)))


class MonteCarlo(Own):
    def forward(self, x: torch.Tensor) -> Any:
        hidden = torch.relu(self.first(x / 255))
        return self.head(nn.functional.dropout(hidden, 0.1, training=True))


class Normed(Own):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(self.first)


class Versioned(Own):
    version = 3

    def get_extra_state(self) -> Any:
        return {"version": self.version}

    def set_extra_state(self, state: Any) -> None:
        self.version = state["version"]


class Named(Own):
    def forward(self, output: torch.Tensor) -> Any:
        return super().forward(output)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [InPlace, MonteCarlo, Normed, Versioned, Named])
def test_an_odd_model_is_searched_and_exported_like_any(kind: type[Own], tmp_path: Path) -> None:
    x, y = digits()
    x = x * np.float32(255)
    torch.manual_seed(0)
    model, kept = fit(kind(), x, y, epochs=10), x.copy()
    search = autoopt.search(
        model,
        (x, y),
        space=narrow(
            student=["none", "width"],
            recovery=["none", "finetune"],
            quantization=["float32", "weight_only"],
        ),
        budget="6 trials",
        objectives=["size"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    assert search.status.failed == 0
    assert search.trials["accuracy"].iloc[0] > 0.9
    assert np.array_equal(x, kept)
    small = min(search.strategies, key=lambda one: one["size"].value)
    with autoopt.load(small.export(tmp_path / "export")) as predict:
        assert float((predict(x[:200]).argmax(1) == y[:200]).mean()) > 0.8
