"""Networks and artefacts through the cache."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autoopt.build import Bench, Steps, survey
from autoopt.cache import Cache
from autoopt.controller.baselines import original
from autoopt.errors import DivergedError, RefusedError
from autoopt.plan import Keep
from autoopt.recipe import Recipe
from autoopt.runtimes.artifact import read_manifest
from autoopt.targets import load_target
from autoopt.task import make_task
from search_spaces import Choice
from tests.runtime_builds import tiny_task
from tests.small_searches import narrow
from tests.technique_models import task_of

HALF = Recipe.of({"student": ("width", {"fraction": 0.5})})


@dataclass(frozen=True)
class Shifted:
    """Adds to every weight; gives no edits, so it is applied again when it is loaded."""

    slot = "pruning"
    by: float = 0.5

    def refuse(self, task: Any, target: Any) -> str | None:
        return None

    def apply(self, model: Any, task: Any) -> Any:
        for parameter in model.parameters():
            parameter.data += self.by
        return model


def bench(folder: Path, *, task: Any = None, **changes: Any) -> Bench:
    made = Bench(task or tiny_task("mlp"), load_target("cpu"), Cache(folder), **changes)
    return made


def test_a_network_is_made_once_and_then_found_by_any_process(tmp_path: Path) -> None:
    first = bench(tmp_path).build_network(HALF)
    second = bench(tmp_path).build_network(HALF)
    assert (first.cached, second.cached) == (False, True)
    assert (first.key, first.cost) == (second.key, second.cost)


def test_a_found_network_answers_as_the_one_that_was_made(tmp_path: Path) -> None:
    maker, finder = bench(tmp_path), bench(tmp_path)
    maker.build_network(HALF)
    x = tiny_task("mlp").example
    with torch.no_grad():
        made, found = maker.network(HALF)(*x), finder.network(HALF)(*x)
    torch.testing.assert_close(made, found)
    assert sum(p.numel() for p in finder.network(HALF).parameters()) < sum(
        p.numel() for p in tiny_task("mlp").model.parameters()
    )


@pytest.mark.parametrize(
    "pick",
    [("factorization", "svd"), ("factorization", "activation_svd"), ("factorization", "tied")],
    ids="-".join,
)
def test_rewritten_weights_are_found_as_they_were_made(tmp_path: Path, pick: Any) -> None:
    slot, option = pick
    recipe = Recipe.of({slot: (option, {})})
    maker, finder = (bench(tmp_path / option, task=task_of("residual")) for _ in range(2))
    maker.build_network(recipe)
    made, found = maker.network(recipe).state_dict(), finder.network(recipe).state_dict()
    assert made.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in made.items())


def test_the_artefact_of_a_sparse_and_trained_network_is_compressed(tmp_path: Path) -> None:
    recipe = Recipe.of(
        {
            "pruning": ("sparse", {"sparsity": 0.8}),
            "recovery": ("finetune", {"epochs": 1}),
            "runtime": ("onnxruntime", {}),
        }
    )
    builder = bench(tmp_path)
    builder.build_network(recipe)
    manifest = read_manifest(builder.artifact_folder(builder.build_artifact(recipe).key))
    assert manifest.realised["zeros"] == pytest.approx(0.8, abs=0.01)
    assert manifest.realised["storage_only"]
    assert manifest.model == "model.onnx.gz"


def test_a_cached_network_is_a_plan_and_plain_weights(tmp_path: Path) -> None:
    built = bench(tmp_path).build_network(HALF)
    folder = tmp_path / "networks" / built.key
    names = {path.name for path in folder.iterdir()}
    assert names == {"plan.json", "weights.safetensors", "entry.json"}
    assert "edits" in json.loads((folder / "plan.json").read_text())[0]


def test_the_original_is_never_stored(tmp_path: Path) -> None:
    built = bench(tmp_path).build_network(original())
    assert (built.key, built.cached, built.cost) == ("original", True, 0.0)
    assert not (tmp_path / "networks").exists()


def test_an_own_technique_without_edits_is_found_with_its_weights(tmp_path: Path) -> None:
    recipe = Recipe.of({"pruning": ("shifted", {"by": 0.25})})
    own = {"techniques": {"shifted": Shifted}}
    bench(tmp_path, **own).build_network(recipe)
    weights = bench(tmp_path, **own).network(recipe).state_dict()
    for name, value in tiny_task("mlp").model.state_dict().items():
        torch.testing.assert_close(weights[name], value + 0.25)


def test_a_changed_technique_of_the_same_name_has_another_key(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Other(Shifted):
        def apply(self, model: Any, task: Any) -> Any:
            return model

    recipe = Recipe.of({"pruning": ("shifted", {"by": 0.25})})
    first = bench(tmp_path, techniques={"shifted": Shifted}).build_network(recipe)
    second = bench(tmp_path, techniques={"shifted": Other}).build_network(recipe)
    assert not second.cached
    assert first.key != second.key


def test_data_without_identity_share_nothing_with_other_searches(tmp_path: Path) -> None:
    first = bench(tmp_path, scope="one").build_network(HALF)
    second = bench(tmp_path, scope="two").build_network(HALF)
    assert first.key != second.key
    assert not second.cached


def test_weights_that_are_not_finite_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    recipe = Recipe.of({"pruning": ("shifted", {"by": float("nan")})})
    with pytest.raises(DivergedError, match=r"weights must be finite, but .* holds NaN"):
        bench(tmp_path, techniques={"shifted": Shifted}).build_network(recipe)
    assert not list(Cache(tmp_path).entries("networks"))


def test_the_model_of_the_task_is_never_changed(tmp_path: Path) -> None:
    before = copy.deepcopy(tiny_task("mlp").model.state_dict())
    recipe = Recipe.of({"pruning": ("shifted", {"by": 1.0})})
    bench(tmp_path, techniques={"shifted": Shifted}).build_network(recipe)
    for name, value in tiny_task("mlp").model.state_dict().items():
        assert torch.equal(value, before[name])


def test_an_artefact_is_made_once_for_all_parallel_configurations(tmp_path: Path) -> None:
    made = bench(tmp_path)
    tuned = original().replaced(parallel=("tuned", {"threads": 1, "replicas": 1, "batch": 4}))
    first, second = made.build_artifact(original()), made.build_artifact(tuned)
    assert (first.cached, second.cached) == (False, True)
    assert first.key == second.key
    assert (made.artifact_folder(first.key) / "artifact.json").exists()


def test_precision_and_runtime_make_artefacts_of_their_own(tmp_path: Path) -> None:
    made = bench(tmp_path)
    recipes = [
        original(),
        original().replaced(runtime=("openvino", {})),
        original().replaced(quantization=("bfloat16", {})),
        HALF,
    ]
    assert len({made.artifact_key(recipe) for recipe in recipes}) == len(recipes)


def test_an_artefact_before_its_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="not in the cache yet"):
        bench(tmp_path).build_artifact(HALF)


def test_what_a_runtime_cannot_do_is_refused_beforehand(tmp_path: Path) -> None:
    made = bench(tmp_path)
    static = ("static_int8", {"granularity": "per_channel", "keep": "none"})
    with pytest.raises(RefusedError):
        made.build_artifact(original().replaced(quantization=static))
    asked = list(survey(made, narrow(quantization=["static_int8"])))
    assert [when["runtime"]["option"] for when, ask in asked if ask()] == ["eager"]


def test_settings_out_of_their_bounds_are_refused_beforehand(tmp_path: Path) -> None:
    space = narrow(pruning=["magnitude"]).extend(pruning={"magnitude": {"ratio": Choice([1.5])}})
    refused = [(when, ask()) for when, ask in survey(bench(tmp_path), space) if ask()]
    settings = [when["pruning"] for when, _ in refused if "pruning" in when]
    assert settings
    assert {chosen.get("ratio") for chosen in settings} == {1.5}
    assert all("1.5" in str(reason) for _, reason in refused)


def test_what_a_technique_raises_when_it_is_made_comes_with_its_question_alone(
    tmp_path: Path,
) -> None:
    def broken(**settings: Any) -> Any:
        raise KeyError("ratio")

    made = bench(tmp_path)
    made.techniques = {"magnitude": broken}  # as a person may
    asked = list(survey(made, narrow(pruning=["magnitude"])))
    ask = next(ask for when, ask in asked if "ratio" in when.get("pruning", {}))
    with pytest.raises(KeyError):
        ask()


def test_a_half_written_entry_is_not_found(tmp_path: Path, monkeypatch: Any) -> None:
    def cut(self: Steps, network: Any, folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            bench(tmp_path).build_network(HALF)
    assert not bench(tmp_path).build_network(HALF).cached


def test_a_damaged_network_is_made_anew(tmp_path: Path) -> None:
    made = bench(tmp_path)
    first = made.build_network(HALF)
    weights = made.cache.folder / "networks" / first.key / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    again = bench(tmp_path).build_network(HALF)
    assert (again.key, again.cached) == (first.key, False)


def test_only_networks_that_would_be_made_the_same_are_paid_for(tmp_path: Path) -> None:
    made = bench(tmp_path)
    assert made.paid() == []
    made.build_network(HALF)
    assert [Recipe.from_dict(network) for network in made.paid()] == [HALF]
    assert bench(tmp_path, scope="another").paid() == []
    made.task = replace(made.task, seed=made.task.seed + 1)
    assert made.paid() == []


def test_steps_are_replayed_in_their_order(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)).eval()
    edits = (Keep("0", "out", (0, 2)), Keep("1", "in", (0, 2)))
    steps = Steps().edited(edits).edited(())
    assert len(steps.items) == 1
    small = steps.rebuild(network, lambda model, _: model)
    steps.save(small, tmp_path)
    found = Steps.load(tmp_path, network, lambda model, _: model)
    x = torch.ones(3, 4)
    torch.testing.assert_close(found(x), small(x))
    assert network[0].weight.shape == (4, 4)


class Extra(nn.Module):
    """Keeps something that is no tensor in its state, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(64, 32)
        self.first = nn.Linear(32, 16)
        self.second = nn.Linear(16, 16)
        self.third = nn.Linear(16, 16)
        self.third.weight = self.second.weight
        self.head = nn.Linear(16, 4)
        self.version = 1

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.first(torch.relu(self.wide(x.flatten(1)))))
        return self.head(torch.relu(self.third(torch.relu(self.second(x)))))

    def get_extra_state(self) -> Any:
        return {"version": self.version}

    def set_extra_state(self, state: Any) -> None:
        self.version = state["version"]


