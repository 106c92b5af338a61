import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.distribution import SAMPLES_PER_DIMENSION, Moments
from idealflow.core.products import padded, row_products
from idealflow.core.reservoir import RESERVOIR, sampled


def vectors(seed, n, d, offset=0.0):
    """Correlated samples far from the origin, as descriptors are."""
    rng = np.random.default_rng(seed)
    return offset + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.geomspace(1.0, 1e-2, d)


def assert_same(a, b, tolerance=1e-12):
    assert a.n == b.n
    np.testing.assert_allclose(a.mean, b.mean, rtol=tolerance, atol=tolerance * np.abs(b.mean).max())
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=tolerance, atol=tolerance * np.abs(b.scatter).max())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), min_size=2, max_size=6))
def test_merging_is_exactly_associative(seed, sizes):
    parts = [vectors(seed + i, n, 6, offset=50.0) for i, n in enumerate(sizes)]
    whole = Moments.of(np.concatenate(parts))
    left = Moments.empty(6)
    for part in parts:
        left = left.merged(Moments.of(part))
    right = Moments.empty(6)
    for part in reversed(parts):
        right = Moments.of(part).merged(right)
    assert_same(left, whole)
    assert_same(right, whole)


def test_merging_keeps_digits_that_raw_sums_lose():
    samples = vectors(3, 400, 4) * 1e-3 + 1e5
    merged = Moments.of(samples[:1])
    for row in samples[1:]:
        merged = merged.merged(Moments.of(row[None, :]))
    exact = np.cov((samples - 1e5).T) * (len(samples) - 1)
    raw = samples.T @ samples - len(samples) * np.outer(samples.mean(axis=0), samples.mean(axis=0))
    scale = np.abs(exact).max()
    assert np.abs(merged.scatter - exact).max() / scale < 1e-6
    assert np.abs(raw - exact).max() / scale > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 12))
def test_the_training_mean_of_the_distance_is_k(seed, n, d):
    samples = vectors(seed, n, d, offset=2.0)
    whitener = Moments.of(samples).whitener(1e-9)
    mean = (whitener(samples) ** 2).sum(axis=1).mean()
    # the covariance divides by n − 1, the mean by n
    assert mean == pytest.approx(whitener.k * (n - 1) / n if n > 1 else 0.0, rel=1e-6, abs=1e-9)


def test_distances_are_mahalanobis_distances():
    samples = vectors(5, 2000, 5, offset=1.0)
    whitener = Moments.of(samples).whitener(1e-12)
    inverse = np.linalg.inv(np.cov(samples.T))
    other = vectors(6, 30, 5, offset=1.5)
    centred = other - samples.mean(axis=0)
    np.testing.assert_allclose(
        (whitener(other) ** 2).sum(axis=1), np.einsum("na,ab,nb->n", centred, inverse, centred), rtol=1e-9
    )
    assert whitener.k == 5


def test_directions_without_variance_are_dropped():
    samples = vectors(7, 3000, 4) @ np.random.default_rng(0).normal(size=(4, 10)) + 3.0  # rank 4 in 10 dimensions
    assert Moments.of(samples).whitener(1e-9).k == 4


@pytest.mark.parametrize("n", [1, 2, 5, 20, 60])
def test_unseen_samples_of_a_small_training_set_do_not_explode(n):
    d, values = 30, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(d, d)) * np.geomspace(1.0, 1e-3, d)
        whitener = Moments.of(rng.normal(size=(n, d)) @ mixing + 4.0).whitener(1e-8)
        unseen = rng.normal(size=(200, d)) @ mixing + 4.0
        assert np.isfinite(whitener(unseen)).all()
        values.append((whitener(unseen) ** 2).sum(axis=1).mean() / whitener.k)
    if n >= 2 * SAMPLES_PER_DIMENSION:
        assert 0.7 < np.median(values) < 1.6


def test_one_more_direction_is_seen_even_where_few_samples_were():
    rng = np.random.default_rng(1)
    samples = np.zeros((12, 8))
    samples[:, :4] = rng.normal(size=(12, 4))
    whitener = Moments.of(samples + 1.0).whitener(1e-8)
    new = np.ones((1, 8))
    new[0, 6] += 30.0  # a direction in which no sample ever moved
    assert (whitener(new) ** 2).sum() / whitener.k > 50


def test_reverse_is_the_adjoint():
    whitener = Moments.of(vectors(8, 200, 7, offset=1.0)).whitener(1e-9)
    rng = np.random.default_rng(2)
    v, y = rng.normal(size=(20, 7)), rng.normal(size=(20, len(whitener.matrix)))
    forward = whitener(v) - whitener(np.zeros_like(v))
    np.testing.assert_allclose((forward * y).sum(axis=1), (v * whitener.reverse(y)).sum(axis=1), rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_row_products_are_numpys(n, p, m, seed):
    rng = np.random.default_rng(seed)
    rows, matrix = rng.normal(size=(n, p)), rng.normal(size=(p, m))
    np.testing.assert_allclose(row_products(rows, padded(matrix), m), rows @ matrix, atol=1e-12)


def test_the_reservoir_is_a_uniform_sample_however_the_stream_is_cut():
    n, counts = 4 * RESERVOIR, np.zeros(4)
    for seed in range(40):
        rng, kept, seen = np.random.default_rng(seed), np.zeros((0, 1)), 0
        for part in np.split(np.arange(n, dtype=float)[:, None], np.sort(rng.integers(0, n, 5))):
            kept = sampled(kept, part, seen, rng)
            seen += len(part)
        assert len(np.unique(kept)) == RESERVOIR
        counts += np.histogram(kept, bins=4, range=(0, n))[0]
    share = counts / counts.sum()
    assert np.abs(share - 0.25).max() < 0.02


def test_many_samples_in_which_nothing_varies_have_a_whitener():
    whitener = Moments.of(np.full((50, 2), 3.0)).whitener(1e-7)
    assert np.isfinite(whitener(np.array([[3.0, 3.0], [3.0, 4.0]]))).all()
    assert not whitener(np.full((1, 2), 3.0)).any()
