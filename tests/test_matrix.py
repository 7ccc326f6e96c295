"""The contract of every technique on the common architectures, and that it catches what lies."""

from __future__ import annotations

import copy
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import nn

from autoopt.errors import DisagreementError, RefusedError
from autoopt.recipe import Recipe
from autoopt.techniques import TECHNIQUES
from search_spaces import NEUTRAL
from tests import contract
from tests.applicability import NEEDED_BY, NEEDS, lacking
from tests.architectures import ARCHITECTURES, trained_task, untrained_task
from tests.benchmarks import matrix
from tests.benchmarks.matrix import PROMISED, QUICK, cells, report, run
from tests.benchmarks.registry import below
from tests.contract import Cell, Contract, guessed_quality, least_skill, quality
from tests.promised import promised_saving
from tests.subjects import SLOTS, VARIANTS, Subject, subjects

TRANSFORMERS = {"vit", "bert", "gpt2", "llama"}
EVERY = tuple(subjects())


def test_every_line_of_the_table_is_a_subject():
    listed = {(subject.slot, subject.option) for subject in EVERY}
    assert {subject.option for subject in EVERY if "[" in subject.name} == set(VARIANTS)
    table = {
        (slot, option) for slot in SLOTS for option in TECHNIQUES[slot] if option != NEUTRAL[slot]
    }
    assert listed == table
    names = [subject.name for subject in EVERY]
    assert len(set(names)) == len(names)


def test_every_bound_of_quality_binds_something_that_is_there():
    options = {subject.option for subject in EVERY}
    assert {option for _, option in contract.SKILL_ON} <= options
    assert set(contract.SKILL_OF) <= options | {subject.name for subject in EVERY}
    assert {*contract.LEAST, *(name for name, _ in contract.SKILL_ON)} <= set(ARCHITECTURES)
    least = [least_skill(subject, name) for subject in EVERY for name in ("", *ARCHITECTURES)]
    assert min(least) >= 0.1


@pytest.mark.parametrize(
    ("option", "architecture", "least"),
    [
        ("binary", "", 0.4),
        ("binary", "two_outputs", 0.1),
        ("binary", "mlp", 0.9),
        ("fresh", "", 0.4),
        ("fresh", "gru", 0.2),
        ("packed", "resnet", 0.8),
        ("width", "resnet", 0.75),
    ],
)
def test_a_bound_is_that_of_the_cell_but_never_less_than_the_architectures(
    option: str, architecture: str, least: float
):
    (subject,) = (subject for subject in EVERY if subject.name == option)
    assert least_skill(subject, architecture) == least


def test_the_table_holds_as_many_techniques_and_architectures_as_are_promised():
    assert len({subject.option for subject in EVERY}) >= PROMISED["techniques_ok"] == 20
    assert len(ARCHITECTURES) >= PROMISED["architectures"] == 11


@pytest.mark.parametrize(
    ("need", "having"),
    [
        ("batch_norm", {"resnet", "mobilenet", "unet", "conv1d", "two_inputs", "two_outputs"}),
        ("heads", TRANSFORMERS),
        ("feed_forward", TRANSFORMERS),
        ("positions", set(ARCHITECTURES) - {"mlp", "tied"}),
        ("recurrent", {"lstm", "gru"}),
        ("cuda", set(ARCHITECTURES) if torch.cuda.is_available() else set()),
    ],
)
def test_what_architectures_have(need: str, having: set[str]):
    assert {name for name in ARCHITECTURES if NEEDS[need].there(untrained_task(name))} == having


def test_attention_alone_is_no_feed_forward():
    task = untrained_task("mlp")
    alone = nn.ModuleDict({"query": nn.Linear(8, 8), "value": nn.Linear(8, 8)})
    beside = nn.ModuleDict(
        {"query": nn.Linear(8, 8), "up": nn.Linear(8, 16), "down": nn.Linear(16, 8)}
    )
    there = NEEDS["feed_forward"].there
    assert not there(dataclasses.replace(task, model=alone))
    assert there(dataclasses.replace(task, model=beside))


