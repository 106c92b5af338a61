"""Distances from a distribution: few directions whose variance is believed, and all others by what left-out samples show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from idealflow.core.products import padded, row_products

__all__ = ["Whitener"]

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitener:
    """y = W (v − x̄), in which the training distribution has a covariance of trace k.

    W = [Λ^(−1/2) Eᵀ; F^(−1/2) (1 − E Eᵀ)]: the m directions E in which the samples have a variance Λ that is believed, and
    what is left of a vector outside them, each feature by a variance F of its own.

    Attributes
    ----------
    mean : (d,)
    directions : (m, d)
        Eᵀ, orthonormal rows.
    scales : (m,)
        Λ^(−1/2).
    rest : (d,)
        F^(−1/2).
    k
        Mean of |y|² over the distribution.
    seen : (n, d) or None
        Where too few distinct environments are known to say how far another one is: they; all others are infinitely far.
        None where enough are known.
    """

    mean: Float
    directions: Float
    scales: Float
    rest: Float
    k: float
    seen: Float | None = None

    def __call__(self, vectors: Float) -> Float:
        """Whitened vectors, (n, m + d)."""
        inside, outside = self._parts(vectors)
        return np.concatenate([inside * self.scales, outside * self.rest], axis=1)

    def squared(self, vectors: Float) -> Float:
        """|y|² of each of ``vectors`` (n, d), (n,)."""
        inside, outside = self._parts(vectors)
        inside *= self.scales
        outside *= self.rest
        found: Float = np.einsum("ij,ij->i", inside, inside) + np.einsum("ij,ij->i", outside, outside)
        return found

    def reverse(self, d_whitened: Float) -> Float:
        """dU/dv (n, d) from dU/dy (n, m + d)."""
        m = len(self.directions)
        outside = d_whitened[:, m:] * self.rest
        inside = d_whitened[:, :m] * self.scales - row_products(outside, self._columns, m)
        return outside + row_products(inside, self._rows, len(self.mean))

    def _parts(self, vectors: Float) -> tuple[Float, Float]:
        """Along the directions (n, m), and outside them (n, d)."""
        outside = vectors - self.mean
        inside = row_products(outside, self._columns, len(self.directions))
        outside -= row_products(inside, self._rows, len(self.mean))
        return inside, outside

    @property
    def matrix(self) -> Float:
        """W, (m + d, d)."""
        rest = np.eye(len(self.mean)) - self.directions.T @ self.directions
        return np.concatenate([self.scales[:, None] * self.directions, self.rest[:, None] * rest])

    @cached_property
    def _rows(self) -> Float:
        return padded(self.directions)

    @cached_property
    def _columns(self) -> Float:
        return padded(self.directions.T)
