"""The metric of a distribution, estimated by leaving environments out.

A few samples do not show all the ways in which a distribution varies. In the directions that they miss their variance is
zero, and a guess at it would be a guess at how far away something new is. So it is measured: each distinct environment is
left out in turn, and the part of it that lies outside the directions of the others tells the variance of everything that was
not seen. The threshold is taken from left-out environments too (docs/explanation/method.md, "What few samples do not show").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from idealflow.core.distinct import DistinctSample
from idealflow.core.distribution import Distribution, Moments
from idealflow.core.whitening import Whitener

__all__ = ["FEWEST", "SAMPLES_PER_DIMENSION", "LeftOut", "estimate_metric"]

Float = NDArray[np.float64]

#: with fewer distinct environments than this, how far away another one is cannot be told
FEWEST = 7

#: samples required per retained eigenvalue: unseen samples then come out at most 1 / (1 − 1/10) too far on average
SAMPLES_PER_DIMENSION = 10

#: eigenvalues retained of few samples all the same, but at most half as many as there are samples
_FIRST = 4

_TAIL_QUANTILE = 0.99

#: variances below this fraction of |mean|² are rounding noise of the descriptor
_NOISE = 1e-12

#: matrices of at most this size are decomposed whole
_DENSE = 700

#: variance, as a fraction of |mean|², allowed to a feature that never varied: what a neighbour that enters a hard cutoff changes
_FLAT = 1e-8

#: the unseen variance of a feature is at most this many times the variance that it showed
_SHOWN = 100.0


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A metric, and the distances in it of environments that were left out when it was estimated.

    Attributes
    ----------
    whitener
        The metric.
    distances : (n,)
        Uncertainties of distinct environments, each left out in its turn; empty if too few are known. 1 is the mean in
        distribution.
    fitted : (n,)
        Uncertainties of the same environments in the metric that was estimated with them.
    few
        Whether there were few samples, fewer than 40 distinct ones.

    Examples
    --------
    >>> from idealflow.core.distinct import DistinctSample
    >>> from idealflow.core.distribution import Distribution, Moments
    >>> rows = np.random.default_rng(0).normal(size=(100, 3)) + 5.0
    >>> found = estimate_metric(Moments.of(rows), DistinctSample.empty(3).joined(rows, seed=0), relative_cut=1e-7)
    >>> found.few, bool(found.threshold > 1.0)
    (False, True)
    """

    whitener: Whitener
    distances: Float
    fitted: Float
    few: bool

    @property
    def threshold(self) -> float:
        """The 99th percentile of left-out uncertainties plus a margin for what was not met; 0 if there are none.

        The margin is the 99th percentile of the fitted uncertainties, which equals the first for many samples; for few
        samples the first is doubled.
        """
        if len(self.distances) == 0:
            return 0.0
        tail = float(np.quantile(self.distances, _TAIL_QUANTILE))
        return tail + (tail if self.few else min(tail, float(np.quantile(self.fitted, _TAIL_QUANTILE))))

    def at_least(self, threshold: float) -> LeftOut:
        """Return the same metric in units in which its threshold is this one, if it is lower; else itself."""
        if not 0.0 < self.threshold < threshold:
            return self
        factor = threshold / self.threshold
        whitener = replace(self.whitener, k=self.whitener.k / factor)
        return LeftOut(whitener, self.distances * factor, self.fitted * factor, self.few)


