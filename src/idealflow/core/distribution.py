"""Streaming mean and covariance of environments.

Merging follows Chan, Golub and LeVeque (1983): exact up to rounding however the data are split, where raw sums lose
ε (mean/std)² digits. Few vectors are less than their scatter matrix: a distribution holds the vectors themselves until they are
half as many as they have features, and later those that came last, so that what it has learned lately can be told from before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Distribution", "Moments"]

#: vectors that are kept beside a scatter matrix of few features, before they are folded into it
_RECENT = 1024

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
        scatter = np.outer(delta * (self.n * other.n / n), delta)
        scatter += self.scatter
        scatter += other.scatter
        return Moments(n, mean, (scatter + scatter.T) / 2.0)

    @property
    def covariance(self) -> Float:
        """Covariance (d, d)."""
        found: Float = self.scatter / (self.n - 1)
        return found

    @property
    def vectors(self) -> Float | None:
        """The vectors themselves, which moments have forgotten."""
        return None

    def __deepcopy__(self, memo: Any) -> Self:
        """Itself: nothing changes it."""
        return self


@dataclass(frozen=True, eq=False)
class Distribution:
    """Vectors seen so far: moments of the older ones, and the younger ones themselves.

    Attributes
    ----------
    dimension
        Number of features d.
    folded
        Moments of the older vectors; None as long as all are young.
    recent
        The younger vectors, arrays (n, d), one for each time that some joined. They are folded into the moments when there are
        more than d / 2, or d / 2 and 1 024 once others were folded before.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(20, 12))
    >>> few, many = Distribution.empty(12).joined(rows[:5]), Distribution.empty(12).joined(rows[:5]).joined(rows[5:])
    >>> few.n, few.folded is None, few.vectors.shape
    (5, True, (5, 12))
    >>> many.n, many.recent, np.allclose(many.covariance, np.cov(rows.T))
    (20, (), True)
    """

    dimension: int
    folded: Moments | None = None
    recent: tuple[Float, ...] = ()

    @classmethod
    def empty(cls, dimension: int) -> Distribution:
        """Start without any vector."""
        return cls(dimension)

    def joined(self, vectors: Float) -> Distribution:
        """Return the distribution of these vectors (n, d) too; it holds the array, which must not change."""
        if len(vectors) == 0:
            return self
        recent = (*self.recent, vectors)
        most = self.dimension // 2 if self.folded is None else max(self.dimension // 2, _RECENT)
        if sum(map(len, recent)) <= most:
            return Distribution(self.dimension, self.folded, recent)
        return Distribution(self.dimension, Distribution(self.dimension, self.folded, recent).moments)

    @property
    def n(self) -> int:
        """Number of vectors."""
        return (0 if self.folded is None else self.folded.n) + sum(map(len, self.recent))

    @property
    def moments(self) -> Moments:
        """Moments of all vectors."""
        if not self.recent:
            return Moments.empty(self.dimension) if self.folded is None else self.folded
        young = Moments.of(np.concatenate(self.recent))
        return young if self.folded is None else self.folded.merged(young)

    @property
    def mean(self) -> Float:
        """Mean vector (d,)."""
        found: Float = np.zeros(self.dimension) if self.folded is None else self.folded.mean
        young = sum(map(len, self.recent))
        if young:
            found = found + (np.concatenate(self.recent).mean(axis=0) - found) * (young / self.n)
        return found

    @property
    def covariance(self) -> Float:
        """Covariance (d, d)."""
        return self.moments.covariance

    @property
    def vectors(self) -> Float | None:
        """All vectors (n, d); None if some are known by their moments alone."""
        return np.concatenate(self.recent) if self.folded is None and self.recent else None

    def __deepcopy__(self, memo: Any) -> Self:
        """Itself: nothing changes it."""
        return self
