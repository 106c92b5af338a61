"""Squared lengths and slopes without whitened vectors, against the whitened vectors themselves."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.distinct import DistinctSample
from idealflow.core.distribution import Distribution, Moments
from idealflow.core.known import KnownEnvironments
from idealflow.core.left_out import FEWEST, estimate_metric
from idealflow.core.residuals import CANCELLED
from idealflow.core.torch_metric import TorchMetric
from idealflow.core.whitening import Whitener

torch = pytest.importorskip("torch")


def explicit(whitener, vectors):
    """W as a matrix, applied by numpy: lengths and slopes."""
    whitened = (vectors - whitener.mean) @ whitener.matrix.T
    return (whitened**2).sum(axis=1), 2.0 * whitened @ whitener.matrix


def on_torch(whitener, vectors):
    tensor = torch.tensor(vectors, requires_grad=True)
    squares = TorchMetric(whitener, torch.device("cpu")).squared(tensor)
    return squares.detach().numpy(), torch.autograd.grad(squares.sum(), tensor)[0].numpy()


def of_any_shape(rng, d, m, n_apart, decades):
    """A metric of m directions in d features, whose variances spread over decades above that of nearly all features."""
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0][:m]
    rest = np.full(d, 10.0 ** (decades / 2))
    rest[rng.permutation(d)[:n_apart]] *= rng.uniform(1.0, 30.0, n_apart)
    scales = 10.0 ** np.sort(rng.uniform(0.0, decades / 2, m))
    return Whitener(rng.normal(size=d) * 3.0, directions, scales, rest, k=float(m + 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 600), st.floats(0.0, 7.0), st.data())
def test_lengths_and_slopes_are_those_of_whitened_vectors(seed, d, n, decades, data):
    rng = np.random.default_rng(seed)
    m, n_apart = data.draw(st.integers(0, d)), data.draw(st.integers(0, d))
    whitener = of_any_shape(rng, d, m, n_apart, decades)
    # some as the metric expects them, some far from anything
    vectors = whitener.mean + (rng.normal(size=(n, m)) / whitener.scales) @ whitener.directions
    vectors += rng.normal(size=(n, d)) * rng.choice([1.0, 1e3], (n, 1)) / whitener.rest.min()
    squares, slopes = explicit(whitener, vectors)
    np.testing.assert_allclose(whitener.squared(vectors), squares, rtol=1e-9)
    np.testing.assert_allclose((whitener(vectors) ** 2).sum(axis=1), squares, rtol=1e-9)
    found, gradient = on_torch(whitener, vectors)
    np.testing.assert_allclose(found, squares, rtol=1e-9)
    for each in (whitener.slopes(vectors), gradient):
        np.testing.assert_allclose(each, slopes, rtol=0, atol=1e-9 * np.abs(slopes).max())
    chosen = rng.permutation(n)[: n // 2 + 1]
    np.testing.assert_array_equal(whitener.squared(vectors, chosen), whitener.squared(vectors)[chosen])
    other = rng.permutation(vectors)
    between = ((whitener(vectors) - whitener(other)) ** 2).sum(axis=1)
    np.testing.assert_allclose(whitener.between(vectors, other), between, rtol=1e-9, atol=1e-18)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(FEWEST, 700), st.integers(2, 70), st.sampled_from([1e-4, 1e-7, 1e-9]))
def test_metrics_of_samples_few_and_many(seed, n, d, cut):
    """Dimensions, samples and floors as distributions have them."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) * np.geomspace(1.0, 1e-4, d)
    samples = rng.normal(size=(n, d)) @ mixing + 4.0
    samples[:, : d // 3] = 4.0 + 1e-3 * (samples[:, : d // 3] - 4.0)  # features that hardly vary
    whitener = estimate_metric(Moments.of(samples), DistinctSample.empty(d).joined(samples, 0), cut).whitener
    probes = np.concatenate([samples[:20], rng.normal(size=(20, d)) @ mixing + 4.0, rng.normal(size=(20, d)) + 4.0])
    squares, slopes = explicit(whitener, probes)
    np.testing.assert_allclose(whitener.squared(probes), squares, rtol=1e-9)
    np.testing.assert_allclose(on_torch(whitener, probes)[0], squares, rtol=1e-9)
    scale = np.abs(slopes).max(axis=1, keepdims=True)
    assert (np.abs(whitener.slopes(probes) - slopes) / scale).max() < 1e-7


def test_slopes_are_those_of_the_squared_lengths():
    """Finite differences, in quadruple steps of a quadratic form exact but for rounding."""
    rng = np.random.default_rng(4)
    whitener = of_any_shape(rng, 20, 11, 5, 3.0)
    vectors = whitener.mean + rng.normal(size=(6, 20))
    slopes = whitener.slopes(vectors)
    for feature in range(20):
        step = np.zeros(20)
        step[feature] = 1e-3
        found = (whitener.squared(vectors + step) - whitener.squared(vectors - step)) / 2e-3
        np.testing.assert_allclose(found, slopes[:, feature], rtol=1e-6, atol=1e-7 * np.abs(slopes).max())


def test_where_the_difference_cancels_the_residual_vector_is_taken():
    """Nine equal, wide directions: most of a vector is left when eight are taken out, and its residual is a millionth."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(40, 40)))[0][:30]
    whitener = Whitener(np.zeros(40), directions, np.full(30, 1e-8), np.ones(40), k=30.0)
    inside, outside = rng.normal(size=(50, 30)) @ directions * 1e6, rng.normal(size=(50, 40)) * 0.1
    outside -= outside @ directions.T @ directions
    vectors = inside + outside
    assert ((vectors**2).sum(axis=1) > 1e3 * CANCELLED * (outside**2).sum(axis=1)).all()
    expected = 1e-16 * (inside**2).sum(axis=1) + (outside**2).sum(axis=1)
    np.testing.assert_allclose(whitener.squared(vectors), expected, rtol=1e-7)  # of a vector that is rounded itself
    np.testing.assert_allclose(on_torch(whitener, vectors)[0], expected, rtol=1e-7)
    slopes = 2.0 * (1e-16 * inside + outside)
    np.testing.assert_allclose(whitener.slopes(vectors), slopes, atol=1e-7 * np.abs(slopes).max())
    np.testing.assert_allclose(on_torch(whitener, vectors)[1], slopes, atol=1e-7 * np.abs(slopes).max())
    assert np.abs((vectors**2).sum(axis=1) - ((vectors @ directions.T) ** 2).sum(axis=1) - expected).max() > 1e-4


def decaying(rng, n, d):
    """Rows whose variance falls from direction to direction."""
    return rng.normal(size=(n, d)) @ (0.99 ** np.arange(d)[:, None] * np.linalg.qr(rng.normal(size=(d, d)))[0]) + 5.0


def test_directions_of_many_rows_are_those_of_a_singular_value_decomposition():
    rows = decaying(np.random.default_rng(0), n=730, d=1_500)
    sample = DistinctSample.empty(1_500).joined(rows, seed=0)
    assert sample.full
    found = estimate_metric(Distribution.empty(1_500).joined(rows), sample, relative_cut=1e-7).whitener
    sizes, across = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[1:]
    m = len(found.directions)
    assert m > 60
    np.testing.assert_allclose(found.scales, np.sqrt(729.0) / sizes[:m], rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.einsum("ij,ij->i", found.directions, across[:m])), 1.0, rtol=1e-10)


def test_metrics_of_several_species_do_not_depend_on_threads():
    rng = np.random.default_rng(1)
    rows, kinds = decaying(rng, n=120, d=40), np.repeat([0, 1], 60)
    before, found = numba.get_num_threads(), []
    try:
        for n in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(n)
            known = KnownEnvironments(("Cu", "Au"), 40, pooled=False, relative_cut=1e-7, seed=0)
            known.join(rows, kinds)
            found.append(known.metrics_to_arrays()[0])
    finally:
        numba.set_num_threads(before)
    for arrays in found:
        assert arrays.keys() == found[0].keys()
        assert all(np.array_equal(array, found[0][name]) for name, array in arrays.items())