def estimate_metric(moments: Moments | Distribution, sample: DistinctSample, relative_cut: float) -> LeftOut:
    """Estimate the metric of a distribution, and how far environments look that it does not know.

    Of n distinct samples the first n / :data:`SAMPLES_PER_DIMENSION` eigenvalues of the covariance are retained (up to four
    of few samples): later ones come out too small, or zero. Those below ``relative_cut`` times the largest are not. The part
    of an environment outside the retained directions is measured by the variance that left-out environments show there,
    divided by the number of dimensions in which they vary, (tr C)² / tr C². A feature that hardly ever varied is measured by
    its own variance.

    Parameters
    ----------
    moments
        Mean and scatter of all environments; used if the sample does not contain all distinct ones.
    sample
        Distinct environments, at least one.
    relative_cut
        Fraction of the largest eigenvalue below which directions are not retained.

    Examples
    --------
    >>> from idealflow.core.distinct import DistinctSample
    >>> from idealflow.core.distribution import Distribution, Moments
    >>> rows = np.random.default_rng(0).normal(size=(100, 3)) + 5.0
    >>> found = estimate_metric(Moments.of(rows), DistinctSample.empty(3).joined(rows, seed=0), relative_cut=1e-7)
    >>> len(found.whitener.directions), bool(0.5 < found.fitted.mean() < 1.5)
    (3, True)
    """
    rows, n = sample.rows, sample.count
    mean = moments.mean if sample.full else rows.mean(axis=0)
    size = max(float(mean @ mean), 1e-300)
    noise = _NOISE * size
    if n < FEWEST:
        flat = np.full(len(mean), noise**-0.5)
        return LeftOut(
            Whitener(mean, np.zeros((0, len(mean))), np.zeros(0), flat, 1.0, rows), np.zeros(0), np.zeros(0), few=True
        )
    few = n < _FIRST * SAMPLES_PER_DIMENSION
    vectors = moments.vectors if sample.full else None
    if vectors is not None:
        whole = _from_rows(vectors, _retained(n), relative_cut, noise)
        fitted = (whole.split(vectors)[1] ** 2).sum(axis=0) / (len(vectors) - 1)
    elif sample.full:
        covariance = moments.covariance
        whole = _from_scatter(moments.mean, covariance, _retained(n), relative_cut, noise)
        fitted = _outside(whole, covariance)
    else:
        whole = _from_rows(rows, _retained(n), relative_cut, noise)
        fitted = (whole.split(rows)[1] ** 2).sum(axis=0) / (n - 1)
    if few:
        inside, outside = _left_out_in_turn(rows, len(whole.values), relative_cut, noise)
    else:
        inside, outside = _as_if_left_out(whole, rows, n)
    floor = max(noise, relative_cut * float(whole.values.max(initial=0.0)))
    squares = outside**2
    shown, each = squares.mean(axis=0), squares.sum(axis=1)
    dimensions = _effective(outside)
    least = np.maximum(_SHOWN * shown, _FLAT * size)
    variance = np.minimum(max(each.mean() / dimensions, floor), least)
    # each left-out sample is measured by what the others show
    distances = (squares / np.minimum(np.maximum(_mean_of_others(each) / dimensions, floor)[:, None], least)).sum(
        axis=1
    )
    if few:
        inflation = np.maximum(1.0, inside.mean(axis=0))
        inside /= np.maximum(1.0, _mean_of_others(inside))
    else:
        inflation = np.ones(len(whole.values))
    distances += inside.sum(axis=1)
    k = max(1.0, float((1.0 / inflation).sum() + (fitted / variance).sum()), float(distances.mean()) if few else 0.0)
    whitener = Whitener(whole.mean, whole.directions, (whole.values * inflation) ** -0.5, variance**-0.5, k)
    return LeftOut(whitener, distances / k, whitener.squared(rows) / k, few)


@dataclass(frozen=True, eq=False)
class _Retained:
    """Mean (d,), retained directions (m, d) and the variances along them (m,)."""

    mean: Float
    directions: Float
    values: Float

    def split(self, rows: Float) -> tuple[Float, Float]:
        """Squared distance of ``rows`` (n, d) along each direction (n, m), and their parts outside the directions (n, d)."""
        centred = rows - self.mean
        along = centred @ self.directions.T
        return along**2 / self.values, centred - along @ self.directions


