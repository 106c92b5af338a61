import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.distinct import SAMPLE, DistinctSample, alike, hashes
from idealflow.core.distribution import Distribution, Moments
from idealflow.core.left_out import FEWEST, estimate_metric
from idealflow.core.products import padded, row_products

#: fewer distinct samples than this are few
FEW = 40


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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.lists(st.integers(0, 700), min_size=1, max_size=8))
def test_a_distribution_is_that_of_all_its_vectors_however_they_came(seed, d, sizes):
    parts = [vectors(seed + i, n, d, offset=50.0) for i, n in enumerate(sizes)]
    found, whole = Distribution.empty(d), Moments.of(np.concatenate(parts))
    for part in parts:
        found = found.joined(part)
        assert sum(map(len, found.recent)) <= max(d // 2, 0 if found.folded is None else 1024)
    assert_same(found.moments, whole)
    assert found.n == whole.n
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12)
    assert (found.vectors is None) == (found.folded is not None or whole.n == 0)
    np.testing.assert_array_equal(found.moments.scatter, found.moments.scatter.T)


@pytest.mark.parametrize("n", [60, 300])
def test_few_vectors_and_their_moments_give_the_same_metric(n):
    """From the vectors' own products where they are fewer than features, from the covariance where they are not at hand."""
    samples = vectors(3, n, 720, offset=5.0)  # 720: only the first directions of a matrix are computed
    sample = DistinctSample.empty(720).joined(samples, 0)
    distribution = Distribution.empty(720).joined(samples)
    assert distribution.vectors is not None
    one, other = (estimate_metric(each, sample, 1e-7) for each in (distribution, Moments.of(samples)))
    probes = vectors(5, 10, 720, offset=5.0)
    np.testing.assert_allclose(squares(one, probes), squares(other, probes), rtol=1e-6)
    assert one.whitener.k == pytest.approx(other.whitener.k, rel=1e-7)


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


def metric(samples, relative_cut):
    sample = DistinctSample.empty(samples.shape[1]).joined(samples, 0)
    return estimate_metric(Moments.of(samples), sample, relative_cut)


def squares(found, vectors):
    return (found.whitener(vectors) ** 2).sum(axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(FEW, 1500), st.integers(3, 12))
def test_the_training_mean_of_the_distance_is_k(seed, n, d):
    samples = vectors(seed, n, d, offset=2.0)
    found = metric(samples, 1e-9)
    # the covariance divides by n − 1, the mean by n
    assert squares(found, samples).mean() == pytest.approx(found.whitener.k * (n - 1) / n, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(FEWEST, FEW - 1), st.integers(2, 40))
def test_of_few_samples_the_mean_of_left_out_ones_is_at_most_one(seed, n, d):
    samples = vectors(seed, n, d, offset=2.0)
    found = metric(samples, 1e-9)
    fitted = n / (n - 1) * squares(found, samples).mean()
    assert found.whitener.k == pytest.approx(max(fitted, found.whitener.k * found.distances.mean()))


def test_distances_are_mahalanobis_distances():
    samples = vectors(5, 2000, 5, offset=1.0)
    found = metric(samples, 1e-12)
    inverse = np.linalg.inv(np.cov(samples.T))
    other = vectors(6, 30, 5, offset=1.5)
    centred = other - samples.mean(axis=0)
    exact = np.einsum("na,ab,nb->n", centred, inverse, centred)
    np.testing.assert_allclose(squares(found, other), exact, rtol=1e-9)
    assert found.whitener.k == pytest.approx(5, abs=1e-9)


def test_left_out_distances_are_those_of_samples_that_were_left_out():
    """The closed form of many samples against a covariance made without each of them."""
    samples = vectors(5, 600, 5, offset=1.0)
    found = metric(samples, 1e-12)
    order = np.argsort(hashes(samples, 0))[:512]
    expected = []
    for number in order[:40]:
        others = np.delete(samples, number, axis=0)
        off = samples[number] - others.mean(axis=0)
        expected.append(off @ np.linalg.inv(np.cov(others.T)) @ off / 5)
    np.testing.assert_allclose(found.distances[:40], expected, rtol=0.1)


def test_directions_without_variance_count_for_nothing_and_are_seen():
    samples = vectors(7, 3000, 4) @ np.random.default_rng(0).normal(size=(4, 10)) + 3.0  # rank 4 in 10 dimensions
    found = metric(samples, 1e-9)
    assert found.whitener.k == pytest.approx(4, abs=1e-6)
    off = np.random.default_rng(3).normal(size=(1, 10)) * 0.1 + samples.mean(axis=0)
    assert squares(found, off)[0] > 1e6