@dataclass(frozen=True)
class OwnRecovery(Shifted):
    slot = "recovery"


def extra_task() -> Any:
    torch.manual_seed(0)
    model = Extra().eval()
    model.version = 7
    x, y = tiny_task("mlp").train.inputs()[0], tiny_task("mlp").train.targets()
    return make_task(model, (x.numpy(), y.numpy()), request_size=4, threads=1)


@pytest.mark.parametrize(
    "cut", [{}, {"student": ("width", {"fraction": 0.5})}], ids=["own recovery", "width"]
)
def test_state_that_is_no_tensor_and_shared_weights_come_back(tmp_path: Path, cut: Any) -> None:
    task = extra_task()
    recovery = ("shifted", {"by": 0.25}) if not cut else ("finetune", {"epochs": 1})
    recipe = Recipe.of({**cut, "recovery": recovery})
    own, cpu = {"shifted": OwnRecovery}, load_target("cpu")
    maker, finder = (Bench(task, cpu, Cache(tmp_path), techniques=own) for _ in range(2))
    maker.build_network(recipe)
    made, found = maker.network(recipe), finder.network(recipe)
    assert made is not found
    with torch.no_grad():
        torch.testing.assert_close(made(*task.example), found(*task.example))
    assert isinstance(found, Extra)
    assert found.version == 7
    assert found.third.weight is found.second.weight


