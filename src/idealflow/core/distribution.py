"""Streaming mean and covariance of environments.

Merging follows Chan, Golub and LeVeque (1983): exact up to rounding however the data are split, where raw sums lose
ε (mean/std)² digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and scatter matrix Σ (v − x̄)(v − x̄)ᵀ of the vectors seen so far.

    Attributes
    ----------
    n
        Number of vectors.
    mean : (d,)
        Mean vector x̄, in the descriptor's units.
    scatter : (d, d)
        Sum over the vectors; divided by n − 1 it is the covariance.

    Examples
    --------
    Merging the two halves of a set gives the moments of the whole:

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(20, 3))
    >>> whole, halves = Moments.of(rows), Moments.of(rows[:8]).merged(Moments.of(rows[8:]))
    >>> halves.n, np.allclose(halves.scatter, whole.scatter)
    (20, True)
    """

    n: int
    mean: Float
    scatter: Float

    @classmethod
    def empty(cls, dimension: int) -> Moments:
        """Start without any vector, of ``dimension`` features: the neutral element of :meth:`merged`."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, vectors: Float) -> Moments:
        """Moments of a set of vectors, the rows of an array (n, d)."""
        if len(vectors) == 0:
            return cls.empty(vectors.shape[1])
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        return cls(len(vectors), mean, centred.T @ centred)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together, of which neither changes."""
        n = self.n + other.n
        if other.n == 0 or self.n == 0:
            return self if other.n == 0 else other
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        scatter = self.scatter + other.scatter + np.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, mean, scatter)
