"""What always runs first."""

from __future__ import annotations

from autoopt.controller.baselines import fast_runtimes, original, original_elsewhere, uniform
from autoopt.recipe import Recipe
from search_spaces import quick
from tests.fakes import record, small_space

EVERYWHERE = [
    record(0, original(), "original"),
    record(1, original().replaced(runtime=("onnxruntime", {})), "baseline"),
    record(2, original().replaced(runtime=("openvino", {})), "baseline"),
]


def never(recipe: Recipe) -> bool:
    return False


def test_the_original_is_eager_float32_and_nothing_else() -> None:
    assert original().point() == {
        "student": ("none", {}),
        "pruning": ("none", {}),
        "factorization": ("none", {}),
        "recovery": ("none", {}),
        "quantization": ("float32", {}),
        "runtime": ("eager", {}),
        "parallel": ("default", {}),
    }


def test_the_original_runs_in_every_other_runtime_the_slow_starter_last() -> None:
    space = small_space(runtime=["eager", "onnxruntime", "openvino"])
    found = [r["runtime"].option for r in original_elsewhere(space, never)]
    assert found == ["onnxruntime", "openvino"]
    assert all(r["quantization"].option == "float32" for r in original_elsewhere(space, never))


def test_a_runtime_that_is_refused_is_left_out() -> None:
    space = small_space(runtime=["eager", "onnxruntime", "openvino"])
    found = original_elsewhere(space, lambda r: r["runtime"].option == "openvino")
    assert [r["runtime"].option for r in found] == ["onnxruntime"]


def test_uniform_holds_each_technique_once_alone_and_at_its_usual_setting() -> None:
    space = quick(2)
    recipes = list(uniform(space, never, EVERYWHERE))
    alone = set()
    for recipe in recipes:
        picked = [
            (slot, option)
            for slot, (option, _) in recipe.point().items()
            if slot not in ("recovery", "runtime") and option not in ("none", "float32", "default")
        ]
        assert len(picked) == 1
        ((slot, option),) = picked
        assert recipe[slot].settings == space.usual(slot, option)
        alone.add(option)
    assert alone == {"bfloat16", "static_int8", "weight_only", "tuned", "width", "magnitude"}
    assert len({recipe.id for recipe in recipes}) == len(recipes)


def test_one_core_leaves_no_parallel_configuration_to_try_alone() -> None:
    assert all(r["parallel"].option == "default" for r in uniform(quick(1), never, EVERYWHERE))


def test_what_is_cut_out_is_recovered_as_the_field_would_in_float32() -> None:
    space = quick(2)
    cut = [r for r in uniform(space, never, EVERYWHERE) if not r.is_original]
    assert cut
    for recipe in cut:
        assert recipe["recovery"].option == "distill"
        assert recipe["recovery"].settings == space.usual("recovery", "distill")
        assert recipe["quantization"].option == "float32"


def test_quantization_alone_trains_nothing() -> None:
    quantized = [
        r for r in uniform(quick(2), never, EVERYWHERE) if r["quantization"].option != "float32"
    ]
    assert quantized
    assert all(recipe.is_original for recipe in quantized)


def test_a_space_without_distillation_recovers_by_what_it_has() -> None:
    space = quick(2).narrow(recovery=["none", "recalibrate"])
    cut = [r for r in uniform(space, never, EVERYWHERE) if not r.is_original]
    assert {r["recovery"].option for r in cut} == {"recalibrate"}


def test_techniques_run_in_the_two_runtimes_where_the_original_is_fastest() -> None:
    assert fast_runtimes(EVERYWHERE) == ["openvino", "onnxruntime"]
    runtimes = {r["runtime"].option for r in uniform(quick(2), never, EVERYWHERE)}
    assert runtimes == {"openvino", "onnxruntime"}


def test_a_technique_that_the_fastest_runtime_refuses_runs_in_the_others() -> None:
    def refused(recipe: Recipe) -> bool:
        return (
            recipe["quantization"].option == "static_int8"
            and recipe["runtime"].option == "openvino"
        )

    static = [
        r["runtime"].option
        for r in uniform(quick(2), refused, EVERYWHERE)
        if r["quantization"].option == "static_int8"
    ]
    assert static
    assert "openvino" not in static


def test_without_latencies_techniques_run_everywhere() -> None:
    space = small_space(quantization=["float32", "bfloat16"])
    assert len(list(uniform(space, never, []))) == 2