def test_weights_of_another_plan_are_refused(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    Steps().save(network, tmp_path)
    with pytest.raises(RuntimeError, match=r"do not fit their plan: 1\.bias, 1\.weight"):
        Steps.load(tmp_path, network[:1], lambda model, _: model)


@pytest.mark.parametrize(
    "pick",
    [
        {"student": ("width", {"fraction": 1.0})},
        {"student": ("width", {"fraction": 0.99})},
        {"student": ("depth", {"fraction": 0.9})},
        {"pruning": ("magnitude", {"ratio": 0.0})},
        {"pruning": ("magnitude", {"ratio": 0.05})},
        {"pruning": ("sparse", {"sparsity": 1e-5})},
    ],
    ids=str,
)
def test_what_would_change_nothing_is_refused(tmp_path: Path, pick: Any) -> None:
    made = Bench(task_of("plain"), load_target("cpu"), Cache(tmp_path))
    with pytest.raises(RefusedError, match="it changes nothing in this network"):
        made.build_network(Recipe.of(pick))
    assert not list(Cache(tmp_path).entries("networks"))


def test_a_training_that_ends_where_it_began_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    # No epoch was better than the start, which training then gives back.
    monkeypatch.setattr(
        "autoopt.techniques.regrow.train_on", lambda network, task, epochs: copy.deepcopy(network)
    )
    made = Bench(task_of("plain"), load_target("cpu"), Cache(tmp_path))
    with pytest.raises(RefusedError, match="regrow: it changes nothing in this network"):
        made.build_network(Recipe.of({"pruning": ("regrow", {"ratio": 0.5, "back": 1.0})}))
    part = Recipe.of({"pruning": ("regrow", {"ratio": 0.75, "back": 0.5})})
    made.build_network(part)
    parameters = made.network(part).parameters()
    assert sum(p.numel() for p in parameters) < sum(p.numel() for p in made.task.model.parameters())