def _retained(n: int) -> int:
    """How many eigenvalues are retained of n distinct samples."""
    return max(n // SAMPLES_PER_DIMENSION, min(n // 2, _FIRST))


def _from_rows(rows: Float, most: int, relative_cut: float, noise: float) -> _Retained:
    mean = rows.mean(axis=0)
    centred = rows - mean
    if len(rows) >= rows.shape[1]:
        return _from_scatter(mean, centred.T @ centred / (len(rows) - 1), most, relative_cut, noise)
    values, vectors = _largest(centred @ centred.T / (len(rows) - 1), most)
    kept = values > max(relative_cut * values[0], noise)
    values = values[kept]
    return _Retained(mean, (vectors[:, kept] / np.sqrt(values * (len(rows) - 1))).T @ centred, values)


def _from_scatter(mean: Float, covariance: Float, most: int, relative_cut: float, noise: float) -> _Retained:
    values, vectors = _largest(covariance, most)
    kept = values > max(relative_cut * values[0], noise)
    return _Retained(mean, vectors[:, kept].T.copy(), values[kept])


def _largest(matrix: Float, most: int) -> tuple[Float, Float]:
    """The ``most`` largest eigenvalues of a symmetric matrix (d, d), the largest first, and their vectors in columns."""
    d = len(matrix)
    if d <= _DENSE:
        values, vectors = np.linalg.eigh(matrix)
    else:  # the first few of many: two thirds of the time
        first = max(0, d - most)
        values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(first, d - 1), driver="evr", check_finite=False)
    return values[::-1][:most], vectors[:, ::-1][:, :most]


def _left_out_in_turn(rows: Float, most: int, relative_cut: float, noise: float) -> tuple[Float, Float]:
    """Measure each of ``rows`` (n, d) by all others: its squared distance along each of their directions, its part outside."""
    inside, outside = np.zeros((len(rows), most)), np.zeros_like(rows)
    for number in range(len(rows)):
        others = _from_rows(np.delete(rows, number, axis=0), most, relative_cut, noise)
        along, outside[number] = (part[0] for part in others.split(rows[[number]]))
        # others may show fewer directions: along those that are missing, everything is outside
        inside[number, : len(along)] = along
    return inside, outside


def _as_if_left_out(whole: _Retained, rows: Float, n: int) -> tuple[Float, Float]:
    """Measure ``rows`` (m, d) of many samples n as if each was left out, from its leverage, with the directions of all.

    The distance along the directions is exact. The part outside is right to a few per cent, by which the directions would turn.
    """
    along, outside = whole.split(rows)
    share = np.minimum(along.sum(axis=1, keepdims=True) / (n - 1), 0.5)
    return along * (n - 2) / (n - 1) * (n / (n - 1)) ** 2 / (1.0 - share * n / (n - 1)), outside / (
        1.0 - 1.0 / n - share
    )


def _mean_of_others(values: Float) -> Float:
    """For each row of ``values`` (n, ...) the mean of all other rows."""
    found: Float = (values.sum(axis=0) - values) / (len(values) - 1)
    return found


def _outside(whole: _Retained, covariance: Float) -> Float:
    """Variance of each feature outside the directions, (d,)."""
    if len(covariance) > _DENSE:  # a difference of variances, good to 1e-15 of the larger, at a hundredth of the cost
        return np.maximum(np.diagonal(covariance) - whole.values @ whole.directions**2, 0.0)
    left = covariance - whole.directions.T @ (whole.directions @ covariance)
    found: Float = np.maximum(
        np.einsum("ij,ij->i", left, np.eye(len(left)) - whole.directions.T @ whole.directions), 0.0
    )
    return found


def _effective(outside: Float) -> float:
    """Number of dimensions in which the rows (n, d) vary, weighted by variance: (tr C)² / tr C²."""
    products = outside @ outside.T if len(outside) < outside.shape[1] else outside.T @ outside
    total = float(np.trace(products))
    return max(1.0, total**2 / float((products**2).sum())) if total > 0.0 else 1.0
