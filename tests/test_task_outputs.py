"""Which of several outputs counts, and that all of them can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import autoopt
from autoopt.errors import DataError, ModelError
from autoopt.task import make_task
from autoopt.task.columns import Columns, output_names
from tests.small_searches import narrow

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
Y = torch.stack([(X[:, 0] > 0).float(), X.sum(1)], dim=1)


class Pair(nn.Module):
    def __init__(self, form: type = dict) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = nn.Linear(6, 2)
        self.amount = nn.Linear(6, 1)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        if self.form is tuple:
            return self.kind(x), self.amount(x)
        return {"kind": self.kind(x), "amount": self.amount(x)}


def loss(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs["kind"], targets[:, 0].long()) + F.mse_loss(
        outputs["amount"][:, 0], targets[:, 1]
    )


def right(outputs: dict[str, Any], targets: Any) -> float:
    return float((outputs["kind"].argmax(1) == targets[:, 0]).mean())


def both(**changes: Any) -> Any:
    wanted = {"output": ["kind", "amount"], "loss": loss, "metric": right, "threads": 1}
    return make_task(Pair().eval(), (X, Y), **{**wanted, **changes})


def test_one_output_counts_and_the_rest_is_named() -> None:
    kinds = Y[:, 0].long()
    task = make_task(Pair(tuple).eval(), (X, kinds), threads=1)
    assert task.metric.name == "accuracy"
    assert any("(0, 1) only the first is judged" in note for note in task.notes)
    named = make_task(Pair().eval(), (X, Y[:, 1:]), output="amount", threads=1)
    assert named.metric.name == "r2"
    assert any("only 'amount' is judged" in note for note in named.notes)
    assert task.fingerprint != named.fingerprint


def test_several_outputs_stand_side_by_side_and_are_judged_by_name() -> None:
    task = both()
    outputs = task.forward(task.model, task.example)
    expected = task.model(*task.example)
    torch.testing.assert_close(outputs[:, :2], expected["kind"])
    torch.testing.assert_close(outputs[:, 2:], expected["amount"])
    targets = task.validation.targets()[: len(outputs)]
    torch.testing.assert_close(task.loss(outputs, targets), loss(expected, targets))
    assert task.metric.name == "right"
    assert any("'kind' in columns 0 to 1, 'amount' in columns 2 to 2" in n for n in task.notes)


def test_their_judges_have_to_be_given() -> None:
    with pytest.raises(DataError, match="metric and loss cannot be guessed"):
        both(metric=None, loss=None)


@pytest.mark.parametrize("output", [[], ["kind", "kind"], 1.5, True, [None]])
def test_what_names_no_output_is_refused(output: Any) -> None:
    with pytest.raises(ModelError, match="`output` must be the name of an output"):
        output_names(output)


def test_an_unknown_output_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="got 'kin'; it returns 'kind', 'amount'"):
        both(output=["kin"])


def test_columns_are_taken_apart_as_they_were_put_together() -> None:
    columns = Columns((("a", (2, 3)), ("b", ())))
    values = np.arange(28).reshape(4, 7)
    found = columns.split(values)
    assert found["a"].shape == (4, 2, 3)
    assert found["b"].tolist() == values[:, 6].tolist()


def test_every_output_reaches_the_export(tmp_path: Path) -> None:
    model = Pair().eval()
    search = autoopt.search(
        model,
        (X, Y),
        output=["kind", "amount"],
        loss=loss,
        metric=right,
        space=narrow(runtime=["eager", "onnxruntime"], quantization=["float32"]),
        objectives=["size"],
        budget="2 trials",
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    search.pick(search.trials.index[-1]).export(tmp_path / "deploy")
    found: Any = autoopt.load(tmp_path / "deploy")(X[:4].numpy())
    expected = model(X[:4])
    wanted = torch.cat([expected["kind"], expected["amount"]], dim=1).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
