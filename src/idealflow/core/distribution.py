"""Streaming mean and covariance of environments, and the whitening that turns them into distances.

Merging follows Chan, Golub and LeVeque (1983): exact up to rounding however the data are split, where raw sums lose
ε (mean/std)² digits. SOAP covariances are numerically singular, so distances are taken in the eigenvectors above a
relative cut only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from idealflow.core.products import padded, row_products

__all__ = ["SAMPLES_PER_DIMENSION", "Moments", "Whitener"]

Float = NDArray[np.float64]

#: one eigenvalue is believed for so many samples: unseen samples then come out at most 1 / (1 − 1/10) too far on average
SAMPLES_PER_DIMENSION = 10

#: variances below this fraction of |mean|² are rounding noise of the descriptor
_NOISE = 1e-12


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and scatter matrix Σ (v − x̄)(v − x̄)ᵀ of the vectors seen so far.

    Attributes
    ----------
    n
        Number of vectors.
    mean : (d,)
    scatter : (d, d)
    """

    n: int
    mean: Float
    scatter: Float

    @classmethod
    def empty(cls, dimension: int) -> Moments:
        """Of no vectors."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, vectors: Float) -> Moments:
        """Of the rows of ``vectors`` (n, d)."""
        if len(vectors) == 0:
            return cls.empty(vectors.shape[1])
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        return cls(len(vectors), mean, centred.T @ centred)

    def merged(self, other: Moments) -> Moments:
        """Of both sets together."""
        n = self.n + other.n
        if other.n == 0 or self.n == 0:
            return self if other.n == 0 else other
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        scatter = self.scatter + other.scatter + np.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, mean, scatter)

    def whitener(self, eigen_cut: float) -> Whitener:
        """Whitening in the eigenvectors of the covariance.

        Eigenvalues below ``eigen_cut`` times the largest are numerically nothing, and their directions are dropped. Of n
        samples only the first n / :data:`SAMPLES_PER_DIMENSION` eigenvalues are believed: later ones of so few samples come
        out too small, or zero, and dividing by them would make every unseen environment look far away. Where that cap
        binds, all other directions are kept with the variance of the last one believed, so that what is new in a direction
        that few samples have not shown is still seen. Where nothing varies (a single sample, a perfect crystal), rounding
        noise takes the place of the variance: distances stay finite, and anything else is far away.
        """
        noise = _NOISE * max(float(self.mean @ self.mean), 1e-300)
        values, vectors = np.linalg.eigh(self.scatter / max(1, self.n - 1))
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        above = int((values > max(eigen_cut * values[0], noise)).sum())
        believed = min(max(1, self.n // SAMPLES_PER_DIMENSION), len(values))
        if 0 < above <= believed:
            return Whitener(self.mean, (vectors[:, :above] / np.sqrt(values[:above])).T.copy(), float(above))
        floored = np.maximum(values, max(float(values[believed - 1]), noise))
        return Whitener(self.mean, (vectors / np.sqrt(floored)).T.copy(), max(1.0, float((values / floored).sum())))


@dataclass(frozen=True, eq=False)
class Whitener:
    """y = W (v − x̄), in which the training distribution has a covariance of trace k.

    Attributes
    ----------
    mean : (d,)
    matrix : (m, d)
        W.
    k
        Mean of |y|² over the distribution: the number of dimensions, or where few samples were seen, what the eigenvalues
        amount to in units of the variances taken for them.
    """

    mean: Float
    matrix: Float
    k: float

    def __call__(self, vectors: Float) -> Float:
        """Whitened vectors, (n, m)."""
        return row_products(vectors - self.mean, self._transposed, len(self.matrix))

    def reverse(self, d_whitened: Float) -> Float:
        """dU/dv (n, d) from dU/dy (n, m)."""
        return row_products(d_whitened, self._padded, len(self.mean))

    @cached_property
    def _padded(self) -> Float:
        return padded(self.matrix)

    @cached_property
    def _transposed(self) -> Float:
        return padded(self.matrix.T)
