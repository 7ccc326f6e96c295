"""What an artefact may differ from its network, and what its files say that it computes in."""

from __future__ import annotations

import numpy as np
import pytest

from autoopt.errors import RefusedError
from autoopt.runtimes.agreement import bound_of, compare
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.layer_table import FileLayer, stayed_in_float32
from tests.runtime_builds import built, refusal

WANTED = np.eye(4, dtype=np.float32)


@pytest.mark.parametrize(
    ("precision", "bound"),
    [
        ("float32", 1e-2),
        ("float16 weights, float32 compute", 0.1),
        ("bfloat16", 0.3),
        ("int8 weights, float32 compute", 0.5),
        ("int8", None),
        ("int4 weights, float32 compute", None),
        ("codebook of 16 weights, float32 compute", None),
    ],
)
def test_each_precision_has_its_bound(precision: str, bound: float | None):
    assert bound_of(precision) == bound


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "int8 weights"])
def test_an_error_beyond_the_bound_is_refused_even_where_every_class_is_the_same(precision: str):
    bound = bound_of(precision)
    assert bound is not None
    found = compare(WANTED, WANTED * np.float32(1 + 0.9 * bound), bound=bound, axis=1)
    assert found["same_class"] == 1.0
    assert found["bound"] == bound
    with pytest.raises(RefusedError, match="does not agree with its network"):
        compare(WANTED, WANTED * np.float32(1 + 1.1 * bound), bound=bound, axis=1)


def test_integers_are_judged_by_their_classes():
    compare(WANTED, WANTED * 3, bound=None, axis=1)
    with pytest.raises(RefusedError, match="same_class=0"):
        compare(WANTED, np.roll(WANTED, 1, axis=1), bound=None, axis=1)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("precision", "stayed"), [("static", []), ("static_kept", ["stem", "head"])]
)
def test_the_record_names_the_layers_that_stayed_in_float(runtime, precision, stayed):
    realised = read_manifest(built("cnn", runtime, precision)).realised
    assert realised["stayed_in_float32"] == stayed


def test_a_precision_that_every_layer_computes_in_leaves_none():
    if reason := refusal("cnn", "openvino", "bfloat16"):
        pytest.skip(reason)
    assert read_manifest(built("cnn", "openvino", "bfloat16")).realised["stayed_in_float32"] == []


def test_what_computes_in_float_counts_as_such_and_tables_do_not_count():
    layers = [
        FileLayer("table", "Gather", (9, 4), 32, "float32", "Gather"),
        FileLayer("first", "Conv", (4, 4), 8, "int8", "FusedConv"),
        FileLayer("second", "MatMul", (4, 4), 8, "int8", "FullyConnected u8"),
    ]
    assert stayed_in_float32(layers, "int8") == ["first"]
    assert stayed_in_float32(layers, "bfloat16") == ["first", "second"]
