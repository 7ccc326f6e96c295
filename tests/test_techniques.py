"""The contract, over the table: a new technique is tested by its line."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoopt.errors import RefusedError, UnknownNameError
from autoopt.interfaces import (
    Parallel,
    Quantization,
    RewritingTechnique,
    StructuralTechnique,
    Technique,
)
from autoopt.plan import from_json, to_json
from autoopt.replay import replay
from autoopt.techniques import TECHNIQUES, load_technique
from tests.technique_models import HERE, NETS, UNTRACEABLE, task_of

CUTS = [
    (slot, option)
    for slot in ("student", "pruning", "factorization")
    for option in TECHNIQUES[slot]
]
REWRITING = [cut for cut in CUTS if isinstance(load_technique(*cut)(), RewritingTechnique)]
STRUCTURAL = [cut for cut in CUTS if cut not in REWRITING]
RECOVERIES = [("recovery", option) for option in TECHNIQUES["recovery"]]
EVERY = [(slot, option) for slot, options in TECHNIQUES.items() for option in options]
KINDS = [*NETS, *UNTRACEABLE]


def made(slot: str, option: str) -> Any:
    cls = load_technique(slot, option)
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**({"epochs": 1} if "epochs" in names else {}))


def bytes_of(model: nn.Module):
    state = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    return state, [module.training for module in model.modules()]


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def check_network(network: nn.Module, task) -> None:
    with torch.no_grad():
        outputs = task.forward(network, task.example)
        expected = task.forward(task.model, task.example)
    assert outputs.shape == expected.shape
    assert outputs.isfinite().all()
    assert not network.training


def rewritten(technique, task):
    """Return network and edits, or None where they are refused in words."""
    try:
        return technique.rewrite(task.model, task)
    except RefusedError as error:
        if len(str(error).split()) <= 4:
            raise
        return None


@pytest.mark.parametrize(("slot", "option"), EVERY)
def test_settings_are_fields_of_a_frozen_dataclass_with_defaults(slot, option):
    technique = made(slot, option)
    assert dataclasses.is_dataclass(type(technique))
    assert dataclasses.replace(technique) == technique
    assert hash(technique) == hash(dataclasses.replace(technique))
    with pytest.raises(dataclasses.FrozenInstanceError):
        technique.anything = 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slot", "option"), STRUCTURAL)
def test_a_structural_technique_refuses_in_words_or_gives_a_smaller_network(slot, option, kind):
    task, technique = task_of(kind), made(slot, option)
    assert isinstance(technique, StructuralTechnique)
    before = bytes_of(task.model)
    reason = technique.refuse(task, HERE)
    if reason is not None:
        assert len(reason.split()) > 4
        return
    edits = technique.edits(task.model, task)
    assert bytes_of(task.model) == before
    assert technique.edits(task.model, task) == edits
    network = replay(task.model, edits)
    check_network(network, task)
    assert weights(network) < weights(task.model) or option == "none"
    again = replay(task.model, from_json(json.loads(json.dumps(to_json(edits)))))
    assert bytes_of(again) == bytes_of(network)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slot", "option"), REWRITING)
def test_a_rewriting_technique_refuses_in_words_or_gives_another_network_and_its_shapes(
    slot, option, kind
):
    task, technique = task_of(kind), made(slot, option)
    before, random = bytes_of(task.model), torch.get_rng_state()
    reason = technique.refuse(task, HERE)
    if reason is not None:
        assert len(reason.split()) > 4
        return
    found = rewritten(technique, task)
    if found is None:
        return
    network, edits = found
    assert bytes_of(task.model) == before
    assert torch.equal(torch.get_rng_state(), random)
    check_network(network, task)
    shapes = replay(task.model, from_json(json.loads(json.dumps(to_json(edits)))))
    shapes.load_state_dict(network.state_dict())
    assert bytes_of(shapes.eval()) == bytes_of(network)
    assert bytes_of(network) != before
    assert bytes_of(technique.apply(task.model, task)) == bytes_of(network)


@pytest.mark.parametrize("kind", ["residual", "plain", "attention", "lstm"])
@pytest.mark.parametrize(("slot", "option"), RECOVERIES)
def test_a_recovery_refuses_in_words_or_gives_the_same_network_for_the_same_seed(
    slot, option, kind
):
    task, technique = task_of(kind), made(slot, option)
    assert isinstance(technique, Technique)
    reason = technique.refuse(task, HERE)
    if reason is not None:
        assert len(reason.split()) > 4
        return
    model = copy.deepcopy(task.model).train()
    before, random = bytes_of(model), torch.get_rng_state()
    network = technique.apply(model, task)
    assert bytes_of(model) == before
    assert torch.equal(torch.get_rng_state(), random)
    check_network(network.eval(), task)
    assert weights(network) == weights(model)
    assert bytes_of(technique.apply(model, task).eval()) == bytes_of(network)


@pytest.mark.parametrize("option", TECHNIQUES["quantization"])
def test_a_quantization_option_is_a_request(option):
    assert isinstance(made("quantization", option).request(), Quantization)


@pytest.mark.parametrize("option", TECHNIQUES["parallel"])
def test_a_parallel_option_is_a_configuration_of_a_task(option):
    assert isinstance(made("parallel", option).config(task_of("plain")), Parallel)


def test_requests_carry_their_settings():
    load = load_technique
    int8 = load("quantization", "static_int8")("per_tensor", "first_last").request()
    assert int8 == Quantization("static", 8, "per_tensor", "first_last")
    assert load("quantization", "weight_only")(4).request().bits == 4
    assert load("quantization", "bfloat16")().request() == Quantization("bfloat16", 16)
    assert load("quantization", "float32")().request() == Quantization()
    assert load("parallel", "tuned")(2, 2, 4).config(task_of("plain")) == Parallel(2, 2, 4)
    assert load("parallel", "default")().config(task_of("plain")).threads == 1


def test_settings_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match=r"`bits` must be one of 8, 4, 2, but got 3"):
        load_technique("quantization", "weight_only")(3)
    with pytest.raises(ValueError, match="`keep` must be one of"):
        load_technique("quantization", "static_int8")(keep="all")
    with pytest.raises(ValueError, match="threads=0"):
        load_technique("parallel", "tuned")(threads=0)
    for option in ("finetune", "distill"):
        with pytest.raises(ValueError, match="`epochs` must be at least 1, but got 0"):
            load_technique("recovery", option)(epochs=0)
        with pytest.raises(ValueError, match="`learning_rate` must be above 0 and finite"):
            load_technique("recovery", option)(learning_rate=float("nan"))
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        load_technique("recovery", "distill")(temperature=0)
    with pytest.raises(ValueError, match="`alpha` must be at least 0 and at most 1"):
        load_technique("recovery", "distill")(alpha=2)


@pytest.mark.parametrize(("slot", "option"), EVERY)
def test_settings_of_another_type_are_named(slot: str, option: str):
    wrong = {
        "int": (2.5, "2", True, None),
        "float": ("0.5", True, None, float("nan")),
        "str": (0.5, None),
        "bool": ("yes", 1),
    }
    cls = load_technique(slot, option)
    for field in dataclasses.fields(cls):
        # What is one of several, by its name alone: a list, and no number of bits, is 4.0.
        for value in wrong.get(str(field.type), ([], 4.0, "odd")):
            with pytest.raises(ValueError, match=rf"`{field.name}` must be .*got "):
                cls(**{field.name: value})


def test_numbers_of_numpy_are_numbers():
    assert load_technique("pruning", "channels")(ratio=np.float32(0.5), epochs=np.int64(2))
    assert load_technique("quantization", "codebook")(clusters=np.int64(16))


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"known: .*magnitude"):
        load_technique("pruning", "magic")
    with pytest.raises(UnknownNameError, match=r"known: .*student"):
        load_technique("magic", "none")
