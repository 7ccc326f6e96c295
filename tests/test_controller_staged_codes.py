"""Points of any space as rows of whole numbers, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.controller.staged.codes import GRID, Codes, keys
from autoopt.recipe import Recipe
from search_spaces import Choice, Float, Int, SearchSpace, thorough
from tests.fakes import small_space
from tests.strategies import finite_spaces, spaces

quickly = settings(max_examples=60, deadline=None)


def one_setting(dimension) -> Codes:
    space = small_space().extend(pruning={"own": {"value": dimension}})
    return Codes(space.narrow(pruning=["own"]))


@quickly
@given(spaces(), st.integers(0, 2**32))
def test_what_is_drawn_lies_in_the_space_and_comes_back_as_itself(space: SearchSpace, seed) -> None:
    codes = Codes(space)
    for row in codes.draw(5, np.random.default_rng(seed)):
        recipe = codes.decode(row)
        again = codes.encode(recipe)
        # A recovery with nothing to recover is dropped, and the space may not offer its absence.
        if again is not None:
            assert codes.decode(again) == recipe
            twice = codes.encode(codes.decode(again))
            assert twice is not None
            assert twice.tolist() == again.tolist()
            assert space.contains(recipe.point())


@quickly
@given(finite_spaces(200))
def test_points_that_differ_have_rows_that_differ(space: SearchSpace) -> None:
    codes = Codes(space)
    recipes = {Recipe.of(point) for point in space.points()}
    rows = [row for recipe in recipes if (row := codes.encode(recipe)) is not None]
    assert len(set(keys(np.array(rows)))) == len(rows)


@quickly
@given(spaces(), st.integers(0, 2**32))
def test_models_see_numbers_from_zero_to_one(space: SearchSpace, seed) -> None:
    codes = Codes(space)
    inputs = codes.inputs(codes.draw(7, np.random.default_rng(seed)))
    assert len(inputs) == 7
    assert ((inputs >= 0) & (inputs <= 1)).all()


def test_a_setting_of_an_option_that_is_not_chosen_does_not_matter() -> None:
    codes = Codes(thorough(2))
    for row in codes.draw(200, np.random.default_rng(0)):
        chosen = dict(zip(codes.columns, row.tolist(), strict=True))
        options = {c.slot: c.values[at] for c, at in chosen.items() if not c.setting}
        for column, position in chosen.items():
            if column.setting and column.option != options[column.slot]:
                assert position == column.usual


def test_rows_that_mean_one_recipe_have_one_form() -> None:
    # Training for a precision fixes the quantization, whatever a row says of it.
    codes = Codes(thorough(2))
    rows = codes.draw(500, np.random.default_rng(0))
    trained = [row for row in rows if codes.decode(row)["recovery"].option == "qat"]
    assert trained
    for row in trained:
        recipe = codes.decode(row)
        tidy = codes.encode(recipe)
        assert tidy is not None
        assert codes.decode(tidy) == recipe


def test_a_recipe_outside_the_space_has_no_row() -> None:
    codes = Codes(small_space(runtime=["openvino"]))
    assert codes.encode(Recipe.of({})) is None
    assert codes.encode(Recipe.of({"runtime": ("openvino", {})})) is not None


@pytest.mark.parametrize(
    "dimension",
    [Float(1e-4, 1e-1, log=True), Float(0.0, 1.0), Int(1, 10**30), Int(1, 5000, log=True),
     Float(0.0, 1e6, step=0.25)],
    ids=repr,
)  # fmt: skip
def test_a_range_that_cannot_be_listed_is_searched_on_a_grid_from_end_to_end(dimension) -> None:
    codes = one_setting(dimension)
    (values,) = (c.values for c in codes.columns if c.setting == "value")
    assert 2 <= len(values) <= GRID
    assert (values[0], values[-1]) == (dimension.low, dimension.high)
    assert all(dimension.contains(value) for value in values)
    assert list(values) == sorted(values)


def test_a_value_between_those_of_a_grid_stands_for_the_nearest() -> None:
    codes = one_setting(Float(0.0, 16.0))
    (column,) = (c for c in codes.columns if c.setting == "value")
    assert column.position(3.2) == 3
    assert column.position(17.0) is None


def test_booleans_numbers_and_names_are_told_apart() -> None:
    codes = one_setting(Choice([True, 2, "2"]))
    (column,) = (c for c in codes.columns if c.setting == "value")
    assert [column.position(v) for v in (True, 2, 2.0, "2", 1)] == [0, 1, 1, 2, None]
    assert not column.ordered


def test_what_was_decoded_before_changes_nothing_of_what_is_decoded_later() -> None:
    rows = Codes(thorough(2)).draw(60, np.random.default_rng(1))
    shared = Codes(thorough(2))
    recipes = [shared.decode(row) for row in rows]
    assert recipes == [Codes(thorough(2)).decode(row) for row in rows]
    assert all(recipe == Recipe.of(recipe.point()) for recipe in recipes)
