"""Grids, codebooks and packed codes against references written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from autoopt.precision import Grid, fields, pack, packed_size, share_weights, store, unpack
from tests.strategies import weight_rows

GROUPS = [("per_tensor", 0), ("per_channel", 0), ("per_group", 4), ("per_group", 7)]


def grouped(rows: np.ndarray, granularity: str, group: int) -> list[tuple[slice, slice]]:
    """What shares a scale, as slices: written out, unlike the code's reshapes."""
    count, columns = rows.shape
    whole = slice(0, columns)
    if granularity == "per_tensor":
        return [(slice(0, count), whole)]
    step = columns if granularity == "per_channel" else group
    return [
        (slice(r, r + 1), slice(start, min(start + step, columns)))
        for r in range(count)
        for start in range(0, columns, step)
    ]


# ------------------------------------------------------------------ affine


@given(weight_rows(), st.integers(1, 8), st.sampled_from(GROUPS))
def test_affine_codes_follow_the_formula_and_err_by_half_a_step_at_most(rows, bits, how):
    stored = store(rows, Grid(bits, "affine", *how))
    restored = stored.restored()
    for place in grouped(rows, *how):
        x = rows[place].astype(np.float64)
        low, high = x.min(), x.max()
        step = (high - low) / (2**bits - 1)
        if step < 1e-6 * max(abs(low), abs(high), 1e-30):
            np.testing.assert_allclose(restored[place], x, rtol=1e-5, atol=1e-30)
            continue
        exact = (x - low) / (high - low) * (2**bits - 1)
        assert np.abs(stored.codes[place] - exact).max() <= 0.5 + 1e-2
        assert np.abs(restored[place] - x).max() <= step * (0.5 + 1e-2)


def test_the_affine_example_of_the_textbook():
    stored = store(np.array([[-1.0, 0.0, 0.4, 2.0]], np.float32), Grid(2, "affine"))
    assert stored.codes.tolist() == [[0, 1, 1, 3]]
    assert stored.scales.tolist() == [[1.0]]
    assert stored.restored().tolist() == [[-1.0, 0.0, 0.0, 2.0]]


# ------------------------------------------------------------------ symmetric


@given(weight_rows(), st.sampled_from(GROUPS))
def test_eight_symmetric_bits_err_by_half_a_step_at_most(rows, how):
    restored = store(rows, Grid(8, "symmetric", *how)).restored()
    for place in grouped(rows, *how):
        x = rows[place].astype(np.float64)
        step = np.abs(x).max() / 127
        assert np.abs(restored[place] - x).max() <= step * (0.5 + 1e-3)


@given(weight_rows(), st.integers(2, 4))
def test_few_symmetric_bits_lose_no_more_than_a_grid_over_the_whole_range(rows, bits):
    restored = store(rows, Grid(bits)).restored().astype(np.float64)
    top = 2 ** (bits - 1) - 1
    step = np.maximum(np.abs(rows).max(axis=1, keepdims=True).astype(np.float64) / top, 1e-30)
    plain = np.clip(np.rint(rows / step), -top, top) * step
    lost, most = ((restored - rows) ** 2).sum(1), ((plain - rows) ** 2).sum(1)
    assert (lost <= most * (1 + 1e-3) + 1e-12).all()


@given(weight_rows(), st.integers(2, 8), st.sampled_from(["symmetric", "affine"]))
def test_what_lies_on_a_grid_stays_where_it_is(rows, bits, scheme):
    grid = Grid(bits, scheme)
    once = store(rows, grid).restored()
    np.testing.assert_allclose(store(once, grid).restored(), once, rtol=1e-4, atol=1e-6)


@given(weight_rows(), st.integers(2, 8))
def test_zero_is_exactly_zero_on_a_symmetric_grid(rows, bits):
    rows = rows.copy()
    rows[:, 0] = 0
    assert not store(rows, Grid(bits)).restored()[:, 0].any()


# ------------------------------------------------------------------ binary


@given(weight_rows(), st.sampled_from(GROUPS[:3]))
def test_binary_weights_are_the_sign_times_the_mean_size(rows, how):
    restored = store(rows, Grid(1, "binary", *how)).restored()
    for place in grouped(rows, *how):
        x = rows[place]
        if how[1] and x.shape[1] < how[1]:
            continue  # a short group counts its last weight more than once
        alpha = np.abs(x).mean()
        wanted = np.where(x >= 0, alpha, -alpha) if alpha else np.full_like(x, 1.0)
        if alpha:
            np.testing.assert_allclose(restored[place], wanted, rtol=1e-4, atol=1e-12)


