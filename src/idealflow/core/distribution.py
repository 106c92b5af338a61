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

__all__ = ["SAMPLES_PER_DIMENSION", "Moments", "Whitener"]

Float = NDArray[np.float64]

#: a whitener keeps at most one dimension for so many samples: with fewer, distances of unseen samples are inflated
SAMPLES_PER_DIMENSION = 4

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
        """Whitening onto the eigenvectors of the covariance above ``eigen_cut`` times its largest eigenvalue.

        At most one dimension per :data:`SAMPLES_PER_DIMENSION` samples is kept. Where nothing varies (a single sample, a
        perfect crystal), rounding noise is taken for the variance of every direction, so that distances stay finite and
        anything else is far away.
        """
        noise = _NOISE * max(float(self.mean @ self.mean), 1e-300)
        values, vectors = np.linalg.eigh(self.scatter / max(1, self.n - 1))
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = int((values > max(eigen_cut * values[0], noise)).sum())
        kept = min(kept, max(1, self.n // SAMPLES_PER_DIMENSION))
        if kept == 0 or self.n < 2:
            return Whitener(self.mean, np.eye(len(self.mean)) / np.sqrt(noise))
        return Whitener(self.mean, (vectors[:, :kept] / np.sqrt(values[:kept])).T.copy())


@dataclass(frozen=True, eq=False)
class Whitener:
    """y = W (v − x̄), in which the training distribution has unit covariance.

    Attributes
    ----------
    mean : (d,)
    matrix : (k, d)
        W.
    """

    mean: Float
    matrix: Float

    @property
    def k(self) -> int:
        """Number of dimensions kept."""
        return len(self.matrix)

    @cached_property
    def _offset(self) -> Float:
        return self.matrix @ self.mean

    def __call__(self, vectors: Float) -> Float:
        """Whitened vectors, (n, k)."""
        whitened: Float = vectors @ self.matrix.T - self._offset
        return whitened