@pytest.mark.parametrize("n", [7, 20, 60, 300, 600])
def test_unseen_samples_of_a_small_training_set_do_not_explode(n):
    d, values, beyond = 30, [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(d, d)) * np.geomspace(1.0, 1e-3, d)
        found = metric(rng.normal(size=(n, d)) @ mixing + 4.0, 1e-8)
        unseen = rng.normal(size=(200, d)) @ mixing + 4.0
        u = squares(found, unseen) / found.whitener.k
        values.append(u.mean())
        beyond.append((u > 2.0 * np.quantile(found.distances, 0.99)).mean())
    assert 0.7 < np.median(values) < 1.6
    if n >= 20:
        assert np.mean(beyond) < 0.05


@pytest.mark.parametrize("n", [1, 2, FEWEST - 1])
def test_too_few_samples_know_only_themselves(n):
    samples = vectors(1, n, 8, offset=3.0)
    found = metric(samples, 1e-8)
    np.testing.assert_array_equal(np.sort(found.whitener.seen, axis=0), np.sort(samples, axis=0))
    assert found.distances.size == 0
    assert np.isfinite(found.whitener(vectors(2, 5, 8))).all()


def test_one_more_direction_is_seen_even_where_few_samples_were():
    rng = np.random.default_rng(1)
    samples = np.zeros((12, 8))
    samples[:, :4] = rng.normal(size=(12, 4))
    found = metric(samples + 1.0, 1e-8)
    new = np.ones((1, 8))
    new[0, 6] += 0.1  # a direction in which no sample ever moved
    assert squares(found, new)[0] / found.whitener.k > 1e4


@pytest.mark.parametrize("n", [FEWEST, 30, 600])
def test_copies_do_not_count(n):
    samples = vectors(4, n, 6, offset=2.0)
    if n < 512:
        copied, once = metric(np.repeat(samples, 7, axis=0), 1e-8), metric(samples, 1e-8)
        np.testing.assert_allclose(copied.distances, once.distances, rtol=1e-9)
        np.testing.assert_allclose(copied.whitener.matrix, once.whitener.matrix, rtol=1e-6, atol=1e-9)
    assert DistinctSample.empty(6).joined(np.repeat(samples, 7, axis=0), 0).count == pytest.approx(n, rel=0.12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_row_products_are_numpys(n, p, m, seed):
    rng = np.random.default_rng(seed)
    rows, matrix = rng.normal(size=(n, p)), rng.normal(size=(p, m))
    np.testing.assert_allclose(row_products(rows, padded(matrix), m), rows @ matrix, atol=1e-12)


def test_the_sample_is_uniform_over_distinct_rows_however_the_stream_is_cut_and_ordered():
    n, counts = 4 * SAMPLE, np.zeros(4)
    for seed in range(20):
        rng, rows = np.random.default_rng(seed), np.arange(1.0, n + 1)[:, None] ** [1.0, 0.5]
        sample = DistinctSample.empty(2)
        for part in np.split(np.repeat(rng.permutation(rows), 2, axis=0), np.sort(rng.integers(0, 2 * n, 5))):
            sample = sample.joined(part, seed)
        np.testing.assert_array_equal(sample.rows, DistinctSample.empty(2).joined(rows, seed).rows)
        assert len(np.unique(sample.rows[:, 0])) == SAMPLE
        assert sample.count == pytest.approx(n, rel=0.2)
        counts += np.histogram(sample.rows[:, 0], bins=4, range=(1, n))[0]
    share = counts / counts.sum()
    assert np.abs(share - 0.25).max() < 0.025


def test_rounding_makes_no_new_environment():
    rows = vectors(3, 100, 9, offset=1.0)
    noise = 1.0 + 1e-9 * np.random.default_rng(0).normal(size=rows.shape)
    sample = DistinctSample.empty(9).joined(rows, 0).joined(rows * noise, 0)
    assert sample.count == 100
    assert alike(rows * noise, sample.rows).all()
    assert not alike(rows * 1.001, sample.rows).any()


@pytest.mark.parametrize(("n", "copies"), [(11, 200), (300, 1), (5_000, 1), (400, 25)])
def test_a_uniform_sample_tells_how_many_were_distinct(n, copies):
    """What files of version 1 hold: 512 of all environments."""
    rng, rows = np.random.default_rng(7), vectors(9, n, 5, offset=2.0)
    stream = rng.permutation(np.repeat(rows, copies, axis=0))
    kept = stream[rng.choice(len(stream), min(512, len(stream)), replace=False)]
    sample = DistinctSample.of_uniform(kept, len(stream), 3)
    assert sample.count == pytest.approx(n, rel=0.01 if n in (11, 300) else 0.25 if copies == 1 else 9.0)
    later = sample.joined(rows[:10], 3)
    assert sample.count <= later.count <= sample.count + 10 * copies


def test_many_samples_in_which_nothing_varies_know_one_environment():
    found = metric(np.full((50, 2), 3.0), 1e-7)
    assert len(found.whitener.seen) == 1
    assert not found.whitener(np.full((1, 2), 3.0)).any()
