from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autoopt.recipe import Recipe
from search_spaces import NEUTRAL, SLOTS, STAGES, balanced, quick
from tests.record_builds import ORIGINAL, SMALL
from tests.strategies import points_of, spaces

# A space is dear to draw, and its points differ little.
few = hypothesis_settings(max_examples=30)

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    return Recipe.of(draw(points_of(draw(spaces()))))


def menu_recipes() -> st.SearchStrategy[Recipe]:
    return points_of(balanced(4)).map(Recipe.of)


def ids(recipe: Recipe) -> list[str]:
    return [recipe.stage_id(stage) for stage in STAGES]


# ------------------------------------------------------------------ one form


def test_absent_slots_hold_the_choice_that_changes_nothing():
    assert {slot: pick.option for slot, pick in ORIGINAL.picks.items()} == dict(NEUTRAL)
    assert tuple(ORIGINAL.picks) == SLOTS
    assert ORIGINAL.is_original


def test_neither_the_order_of_slots_nor_that_of_settings_matters():
    distill = {"epochs": 6, "temperature": 4.0}
    one = Recipe.of({"student": ("width", {"fraction": 0.5}), "recovery": ("distill", distill)})
    turned = dict(reversed(distill.items()))
    other = Recipe.of({"recovery": ("distill", turned), "student": ("width", {"fraction": 0.5})})
    assert one == other
    assert one.id == other.id
    assert hash(one) == hash(other)


def test_a_recovery_of_nothing_is_dropped_and_of_something_is_kept():
    assert Recipe.of({"recovery": ("finetune", {"epochs": 4})}) == ORIGINAL
    for slot in ("student", "pruning"):
        cut = Recipe.of({slot: ("mine", {}), "recovery": ("finetune", {"epochs": 4})})
        assert cut["recovery"].option == "finetune"


def test_a_persons_own_recovery_may_run_on_the_uncut_original():
    own = Recipe.of({"recovery": ("sparsify", {"share": 0.5})})
    assert own["recovery"].option == "sparsify"
    assert not own.is_original
    assert Recipe.from_yaml(own.to_yaml()) == own


@pytest.mark.parametrize("zero_or_four", [(4, 4.0), (0.0, -0.0), (0, -0.0)])
def test_equal_numbers_give_equal_ids(zero_or_four: tuple[float, float]):
    one, other = (Recipe.of({"pruning": ("mine", {"ratio": value})}) for value in zero_or_four)
    assert one == other
    assert ids(one) == ids(other)
    assert one.summary == other.summary
    assert one.to_yaml() == other.to_yaml()


def test_a_truth_value_is_no_number():
    true, one = (Recipe.of({"runtime": ("mine", {"fast": value})}) for value in (True, 1))
    assert true.id != one.id


def test_huge_numbers_keep_their_value():
    recipe = Recipe.of({"pruning": ("mine", {"ratio": 1e300})})
    assert recipe["pruning"].settings["ratio"] == 1e300
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_an_unknown_slot_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown slot 'quantisation'; known: student, pruning"):
        Recipe.of({"quantisation": ("float32", {})})


def test_replaced_changes_the_named_slots_only():
    changed = SMALL.replaced(runtime=("onnxruntime", {}))
    assert changed["runtime"].option == "onnxruntime"
    assert all(changed[slot] == SMALL[slot] for slot in SLOTS if slot != "runtime")
    assert SMALL.replaced(student=("none", {}))["recovery"].option == "none"


@few
@given(recipes())
def test_the_point_of_a_recipe_gives_the_same_recipe(recipe: Recipe):
    assert Recipe.of(recipe.point()) == recipe


# ------------------------------------------------------------------ ids


def test_ids_are_those_written_down_once():
    """A change here makes every cache and log of before unreadable: mean it, then raise FORMAT."""
    assert ids(ORIGINAL) == ["70fada3f75f14945", "2019736c5190fbbd", "92d69e275dc4bdc6"]
    assert ids(SMALL) == ["d24d16d7d6bdb503", "a0a3cbd853f1a53c", "7d5d9f1c92366d52"]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_ids_are_the_same_in_a_process_with_another_hash_seed(hash_seed: str):
    code = (
        "import sys; from autoopt.recipe import Recipe\n"
        "recipe = Recipe.from_yaml(sys.stdin.read())\n"
        "print([recipe.stage_id(s) for s in ('network', 'artifact', 'deployment')])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], input=SMALL.to_yaml(), capture_output=True, text=True,
        check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed},
    ).stdout  # fmt: skip
    assert out.strip() == str(ids(SMALL))


@few
@given(menu_recipes(), menu_recipes())
def test_stage_ids_are_equal_exactly_where_the_prefixes_are(one: Recipe, other: Recipe):
    for stage in STAGES:
        same = one.prefix(stage) == other.prefix(stage)
        assert (one.stage_id(stage) == other.stage_id(stage)) is same


