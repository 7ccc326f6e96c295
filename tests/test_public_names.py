"""The names that others rely on: errors, tables and what each package offers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module

import pytest

import autoopt
from autoopt import errors
from autoopt.errors import AutooptError, UnknownNameError
from autoopt.executors import EXECUTORS, load_executor
from autoopt.interfaces import load_class
from autoopt.objectives import OBJECTIVES, load_objective
from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.targets import TARGETS, load_target

PACKAGES = ["autoopt", "autoopt.executors", "autoopt.exporting", "autoopt.loading",
            "autoopt.measure", "autoopt.objectives", "autoopt.panel", "autoopt.runtimes",
            "autoopt.targets", "autoopt.task", "search_spaces"]  # fmt: skip


# ------------------------------------------------------------------ errors


def error_classes() -> dict[str, type[AutooptError]]:
    members = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in members if issubclass(cls, AutooptError)}


def drawn_tree() -> dict[str, str | None]:
    """The error names in the module's docstring, each with the built-in it also is."""
    lines = re.findall(r"[├└]── (\w+)(?: \((\w+)\))? {2,}\S", errors.__doc__ or "")
    return {name: also or None for name, also in lines}


def test_the_hierarchy_in_the_docstring_is_the_real_one():
    real = {
        name: next((base.__name__ for base in cls.__bases__ if base is not AutooptError), None)
        for name, cls in error_classes().items()
        if cls is not AutooptError
    }
    assert drawn_tree() == real
    assert all(AutooptError in cls.__bases__ for n, cls in error_classes().items() if n in real)


def test_every_error_can_be_caught_as_one_and_says_what_it_is():
    for name, cls in error_classes().items():
        assert issubclass(cls, autoopt.AutooptError)
        assert cls.__doc__, name


def test_errors_survive_the_way_between_processes():
    import pickle

    back = pickle.loads(pickle.dumps(UnknownNameError("runtime", "tvm", ["b", "a"])))
    assert str(back) == "unknown runtime 'tvm'; known: a, b"
    assert back.known == ("a", "b")


def test_an_unknown_name_among_none_says_none():
    assert str(UnknownNameError("technique", "mine", [])) == (
        "unknown technique 'mine'; known: none"
    )


# ------------------------------------------------------------------ tables

LOADERS: list[tuple[str, Mapping[str, str], Callable[[str], object]]] = [
    ("executor", EXECUTORS, lambda name: load_executor(name, None)),  # type: ignore[arg-type]  # not reached
    ("objective", OBJECTIVES, load_objective),
    ("runtime", RUNTIMES, load_runtime),
    ("target", TARGETS, load_target),
]


@pytest.mark.parametrize(("kind", "table", "load"), LOADERS, ids=[kind for kind, *_ in LOADERS])
def test_an_unknown_name_is_refused_with_all_known_ones(
    kind: str, table: Mapping[str, str], load: Callable[[str], object]
):
    with pytest.raises(UnknownNameError) as told:
        load("nothing")
    assert kind in str(told.value)
    assert str(told.value).endswith(f"'nothing'; known: {', '.join(sorted(table))}")


@pytest.mark.parametrize(("kind", "table", "load"), LOADERS, ids=[kind for kind, *_ in LOADERS])
def test_a_table_cannot_be_changed(
    kind: str, table: Mapping[str, str], load: Callable[[str], object]
):
    with pytest.raises(TypeError, match="does not support item assignment"):
        table["mine"] = "mine:Mine"  # type: ignore[index]  # that is the test
    assert table


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_of_the_table_is_there(name: str):
    cls = load_class("executor", "autoopt.executors", EXECUTORS, name)
    assert callable(cls.start)
    assert callable(cls.close)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_complete_under_the_name_of_its_line(name: str):
    objective = load_objective(name)
    assert objective.name == name
    assert objective.direction in ("minimize", "maximize")
    assert objective.unit in ("", "ms", "s", "MB", "1/s", "J", "M", "MMAC")
    assert callable(objective.measure)


# ------------------------------------------------------------------ packages


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_there(package: str):
    module = import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_a_name_that_is_not_offered_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autoopt' has no attribute 'aply'"):
        _ = autoopt.aply


def test_the_module_says_what_each_public_name_is_for():
    for name in autoopt.__all__:
        assert name == "AutooptError" or re.search(rf"^{name} ", autoopt.__doc__ or "", re.M), name
