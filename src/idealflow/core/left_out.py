"""What is known of a distribution from what environments look like that were left out.

Few samples do not span what they are samples of: in directions that they have not shown, their variance is zero, and any guess
of it is a guess of how far something new looks. So it is measured: the distinct environments are left out in turn, and what of
them lies outside the directions that the others show is the variance of all that was not seen. The threshold is taken from the
left-out ones as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idealflow.core.distinct import DistinctSample
from idealflow.core.distribution import Moments
from idealflow.core.whitening import Whitener

__all__ = ["FEWEST", "SAMPLES_PER_DIMENSION", "LeftOut", "judged"]

Float = NDArray[np.float64]

#: distinct environments below which nothing can be said of others
FEWEST = 7

#: one eigenvalue is believed for so many distinct samples: unseen samples then come out at most 1 / (1 − 1/10) too far on average
SAMPLES_PER_DIMENSION = 10

#: but of few samples so many all the same, where they are at most half of the samples
_FIRST = 4

_TAIL_QUANTILE = 0.99

#: variances below this fraction of |mean|² are rounding noise of the descriptor
_NOISE = 1e-12

#: variance, of |mean|², of a feature that never varied: what a neighbour that enters a hard cutoff does to it
_FLAT = 1e-8

#: a feature is not taken to vary unseen by more than so many times the variance that it showed
_SHOWN = 100.0


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A metric, and the distances in it of environments that it was made without.

    Attributes
    ----------
    whitener
        The metric.
    distances : (n,)
        Normalised uncertainties of left-out distinct environments; none where too few are known.
    fitted : (n,)
        The same of these environments with the metric that knows them.
    few
        Whether the metric is one of few samples.
    """

    whitener: Whitener
    distances: Float
    fitted: Float
    few: bool

    @property
    def threshold(self) -> float:
        """The 99th percentile of left-out environments, and a margin for what was not met: 0 where there are none.

        The margin is that percentile of the fitted ones, which is the same where many are known; of few it is as large as that of
        left-out ones.
        """
        if len(self.distances) == 0:
            return 0.0
        tail = float(np.quantile(self.distances, _TAIL_QUANTILE))
        return tail + (tail if self.few else min(tail, float(np.quantile(self.fitted, _TAIL_QUANTILE))))

    def at_least(self, threshold: float) -> LeftOut:
        """The same in other units: so that its threshold is as high as this one, where it is lower."""
        if not 0.0 < self.threshold < threshold:
            return self
        factor = threshold / self.threshold
        whitener = replace(self.whitener, k=self.whitener.k / factor)
        return LeftOut(whitener, self.distances * factor, self.fitted * factor, self.few)


def judged(moments: Moments, sample: DistinctSample, eigen_cut: float) -> LeftOut:
    """The metric of a distribution.

    Of n distinct samples only the first n / :data:`SAMPLES_PER_DIMENSION` eigenvalues of the covariance are believed (up to four
    of few): later ones come out too small, or zero. Those below ``eigen_cut`` times the largest are never. What of an
    environment lies outside these directions is measured by the variance that left-out environments show there, spread over
    as many dimensions as it has in effect; a feature that hardly ever varied, among all the samples, by its own.

    Parameters
    ----------
    moments
        Of all environments: they give mean and covariance where the sample does not hold all distinct ones.
    sample
        Distinct environments, at least one.
    eigen_cut
        Relative eigenvalue below which directions are not believed.
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
    if sample.full:
        covariance = moments.scatter / (moments.n - 1)
        whole = _from_scatter(moments.mean, covariance, _believed(n), eigen_cut, noise)
        fitted = _outside(whole, covariance)
    else:
        whole = _from_rows(rows, _believed(n), eigen_cut, noise)
        fitted = (whole.split(rows)[1] ** 2).sum(axis=0) / (n - 1)
    if few:
        inside, outside = _left_out_in_turn(rows, len(whole.values), eigen_cut, noise)
    else:
        inside, outside = _as_if_left_out(whole, rows, n)
    floor = max(noise, eigen_cut * float(whole.values.max(initial=0.0)))
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
class _Believed:
    """Mean (d,), believed directions (m, d) and their variances (m,)."""

    mean: Float
    directions: Float
    values: Float

    def split(self, rows: Float) -> tuple[Float, Float]:
        """Squared distance along each direction (n, m), and what lies outside them (n, d)."""
        centred = rows - self.mean
        along = centred @ self.directions.T
        return along**2 / self.values, centred - along @ self.directions


def _believed(n: int) -> int:
    """How many eigenvalues n distinct samples may have."""
    return max(n // SAMPLES_PER_DIMENSION, min(n // 2, _FIRST))


def _from_rows(rows: Float, most: int, eigen_cut: float, noise: float) -> _Believed:
    mean = rows.mean(axis=0)
    centred = rows - mean
    if len(rows) >= rows.shape[1]:
        return _from_scatter(mean, centred.T @ centred / (len(rows) - 1), most, eigen_cut, noise)
    values, vectors = np.linalg.eigh(centred @ centred.T / (len(rows) - 1))
    values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
    kept = values > max(eigen_cut * values[0], noise)
    values = values[kept]
    return _Believed(mean, (vectors[:, kept] / np.sqrt(values * (len(rows) - 1))).T @ centred, values)


def _from_scatter(mean: Float, covariance: Float, most: int, eigen_cut: float, noise: float) -> _Believed:
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
    kept = values > max(eigen_cut * values[0], noise)
    return _Believed(mean, vectors[:, kept].T.copy(), values[kept])


def _left_out_in_turn(rows: Float, most: int, eigen_cut: float, noise: float) -> tuple[Float, Float]:
    """What each of ``rows`` (n, d) looks like to all others: squared distance along each direction, and what lies outside."""
    inside, outside = np.zeros((len(rows), most)), np.zeros_like(rows)
    for number in range(len(rows)):
        others = _from_rows(np.delete(rows, number, axis=0), most, eigen_cut, noise)
        along, outside[number] = (part[0] for part in others.split(rows[[number]]))
        inside[number, : len(along)] = along  # what lies along directions that the others do not show is outside
    return inside, outside


def _as_if_left_out(whole: _Believed, rows: Float, n: int) -> tuple[Float, Float]:
    """The same for ``rows`` (m, d) of many samples n, from the leverage of each: the directions are kept.

    The distance is exact, and so is what lies outside but for the turn of the directions, a few per cent.
    """
    along, outside = whole.split(rows)
    share = np.minimum(along.sum(axis=1, keepdims=True) / (n - 1), 0.5)
    return along * (n - 2) / (n - 1) * (n / (n - 1)) ** 2 / (1.0 - share * n / (n - 1)), outside / (
        1.0 - 1.0 / n - share
    )


def _mean_of_others(values: Float) -> Float:
    """For each row of ``values`` (n, …), the mean of all others."""
    found: Float = (values.sum(axis=0) - values) / (len(values) - 1)
    return found


def _outside(whole: _Believed, covariance: Float) -> Float:
    """Variance of each feature outside the directions, (d,)."""
    left = covariance - whole.directions.T @ (whole.directions @ covariance)
    found: Float = np.maximum(
        np.einsum("ij,ij->i", left, np.eye(len(left)) - whole.directions.T @ whole.directions), 0.0
    )
    return found


def _effective(outside: Float) -> float:
    """Number of dimensions in which the rows (n, d) vary in effect: (tr C)² / tr C²."""
    products = outside @ outside.T if len(outside) < outside.shape[1] else outside.T @ outside
    total = float(np.trace(products))
    return max(1.0, total**2 / float((products**2).sum())) if total > 0.0 else 1.0