# ------------------------------------------------------------------ codebooks


@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 10, 16]))
def test_a_codebook_is_that_of_k_means(seed, clusters):
    weights = np.random.default_rng(seed).standard_normal(300).astype(np.float32)
    book, codes = share_weights(weights, clusters)
    start = np.linspace(weights.min(), weights.max(), clusters, dtype=np.float64)[:, None]
    reference = KMeans(clusters, init=start, n_init=1).fit(weights[:, None].astype(np.float64))
    np.testing.assert_allclose(book, np.sort(reference.cluster_centers_[:, 0]), atol=1e-5)
    lost = float(((book[codes] - weights) ** 2).sum())
    assert lost == pytest.approx(reference.inertia_, rel=1e-4)


def test_every_weight_gets_the_nearest_entry():
    weights = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    book, codes = share_weights(weights, 8)
    nearest = np.abs(weights[..., None] - book).argmin(axis=-1)
    assert np.array_equal(codes, nearest)


def test_many_weights_are_shared_as_well_as_k_means_over_all_of_them():
    weights = np.random.default_rng(1).standard_normal(40_000).astype(np.float32)
    book, codes = share_weights(weights, 16)
    full = KMeans(16, n_init=1, random_state=0).fit(weights[:, None])
    assert ((book[codes] - weights) ** 2).sum() <= full.inertia_ * 1.02


def test_fewer_different_weights_than_clusters_are_kept_exactly():
    weights = np.array([[1.0, 2.0, 1.0, -3.0]], np.float32)
    stored = store(weights, Grid(8, "codebook", "per_tensor", clusters=256))
    assert stored.bits == 2
    assert np.array_equal(stored.restored(), weights)


# ------------------------------------------------------------------ packed


@given(st.integers(1, 8), st.lists(st.integers(0, 255), min_size=1, max_size=70))
def test_packed_codes_come_back_and_take_their_bits(bits, values):
    codes = (np.array(values, np.uint8) & (2**bits - 1)).astype(np.uint8)
    packed = pack(codes, bits)
    assert np.array_equal(unpack(packed, bits, len(codes)), codes)
    assert len(packed) == packed_size(len(codes), bits)
    assert len(codes) * bits / 8 <= len(packed) < len(codes) * bits / 8 + len(fields(bits))


def test_the_first_code_lies_in_the_low_bits():
    assert pack(np.array([1, 2, 3, 0, 2], np.uint8), 2).tolist() == [0b00111001, 0b10]
    assert pack(np.array([0xA, 0x5], np.uint8), 4).tolist() == [0x5A]


@pytest.mark.parametrize(
    ("grid", "extra"),
    [
        (Grid(2), 6 * 4),
        (Grid(2, "symmetric", "per_tensor"), 4),
        (Grid(4, "affine"), 6 * 8),
        (Grid(2, "symmetric", "per_group", 10), 6 * 4 * 4),
        (Grid(1, "binary"), 6 * 4),
    ],
)
def test_the_size_is_the_codes_and_their_scales_to_the_byte(grid, extra):
    rows = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)
    assert store(rows, grid).size == 6 * 40 * grid.bits // 8 + extra


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((9,), "from 2 to 8, but got 9"),
        ((1,), "from 2 to 8, but got 1"),
        ((4, "affine", "per_group", 0), "`group` must be positive"),
        ((4, "affine", "per_channel", 8), "`group` must be positive"),
        ((2, "codebook", "per_tensor", 0, 5), "`clusters` must be from 2 to"),
    ],
)
def test_a_grid_outside_its_bounds_is_refused_with_what_was_given(settings, words):
    with pytest.raises(ValueError, match=words):
        Grid(*settings)


def test_weights_that_are_no_finite_matrix_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        store(np.zeros(3, np.float32), Grid(4))
    with pytest.raises(ValueError, match="finite"):
        store(np.full((1, 2), np.nan, np.float32), Grid(4))
    with pytest.raises(ValueError, match="from 1 to 8, but got 0"):
        fields(0)
    with pytest.raises(ValueError, match="from 2 to 256, but got 300"):
        share_weights(np.zeros(4, np.float32), 300)