def test_blocks_are_repeated_where_a_sequence_holds_one_class_twice():
    there = NEEDS["blocks"].there
    having = {name for name in ARCHITECTURES if there(untrained_task(name))}
    assert having >= {"resnet", "mobilenet", "vit", "bert", "gpt2", "llama", "mlp"}
    assert having.isdisjoint({"lstm", "gru", "tied"})


def test_what_is_needed_is_known_and_said():
    assert set(NEEDED_BY.values()) <= set(NEEDS)
    assert lacking("recalibrate", untrained_task("mlp")) == "no batch norm"
    assert lacking("heads", untrained_task("resnet")) == "no attention heads"
    assert lacking("heads", untrained_task("bert")) is None


@pytest.mark.parametrize("name", ["mlp", "resnet", "lstm"])
def test_an_architecture_learns_its_data(name: str):
    assert_learned(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"mlp", "resnet", "lstm"}))
def test_every_other_architecture_learns_its_data(name: str):
    assert_learned(name)


def assert_learned(name: str) -> None:
    task = trained_task(name)
    sign = 1 if task.metric.direction == "maximize" else -1
    learned, guessed = quality(task, task.model), guessed_quality(task)
    assert sign * learned > sign * guessed
    assert sign * learned > sign * quality(task, untrained_task(name).model)


@pytest.mark.parametrize("subject", EVERY, ids=lambda subject: subject.name)
def test_a_technique_keeps_its_contract_on_a_table(subject: Subject):
    (cell,) = cells(["mlp"], [subject])
    assert cell.outcome != "failed", cell.reason
    assert cell.reason


# What goes another way through attention, turned weights, tied embeddings; the benchmark has all.
ON_TEXT = {
    "depth", "width", "heads", "feed_forward", "sparse", "svd", "tied", "distill", "qat",
    "dynamic_int8", "weight_only", "packed", "codebook", "mixed",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in QUICK if name != "mlp"])
def test_techniques_keep_their_contract(name: str):
    chosen = [subject for subject in EVERY if name != "gpt2" or subject.name in ON_TEXT]
    assert name != "gpt2" or {subject.name for subject in chosen} == ON_TEXT
    found = list(cells([name], chosen))
    assert [cell for cell in found if cell.outcome == "failed"] == []
    assert [cell for cell in found if not cell.reason] == []


# ------------------------------------------------------------------ what lies is caught


@dataclass(frozen=True)
class Idle:
    """Says that it prunes."""

    slot: ClassVar[str] = "pruning"

    def refuse(self, task: Any, target: Any) -> str | None:
        return None

    def apply(self, model: nn.Module, task: Any) -> nn.Module:
        return copy.deepcopy(model)


class Shorter(Idle):
    def apply(self, model: Any, task: Any) -> nn.Module:
        network: nn.Module = copy.deepcopy(model)
        network.layers = nn.Sequential(*model.layers[:3], model.layers[-1])
        return network


class Forgetful(Idle):
    """Its network is another one each time."""

    def apply(self, model: nn.Module, task: Any) -> nn.Module:
        network = copy.deepcopy(model)
        network.extra = nn.Linear(int(torch.randint(1, 99, ())), 1)
        return network


class Refusing(Idle):
    def apply(self, model: nn.Module, task: Any) -> nn.Module:
        raise RefusedError("there is nothing to cut in this network")


class Wider(Idle):
    def apply(self, model: Any, task: Any) -> Any:
        network = copy.deepcopy(model)
        network.layers[-1] = nn.Linear(64, 3)
        return network


class Guessing(Idle):
    """Cut, but it answers the same whatever it is asked; its last layer alone can learn."""

    def apply(self, model: Any, task: Any) -> Any:
        network = copy.deepcopy(model)
        network.layers = nn.Sequential(nn.Linear(30, 64), nn.Threshold(1e9, 0.0), nn.Linear(64, 2))
        return network


class Deaf(Idle):
    """Cut, but nothing that it holds moves its answers."""

    def apply(self, model: Any, task: Any) -> Any:
        network = copy.deepcopy(model)
        network.layers = nn.Sequential(nn.Linear(30, 2), nn.Threshold(1e9, 0.0))
        return network


