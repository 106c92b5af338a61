"""Distances from a distribution: along the directions whose variance the samples show, and outside them."""

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
    """Linear map y = W (v − x̄) of descriptors to units in which squared lengths are uncertainties, times k.

    W = [Λ^(−1/2) Eᵀ; F^(−1/2) (1 − E Eᵀ)]. Along each of m directions E a vector is measured by the variance Λ that the samples
    have there. What is left of it outside these directions is measured feature by feature, by variances F.

    Attributes
    ----------
    mean : (d,)
        Mean x̄ of the training environments.
    directions : (m, d)
        Eᵀ, orthonormal rows.
    scales : (m,)
        Λ^(−1/2).
    rest : (d,)
        F^(−1/2).
    k
        Mean of |y|² over the training environments: their number of dimensions in effect.
    seen : (n, d) or None
        The known environments, where they are too few to judge others by: all others are then infinitely far. None where there
        are enough.

    Examples
    --------
    Two features of variance 4 and 1; the first is a direction of its own:

    >>> import numpy as np
    >>> whitener = Whitener(np.zeros(2), np.array([[1.0, 0.0]]), np.array([0.5]), np.array([1.0, 1.0]), k=2.0)
    >>> whitener.squared(np.array([[2.0, 0.0], [2.0, 1.0]])).tolist()
    [1.0, 2.0]
    >>> whitener(np.array([[2.0, 1.0]])).tolist()
    [[1.0, 0.0, 1.0]]
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
        """Squared length |y|² of each whitened vector, (n,), from ``vectors`` (n, d)."""
        inside, outside = self._parts(vectors)
        inside *= self.scales
        outside *= self.rest
        found: Float = np.einsum("ij,ij->i", inside, inside) + np.einsum("ij,ij->i", outside, outside)
        return found

    def reverse(self, d_whitened: Float) -> Float:
        """Gradient in the descriptors dU/dv (n, d), from that in the whitened vectors dU/dy (n, m + d)."""
        m = len(self.directions)
        outside = d_whitened[:, m:] * self.rest
        inside = d_whitened[:, :m] * self.scales - row_products(outside, self._columns, m)
        return outside + row_products(inside, self._rows, len(self.mean))

    def _parts(self, vectors: Float) -> tuple[Float, Float]:
        """Components along the directions (n, m), and what is left outside them (n, d)."""
        outside = vectors - self.mean
        inside = row_products(outside, self._columns, len(self.directions))
        outside -= row_products(inside, self._rows, len(self.mean))
        return inside, outside

    @property
    def matrix(self) -> Float:
        """The map W as a matrix, (m + d, d); for tests, nothing computes with it."""
        rest = np.eye(len(self.mean)) - self.directions.T @ self.directions
        return np.concatenate([self.scales[:, None] * self.directions, self.rest[:, None] * rest])

    @cached_property
    def _rows(self) -> Float:
        return padded(self.directions)

    @cached_property
    def _columns(self) -> Float:
        return padded(self.directions.T)
