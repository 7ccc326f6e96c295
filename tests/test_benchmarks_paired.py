"""The arithmetic of paired comparisons."""

from __future__ import annotations

import io
from statistics import mean, stdev

import pytest
import torch
from rich.console import Console
from scipy.stats import ttest_1samp
from torch import Tensor

from tests.architectures import untrained_task
from tests.benchmarks import techniques
from tests.benchmarks.demo_network import FOLDS, INT8, fold_parts, having, pooled
from tests.benchmarks.paired import Comparison, lower_bound
from tests.benchmarks.progress import told
from tests.benchmarks.techniques import FIGURES


def test_the_lower_bound_is_that_of_students_interval():
    differences = [1.0, 2.5, 0.5, 3.0, 1.5]
    interval = ttest_1samp(differences, 0).confidence_interval(0.9)
    assert lower_bound(differences) == pytest.approx(interval.low)
    assert lower_bound(differences) < mean(differences)
    assert stdev(differences) > 0


def test_figures_pair_each_seed_with_itself():
    figures = Comparison([90, 95, 97], [88, 93, 95], [85, 90, 92]).figures("gain")
    assert figures == {"gain": 3, "gain_mean": 3, "gain_weaker_loses": 5}


def test_every_known_result_is_in_the_table():
    on_digits = {
        "distil_gain",
        "taylor_over_random",
        "mixed_over_uniform",
        "iterative_over_oneshot",
        "activation_aware_over_plain",
    }
    losses = {"int8_worst_drop", "half_distilled_drop"}
    on_text = {f"text_{name}" for name in on_digits}
    assert {measure.__name__ for measure in FIGURES} == on_digits | on_text | losses


def test_figures_can_be_chosen_and_unknown_ones_are_named(monkeypatch: pytest.MonkeyPatch):
    def planted() -> dict[str, float]:
        return {"planted": 1.0}

    def other() -> dict[str, float]:
        raise AssertionError("was not asked for")

    monkeypatch.setattr(techniques, "FIGURES", (planted, other))
    assert techniques.run(["planted"]).figures == {"planted": 1.0}
    with pytest.raises(ValueError, match=r"unknown figures \['plantet'\]; known: planted, other"):
        techniques.run(["plantet"])


def test_what_was_not_shown_or_not_at_a_fair_setting_is_missed():
    fair = dict.fromkeys(("a", "b", "text_a", "text_b"), 1.0)
    fair |= {f"{name}_weaker_loses": 10.0 for name in fair}
    assert techniques.short({**fair, "int8_worst_drop": 0.5}) == []
    assert techniques.short({**fair, "a": -1.0}) == []
    (said,) = techniques.short({**fair, "text_a": -1.0, "text_b": 0.0})
    assert "text_a, text_b" in said
    (said,) = techniques.short({**fair, "b_weaker_loses": 2.4})
    assert said.startswith("b: the weaker way loses 2.4 points")
    (said,) = techniques.short({**fair, "int8_worst_drop": 0.6})
    assert "at most 0.5" in said


def test_how_far_it_is_is_said_where_no_terminal_is():
    out = io.StringIO()
    assert list(told([1, 2], ["a", "b"], console=Console(file=out, width=80))) == [1, 2]
    first, second = out.getvalue().splitlines()
    assert first.startswith("1 of 2, a: ")
    assert second.endswith("about 0 s left")


def test_integers_are_compared_in_every_runtime_that_has_them():
    assert set(having(INT8, untrained_task("mlp"))) >= {"onnxruntime", "openvino"}


def test_every_digit_is_in_one_test_part_and_in_no_other_part_of_its_fold():
    tested: list[bytes] = []
    for fold in FOLDS:
        parts = fold_parts(fold)
        # A fold normalises in its own way; ranks of pixels do not change by that.
        train, validation, test = ([_unscaled(x) for x in part.tensors[0]] for part in parts)
        assert [len(part) for part in parts] == [len(train), len(validation), len(test)]
        assert not {*train, *validation} & set(test)
        assert not set(train) & set(validation)
        assert len(train) > 2.5 * len(validation)
        for part in parts:
            shares = part.tensors[1].bincount() / len(part)
            assert 0.09 < shares.min() <= shares.max() < 0.11
        tested += test
    assert len(tested) == len(set(tested)) == 1797


def _unscaled(image: Tensor) -> bytes:
    """Return an image as bytes that do not depend on how its fold was normalised."""
    low, high = image.min(), image.max()
    return ((image - low) / (high - low) * 240).round().to(torch.uint8).numpy().tobytes()


def test_folds_count_by_their_digits():
    sizes = [len(fold_parts(fold)[2]) for fold in FOLDS]
    assert sum(sizes) == 1797
    lost = [2, 0, 1, 3, 0]
    drops = [100 * wrong / size for wrong, size in zip(lost, sizes, strict=True)]
    assert pooled(drops, FOLDS) == pytest.approx(100 * 6 / 1797)