@pytest.mark.parametrize(
    ("technique", "outcome", "reason"),
    [
        (Idle, "failed", "nothing has changed"),
        (Forgetful, "failed", "size mismatch"),
        (Wider, "failed", "instead of"),
        (Deaf, "failed", "every gradient is zero"),
        (Shorter, "ok", "of the parameters"),
        (Refusing, "refused", "nothing to cut"),
    ],
)
def test_the_contract_judges(
    technique: type, outcome: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contract, "SKILL_KEPT", {"pruning": -1.0})
    judge = Contract(trained_task("mlp"), tmp_path)
    judge.bench.techniques = {"planted": technique}
    found = judge.check(Subject("pruning", "planted", {}, "planted"))
    assert found[0] == outcome, found
    assert reason in found[1]


class Shaking:
    """A recovery that only moves the weights about."""

    slot: ClassVar[str] = "recovery"

    def refuse(self, task: Any, target: Any) -> str | None:
        return None

    def apply(self, model: nn.Module, task: Any) -> nn.Module:
        network = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * parameter.abs().mean() * torch.randn_like(parameter))
        return network


def test_a_recovery_that_brings_nothing_back_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contract, "load_technique", lambda *names: Shaking)
    judge = Contract(trained_task("mlp"), tmp_path)
    outcome, reason = judge.check(Subject("recovery", "planted", {}, "planted"))
    assert (outcome, "nothing has been recovered" in reason) == ("failed", True), reason


@pytest.mark.parametrize(("architecture", "least"), [("", 0.0), ("mlp", 0.9)])
def test_what_only_guesses_fails(
    architecture: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contract, "SKILL_KEPT", {"pruning": 0.0})
    judge = Contract(trained_task("mlp"), tmp_path, architecture=architecture)
    judge.bench.techniques = {"planted": Guessing}
    outcome, reason = judge.check(Subject("pruning", "planted", {}, "planted"))
    assert (outcome, f"not more than {least}" in reason) == ("failed", True)


def test_a_start_that_changes_nothing_fails_whatever_the_recovery_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contract, "WEIGHTS_ONLY", {"planted"})
    judge = Contract(trained_task("mlp"), tmp_path)
    judge.bench.techniques = {"planted": Idle}
    outcome, reason = judge.check(Subject("pruning", "planted", {}, "planted"))
    assert (outcome, "nothing has changed" in reason) == ("failed", True)


def test_a_precision_that_reaches_no_layer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contract, "promised_saving", lambda *_: 0)
    judge = Contract(trained_task("mlp"), tmp_path)
    outcome, reason = judge.check(Subject("quantization", "packed", {"bits": 4}, "packed"))
    assert (outcome, "no layer has fewer bits" in reason) == ("failed", True)


def test_a_recovery_that_changes_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contract, "load_technique", lambda slot, option: Idle)
    judge = Contract(trained_task("mlp"), tmp_path)
    outcome, reason = judge.check(Subject("recovery", "planted", {}, "planted"))
    assert (outcome, "no weight and no statistic has changed" in reason) == ("failed", True)