@few
@given(menu_recipes())
def test_serving_choices_leave_the_network_id_alone(recipe: Recipe):
    served = recipe.replaced(
        quantization=("mine", {}), runtime=("mine", {}), parallel=("mine", {"threads": 7})
    )
    assert served.stage_id("network") == recipe.stage_id("network")
    assert served.stage_id("artifact") != recipe.stage_id("artifact")
    assert served.id != recipe.id


@few
@given(menu_recipes())
def test_a_prefix_holds_the_slots_of_its_stage_and_of_those_before(recipe: Recipe):
    held = [slot for slot, _, _ in recipe.prefix("artifact")]
    assert held == [*STAGES["network"], *STAGES["artifact"]]
    assert recipe.prefix("deployment") == recipe.choices


def test_an_unknown_stage_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown stage 'training'; known: network, artifact"):
        SMALL.stage_id("training")


def test_different_recipes_of_a_preset_have_different_ids():
    seen = {Recipe.of(point) for point in quick(2).points()}
    assert len({recipe.id for recipe in seen}) == len(seen)


# ------------------------------------------------------------------ YAML


@few
@example(Recipe.of({"student": ("mine", {"text": "\nrecipe: {}\n\x1b\u2028"})}))
@given(recipes())
def test_yaml_gives_the_same_recipe_back(recipe: Recipe):
    back = Recipe.from_yaml(recipe.to_yaml())
    assert back == recipe
    assert ids(back) == ids(recipe)
    assert back.to_yaml() == recipe.to_yaml()


@pytest.mark.parametrize(("name", "recipe"), [("original", ORIGINAL), ("small", SMALL)])
def test_recipes_are_written_and_read_as_the_golden_files(name: str, recipe: Recipe):
    path = GOLDEN / f"recipe_{name}.yaml"
    assert recipe.to_yaml() == path.read_text()
    assert Recipe.from_yaml(path) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words", "must be a mapping with `format` and `recipe`"),
        ("format: 1", "must be a mapping with `format` and `recipe`"),
        ("format: 2\nrecipe: {}", "recipe format 2 cannot be read here.*reads format 1"),
        ("recipe: {}", "recipe format None cannot be read here"),
        ("format: 1\nrecipe: {runtime: openvino}", "hold an `option`, but 'runtime' holds"),
        ("format: 1\nrecipe: {color: {option: red}}", "unknown slot 'color'; known: student"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Recipe.from_yaml(text)


def test_reading_a_recipe_runs_nothing():
    from yaml.constructor import ConstructorError

    with pytest.raises(ConstructorError):
        Recipe.from_yaml("format: 1\nrecipe: !!python/object/apply:os.getcwd []")


# ------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("point", "summary"),
    [
        ({}, "float32 · eager"),
        ({"student": ("depth", {"fraction": 0.5})}, "depth 0.5 · float32 · eager"),
        (
            {"pruning": ("magnitude", {"ratio": 0.5}), "recovery": ("recalibrate", {})},
            "magnitude 0.5 · recalibrate · float32 · eager",
        ),
        (
            {"quantization": ("weight_only", {"bits": 4}), "runtime": ("onnxruntime", {})},
            "weights int4 · onnxruntime",
        ),
        (
            {"quantization": ("static_int8", {"granularity": "per_tensor", "keep": "none"})},
            "static int8 per tensor · eager",
        ),
        (
            {"quantization": ("calibrated_int8", {"calibration": "mse", "sensitive": 0.25})},
            "static int8 mse 25% of layers in float · eager",
        ),
        (
            {"quantization": ("packed", {"bits": 2, "group": 32, "keep": "first_last_int8"})},
            "weights int2, groups of 32, first last int8 · eager",
        ),
        (
            {"quantization": ("mixed", {"bits": 4, "raised": 8, "share": 0.125})},
            "weights int4, 12% int8 by sensitivity · eager",
        ),
        (
            {"quantization": ("codebook", {"clusters": 16, "keep": "none"})},
            "codebook of 16 · eager",
        ),
        (
            {"parallel": ("tuned", {"threads": 2, "replicas": 1, "batch": 0})},
            "float32 · eager · 2 threads × 1 replicas, batch whole",
        ),
    ],
)
def test_the_summary_names_what_was_chosen(point: dict, summary: str):
    assert Recipe.of(point).summary == summary


def test_the_summary_of_everything_at_once():
    assert SMALL.summary == (
        "width 0.5 · distill 6 epochs · static int8 first last · openvino · "
        "2 threads × 2 replicas, batch 8"
    )


@few
@given(recipes())
def test_every_recipe_has_a_summary_and_a_one_line_comment(recipe: Recipe):
    assert recipe.summary
    first, second = recipe.to_yaml().splitlines()[:2]
    assert first.startswith("# autoopt recipe: ")
    assert second == "format: 1"


def test_a_setting_named_like_the_option_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be named 'option'"):
        Recipe.of({"pruning": ("mine", {"option": 1})})
