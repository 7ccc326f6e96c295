"""Recipes carried to other models, and searches that begin with what worked before."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import autoopt
from autoopt.build import Fitting, Layer, layers_of
from autoopt.build.roles import counterparts
from autoopt.errors import FolderError, SearchError, UnknownNameError
from autoopt.exporting import export_strategy, recipe_text
from autoopt.handle.recipes import _of_search, recipe_source
from autoopt.interfaces import Target
from autoopt.recipe import Recipe
from autoopt.record import Failure
from autoopt.targets import load_target
from autoopt.task import make_task
from tests.record_builds import Story, measured
from tests.runtime_builds import built
from tests.small_searches import (
    digits,
    fit,
    history,
    images,
    narrow,
    start,
    trained_cnn,
    trained_mlp,
)
from tests.test_search_untraceable import Branching

CUT = Recipe.of(
    {
        "pruning": ("channels", {"ratio": 0.5}),
        "recovery": ("finetune", {"epochs": 1}),
        "quantization": ("packed", {"bits": 8, "scheme": "symmetric", "group": 0, "keep": "none"}),
        "runtime": ("onnxruntime", {}),
    }
)


def fitting(model: nn.Module, data: object) -> Fitting:
    target: Target = load_target("cpu")
    return Fitting(make_task(model, data, threads=1), target)


# ------------------------------------------------------------------ layers by role


def net(*names: str) -> tuple[Layer, ...]:
    """Layers; those whose name has a ``c`` are convolutions."""
    return tuple(Layer(n, "convolution" if "c" in n else "linear") for n in names)


SMALL = net("stem.c", "a.0.c1", "a.0.c2", "a.1.c1", "a.1.c2", "head")
LARGE = net("conv", *(f"b.{i}.c{j}" for i in range(4) for j in (1, 2)), "out")


def test_a_layer_that_is_there_is_itself_and_ends_are_matched_with_ends():
    assert counterparts("head", SMALL, SMALL) == ("head",)
    assert counterparts("stem.c", SMALL, LARGE) == ("conv",)
    assert counterparts("head", SMALL, LARGE) == ("out",)


def test_a_layer_is_matched_by_kind_depth_and_name():
    (found,) = counterparts("a.1.c2", SMALL, LARGE)
    assert found.startswith("b.3.c")
    assert counterparts("a.0.c1", SMALL, net("x", "y", "z")) == ()
    (named,) = counterparts("q", net("i", "q", "k", "o"), net("in", "k", "q", "out"))
    assert named == "q"


PLAIN = tuple(Layer(name, "convolution" if name in "04" else "linear") for name in ("0", "4", "8"))


def test_a_name_counts_only_where_it_plays_the_same_part():
    deeper = net("0", "2", "4", "6", "8", "10")
    # A head is matched with the head, whatever else bears its number there.
    assert counterparts("8", PLAIN, deeper) == ("10",)
    assert counterparts("0", PLAIN, deeper) == ()  # a convolution, of which there are none
    assert counterparts("4", net("0", "2", "4"), deeper) == ("10",)
    assert counterparts("10", deeper, net("0", "10", "12", "14")) == ("14",)
    # An inner layer far from where it was is found by its depth.
    blocks = tuple(Layer(f"b.{i}.fc", "linear") for i in range(12))
    short = (*blocks[:4], Layer("head", "linear"))
    (found,) = counterparts("b.3.fc", short, (*blocks, Layer("head", "linear")))
    assert found in {"b.8.fc", "b.9.fc"}
    # Of a source that is not known the name is all there is.
    assert counterparts("8", (), deeper) == ("8",)


def test_a_stage_counts_only_where_it_plays_the_same_part():
    assert counterparts("a.1", SMALL, SMALL) == ("a.1",)
    found = counterparts("b.1", LARGE, net("b.0.c", "b.1.c"))
    assert found != ("b.1",)


def test_a_stage_becomes_the_layers_at_its_depths():
    found = counterparts("a.1", SMALL, LARGE)
    assert found
    assert all(name.startswith(("b.2", "b.3")) for name in found)
    assert counterparts("nothing", SMALL, LARGE) == ()


# ------------------------------------------------------------------ fitting


def test_what_fits_is_left_as_it_is():
    fitted, changes = fitting(trained_cnn(), images()).fit(CUT)
    assert fitted == CUT
    assert changes == ()


def test_everything_that_does_not_fit_is_listed_with_its_reason():
    recipe = Recipe.of(
        {
            "pruning": ("heads", {"ratio": 0.5}),
            "factorization": ("gone", {"rank": 3}),
            "recovery": ("finetune", {"epochs": 1}),
            "quantization": ("static_int8", {}),
            "runtime": ("eager", {}),
            "parallel": ("tuned", {"threads": 999, "replicas": 2, "batch": 0}),
        }
    )
    fitted, changes = fitting(trained_mlp(), digits()).fit(recipe)
    assert {change.slot for change in changes} == {
        "pruning", "factorization", "recovery", "quantization", "parallel"
    }  # fmt: skip
    reasons = {change.slot: change.reason for change in changes}
    assert "unknown factorization technique 'gone'" in reasons["factorization"]
    assert "techniques={'gone'" in reasons["factorization"]
    assert "not offered in torch" in reasons["quantization"]
    assert "cores" in reasons["parallel"]
    assert "follows" in reasons["recovery"]
    assert fitted["pruning"].option == "none"


def test_what_is_missing_of_the_persons_own_is_asked_for_by_its_keyword():
    recipe = Recipe.of(
        {"student": ("tiny", {}), "pruning": ("mine", {}), "recovery": ("few_steps", {})}
    )
    _, changes = fitting(trained_mlp(), digits()).fit(recipe)
    reasons = {change.slot: change.reason for change in changes}
    assert "again: students={'tiny': ...} or techniques={'tiny': ...}" in reasons["student"]
    assert reasons["pruning"].endswith("again: techniques={'mine': ...}")
    assert "again: train=... or techniques={'few_steps': ...}" in reasons["recovery"]


def test_an_unknown_runtime_and_training_for_a_precision_that_is_refused_are_listed():
    recipe = Recipe.of({"recovery": ("qat", {"bits": 8, "epochs": 1}), "runtime": ("tvm", {})})
    fitted, changes = fitting(trained_mlp(), digits()).fit(recipe)
    assert [change.slot for change in changes] == ["runtime", "quantization", "recovery"]
    assert fitted == Recipe.of({})
    assert "unknown runtime 'tvm'" in str(changes[0])


def test_settings_that_name_layers_name_those_of_the_other_model():
    recipe = Recipe.of(
        {"quantization": ("per_layer", {"layers": "stem.c=8, head=8", "bits": 4}),
         "runtime": ("onnxruntime", {})}
    )  # fmt: skip
    fitted, changes = fitting(trained_cnn(), images()).fit(recipe, SMALL)
    assert fitted["quantization"].settings["layers"] == "0=8, 8=8"
    (change,) = changes
    assert "stem.c became 0" in change.reason
    assert "head became 8" in change.reason


def test_numbers_that_mean_other_layers_in_the_other_model_are_listed():
    sizes = [nn.Linear(64, 24), *(nn.Linear(24, 24) for _ in range(4)), nn.Linear(24, 10)]
    deeper = nn.Sequential(*(part for layer in sizes for part in (layer, nn.ReLU())))[:-1]
    recipe = Recipe.of(
        {"quantization": ("per_layer", {"layers": "0=8, 8=8", "bits": 4}),
         "runtime": ("onnxruntime", {})}
    )  # fmt: skip
    fitted, changes = fitting(deeper, digits()).fit(recipe, layers_of(trained_cnn()))
    assert fitted["quantization"].settings["layers"] == "10=8"
    (change,) = changes
    assert "0 has no counterpart here" in change.reason
    assert "8 became 10" in change.reason


def test_what_was_refused_at_a_stage_is_left_out_slot_by_slot():
    fits = fitting(trained_mlp(), digits())
    recipe = CUT.replaced(parallel=("tuned", {"threads": 1, "replicas": 2, "batch": 0}))

    def left(stage: str, recipe: Recipe) -> tuple[Recipe, list[str]]:
        found = fits.without(recipe, Failure(stage, "refused", "of a reason"))
        assert found is not None
        assert all("of a reason" in change.reason for change in found[1])
        return found[0], [change.slot for change in found[1]]

    without, slots = left("deployment", recipe)
    assert slots == ["parallel"]
    assert without == CUT
    without, slots = left("artifact", without)
    assert slots == ["quantization"]
    assert without["quantization"].option == "float32"
    without, slots = left("artifact", without)
    assert slots == ["runtime"]
    refused = Failure("artifact", "refused", "of a reason")
    assert fits.without(without, refused) is None
    assert fits.without(CUT, replace(refused, stage="deployment")) is None
    # Training for a precision goes with it.
    trained = Recipe.of(
        {"recovery": ("qat", {"bits": 8, "epochs": 1}), "runtime": ("openvino", {})}
    )
    without, slots = left("artifact", trained)
    assert slots == ["quantization", "recovery"]
    assert without == Recipe.of({"runtime": ("openvino", {})})


def test_the_layers_of_a_network_are_those_with_weights():
    kinds = [(layer.name, layer.kind) for layer in layers_of(trained_cnn())]
    assert kinds == [("0", "convolution"), ("4", "convolution"), ("8", "linear")]


# ------------------------------------------------------------------ where recipes are from


def test_a_recipe_is_read_from_text_file_and_folder(tmp_path):
    (tmp_path / "recipe.yaml").write_text(CUT.to_yaml())
    for given in (CUT, CUT.to_yaml(), tmp_path, str(tmp_path / "recipe.yaml")):
        assert recipe_source(given).recipes == (CUT,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: 99\nrecipe: {}\n", "format 99"),
        ("format: 1\nrecipe: {pruning: {ratio: 1}}\n", "option"),
        ("format: 1\nrecipe: {pruning: [\n", "cannot be read"),
        (f"format: 1\nrecipe: {'[' * 5000}{']' * 5000}\n", "nested too deeply"),
        ("format: 1\nrecipe: {}\nlayers: [1]\n", "cannot be read"),
    ],
)
def test_a_recipe_that_is_off_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(FolderError, match=message):
        recipe_source(tmp_path)


def test_what_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(FolderError, match="no recipe at"):
        recipe_source(tmp_path / "nothing")
    (tmp_path / "real.yaml").write_text(CUT.to_yaml())
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    with pytest.raises(FolderError, match="symbolic link"):
        recipe_source(tmp_path / "link.yaml")
    with pytest.raises(TypeError, match="but got int"):
        recipe_source(3)


def test_the_recipe_of_an_export_that_was_cut_short_is_said_so(tmp_path):
    text = recipe_text(CUT, version="1")
    folder = export_strategy(built("mlp", "eager"), text, {}, tmp_path / "export")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recipe_source(folder).recipes == (CUT,)
    (folder / "recipe.yaml").write_text(text[: text.index("  quantization:")])
    with pytest.warns(UserWarning, match="is not what was exported: it was changed or cut short"):
        (found,) = recipe_source(folder).recipes
    assert found["pruning"] == CUT["pruning"]
    assert found["quantization"].option == "float32"


class Told:
    """Stands for a search."""

    folder = Path("told")

    def __init__(self, story: Story) -> None:
        self._known = lambda: story.history


def test_of_a_search_the_front_comes_with_what_needs_no_training_first():
    story = Story()
    story.record(measured(0, 0.9, 10, 4, role="original"))
    student = {"student": ("width", {"fraction": 0.25})}
    trained = Recipe.of({**student, "recovery": ("finetune", {"epochs": 4})})
    stored = trained.replaced(quantization=("weight_only", {"bits": 8}))
    elsewhere = Recipe.of({"runtime": ("openvino", {})})
    dominated = Recipe.of({"runtime": ("onnxruntime", {})})
    for number, (recipe, *figures) in enumerate(
        [(trained, 0.88, 2, 1), (dominated, 0.9, 9, 4), (stored, 0.87, 2, 0.25),
         (elsewhere, 0.9, 8, 4)],
        start=1,
    ):  # fmt: skip
        story.record(measured(number, *figures, recipe=recipe))
    found = _of_search(Told(story))  # type: ignore[arg-type]  # a fake
    assert found.recipes[0] == elsewhere
    assert set(found.recipes[1:]) == {trained, stored}


# ------------------------------------------------------------------ the real thing


def applied(recipe: object, model: nn.Module, data: object, folder: Path) -> object:
    return autoopt.apply(
        recipe,  # type: ignore[arg-type]  # also what is none
        model,
        data,
        objectives=["size"],
        threads=1,
        folder=folder / "search",
        cache=folder / "cache",
    )


@pytest.mark.slow
def test_a_recipe_is_measured_and_exported_on_another_model(tmp_path):
    found = applied(CUT, trained_cnn(), images(), tmp_path)
    assert isinstance(found, autoopt.handle.applying.Applied)
    assert found.changes == ()
    assert found.recipe == CUT
    assert found["size"].value < found.search.pick(0)["size"].value / 2
    assert "everything fits" in repr(found)
    with autoopt.load(found.export(tmp_path / "export")) as predict:
        assert predict(images()[0][:3]).shape == (3, 10)
    # The same from the export, on a model of another family: convolutions it has none of.
    other = applied(tmp_path / "export", trained_mlp(), digits(), tmp_path / "mlp")
    assert isinstance(other, autoopt.handle.applying.Applied)
    assert other.strategy.recipe == other.recipe
    differing = {
        slot for slot in other.recipe.picks if other.recipe[slot] != other.wanted[slot]
    }  # fmt: skip
    assert differing == {change.slot for change in other.changes}
    assert list(other.table["slot"]) == [change.slot for change in other.changes]


@pytest.mark.slow
def test_what_is_refused_while_it_is_built_is_left_out_and_listed(tmp_path):
    narrow_mlp = fit(nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 10)), *digits())
    recipe = Recipe.of({"pruning": ("magnitude", {"ratio": 0.1}), "runtime": ("onnxruntime", {})})
    found = applied(recipe, narrow_mlp, digits(), tmp_path)
    assert isinstance(found, autoopt.handle.applying.Applied)
    assert [change.slot for change in found.changes] == ["pruning"]
    assert found.recipe == Recipe.of({"runtime": ("onnxruntime", {})})
    assert found.strategy.record.role == "given"


@pytest.mark.slow
def test_what_an_artefact_cannot_hold_is_left_out_and_listed(tmp_path):
    x, y = digits()
    recipe = Recipe.of(
        {"quantization": ("weight_only", {"bits": 8}), "runtime": ("onnxruntime", {})}
    )
    found = applied(recipe, fit(Branching(), x, y, epochs=5), (x, y), tmp_path)
    assert isinstance(found, autoopt.handle.applying.Applied)
    assert found.failure is None
    assert [change.slot for change in found.changes] == ["quantization", "runtime"]
    assert all("torch.export cannot trace" in change.reason for change in found.changes)
    assert found.recipe == Recipe.of({})


@pytest.mark.slow
def test_students_and_training_of_ones_own_are_applied_and_the_target_is_looked_at(tmp_path):
    def tiny() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

    def few_steps(network: nn.Module, task: object) -> None:
        fit(network, *digits(), epochs=2)

    recipe = Recipe.of({"student": ("tiny", {}), "recovery": ("few_steps", {})})
    given = {"objectives": ["size"], "threads": 1, "cache": tmp_path / "cache"}
    found = autoopt.apply(
        recipe,
        trained_mlp(),
        digits(),
        students={"tiny": tiny},
        train=few_steps,
        teachers=[trained_mlp()],
        target="cpu",
        folder=tmp_path / "search",
        **given,
    )
    assert found.changes == ()
    assert found.recipe == recipe
    assert found["size"].value < found.search.pick(0)["size"].value / 2
    assert found.search.settings.target == "cpu"
    with pytest.raises(UnknownNameError, match="tpu"):
        autoopt.apply(recipe, trained_mlp(), digits(), target="tpu", folder=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_warm_search_begins_with_what_worked_before(tmp_path):
    first = start(tmp_path / "first", budget="4 trials")
    space = narrow(quantization=["float32", "weight_only"])
    second = autoopt.search(
        fit(nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10)), *digits(), epochs=5),
        digits(),
        space=space,
        objectives=["size"],
        threads=1,
        budget="4 trials",
        folder=tmp_path / "second",
        cache=tmp_path / "cache",
        warm_start=[tmp_path / "first", CUT],
        block=True,
    )
    records = history(tmp_path / "second").records
    given = [record for record in records if record.role == "given"]
    known = {s.recipe.id for s in first.strategies} - {Recipe.of({}).id}
    assert {record.recipe.id for record in given} <= known
    said = " ".join(second.notes)
    assert "does not hold pruning channels" in said
    assert "0 of 1 from a recipe" in said
    assert second.settings.layers == (("0", "linear"), ("2", "linear"))


def test_a_warm_start_must_be_a_list_of_what_can_be_read(tmp_path):
    with pytest.raises(TypeError, match="must be a list"):
        start(tmp_path / "s", warm_start="earlier")
    with pytest.raises(FolderError, match="no recipe at"):
        start(tmp_path / "s", warm_start=[tmp_path / "earlier"])
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_recipe_that_fails_says_so_and_exports_nothing(tmp_path):
    recipe = CUT.replaced(recovery=("finetune", {"epochs": 1, "learning_rate": 1e30}))
    found = applied(recipe, trained_cnn(), images(), tmp_path)
    assert isinstance(found, autoopt.handle.applying.Applied)
    assert found.failure is not None
    assert "failed" in repr(found)
    assert "failed" not in found._repr_html_() or found.failure
    with pytest.raises(SearchError, match="does not work on this model"):
        found.export(tmp_path / "export")