@pytest.mark.parametrize(
    ("answers", "outcome", "reason"),
    [
        (["fine", "fine", "fine"], "ok", "openvino: fine"),
        (["fine", AssertionError("too big"), "fine"], "failed", "openvino falls short: too big"),
        (["fine", DisagreementError("off"), "fine"], "failed", "openvino: off"),
        ([AssertionError("big"), *[RefusedError("none")] * 2], "failed", "onnxruntime falls short"),
        (["fine", RefusedError("no kernel"), "fine"], "ok", "openvino: no kernel"),
        ([RefusedError("no kernel")] * 3, "refused", "eager: no kernel"),
        (["fine", KeyError("planted"), "fine"], "failed", "KeyError: 'planted'"),
    ],
)
def test_every_runtime_serves_a_precision_or_refuses_it(
    answers: list[Any], outcome: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    left = iter(answers)

    def answer(self: Contract, subject: Subject, runtime: str, recipe: Recipe) -> str:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return str(found)

    monkeypatch.setattr(Contract, "_check_artifact", answer)
    judge = Contract(trained_task("mlp"), tmp_path)
    found = judge.check(Subject("quantization", "static_int8", {}, "static_int8"))
    assert found[0] == outcome
    assert reason in found[1]


def test_an_unknown_architecture_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown architectures \['resnett'\]; known: mlp, "):
        run(["mlp", "resnett"])


def test_the_layer_that_is_named_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (spared,) = (subject for subject in EVERY if subject.name == "sparse[layers=first=0]")
    judge = Contract(trained_task("mlp"), tmp_path)
    assert judge.check(spared)[0] == "ok"
    settings = {**spared.settings, "layers": "layers.2.linear=0"}
    lying = dataclasses.replace(spared, settings=settings)
    monkeypatch.setattr(Contract, "_named", lambda self, _: (lying, "layers.0"))
    assert judge.check(spared) == ("failed", "AssertionError: 'layers.0' was to stay whole")


def test_the_report_counts_and_prints_every_cell():
    found = [
        Cell("a", "x", "ok", "fine"),
        Cell("a", "y", "not_applicable", "no heads"),
        Cell("b", "x", "failed", "ValueError: planted"),
        Cell("b", "y", "refused", "cannot"),
    ]
    out = io.StringIO()
    made = report(found, console=Console(file=out, width=100))
    assert made.figures["ok_share"] == pytest.approx(1 / 3)
    assert made.figures["failed"] == 1
    assert made.lists["cells"][1] == {
        "technique": "a",
        "architecture": "y",
        "outcome": "not_applicable",
        "reason": "no heads",
    }
    assert "b on x: ValueError: planted" in out.getvalue()


def test_the_matrix_says_what_it_misses(monkeypatch: pytest.MonkeyPatch):
    def planted(architectures: Iterable[str]) -> Iterator[Cell]:
        for name in architectures:
            yield Cell("a", name, "failed" if name == "mlp" else "ok", "planted")
            yield Cell("b", name, "not_applicable", "planted")

    monkeypatch.setattr(matrix, "cells", planted)
    whole = run()
    assert whole.missed == ["1 cells fail", "techniques_ok is 1, at least 20 is promised"]
    assert run(["mlp"]).missed == ["1 cells fail"]
    assert run(["resnet"]).missed == []


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_each_promise_is_held_on_its_own(name: str):
    kept = dict(PROMISED)
    assert below(kept, PROMISED) == []
    (said,) = below({**kept, name: 0.99 * kept[name]}, PROMISED)
    assert said.startswith(name)


def test_what_the_bits_promise_is_counted_by_the_byte_and_tied_weights_once():
    network = untrained_task("tied").model
    few = {"down": 4, "middle": 8, "head": 32}
    assert promised_saving(network, few, 4) == 64 * 48 * 28 // 8 + 48 * 48 * 3
    assert promised_saving(network, few | {"again": 4}, 4) == promised_saving(network, few, 4)
    whole = 64 * 48 + 48 * 48 + 48 * 10
    assert promised_saving(network, {}, 16) == whole * 2


def test_an_artefact_that_saves_too_little_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contract, "promised_saving", lambda *_: 10**6)
    monkeypatch.setattr(contract, "saved_by_weights", lambda _: 7)
    judge = Contract(trained_task("mlp"), tmp_path)
    outcome, reason = judge.check(Subject("quantization", "packed", {"bits": 4}, "packed"))
    assert outcome == "failed"
    assert "7 bytes saved of 1000000 that the bits promise" in reason


def test_the_matrix_of_the_readme_has_a_row_for_every_subject_and_counts_its_marks():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = text.partition("<summary>The matrix:")[2].partition("</details>")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", table, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [subject.name for subject in EVERY]
    assert {len(marks.split(" | ")) for _, marks in rows} == {len(ARCHITECTURES)}
    counts = Counter(mark for _, marks in rows for mark in marks.split(" | "))
    said = re.search(r"Of the (\d+) cells that\s+apply (\d+) work and (\d+) refuse; none", text)
    assert said is not None
    apply, work, refuse = map(int, said.groups())
    assert (work, refuse) == (counts["+"], counts["r"])
    assert apply == work + refuse
