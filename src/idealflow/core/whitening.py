"""Distances from a distribution: along the directions whose variance the samples show, and outside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from idealflow.core.products import padded, row_products
from idealflow.core.residuals import CANCELLED, squared_distances

__all__ = ["Whitener"]

_LANES = 8

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitener:
    """Linear map y = W (v − x̄) of descriptors to units in which squared lengths are uncertainties, times k.

    W = [Λ^(−1/2) Eᵀ; F^(−1/2) (1 − E Eᵀ)]. Along each of m directions E a vector is measured by the variance Λ that the samples
    have there. What is left of it outside these directions is measured feature by feature, by variances F, equal for most
    features. Squared lengths and their slopes are had without y, from Eᵀ (v − x̄) and |v − x̄|² alone
    (:mod:`idealflow.core.residuals`).

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
    >>> whitener.slopes(np.array([[2.0, 1.0]])).tolist()
    [[1.0, 2.0]]
    """

    mean: Float
    directions: Float
    scales: Float
    rest: Float
    k: float
    seen: Float | None = None

    def __call__(self, vectors: Float) -> Float:
        """Whitened vectors, (n, m + d)."""
        outside = vectors - self.mean
        inside = row_products(outside, self._columns, len(self.directions))
        outside -= row_products(inside, self._rows, len(self.mean))
        return np.concatenate([inside * self.scales, outside * self.rest], axis=1)

    def squared(self, vectors: Float, members: NDArray[np.int64] | None = None) -> Float:
        """Squared length |y|² of each whitened vector, (n,), of ``vectors`` (n, d) or of those rows that are ``members``."""
        return self.measured(vectors, members)[0]

    def measured(self, vectors: Float, members: NDArray[np.int64] | None = None) -> tuple[Float, Float]:
        """Squared lengths as :meth:`squared` has them, (n,), and the projections Eᵀ (v − x̄) they were made from, (n, m)."""
        return self._measured(vectors, np.arange(len(vectors)) if members is None else members, self.mean)

    def between(self, vectors: Float, others: Float) -> Float:
        """Squared length |W (v − w)|² for each pair of rows of ``vectors`` and ``others``, (n, d) both: (n,)."""
        return self._measured(vectors - others, np.arange(len(vectors)), np.zeros_like(self.mean))[0]

    def _measured(self, vectors: Float, chosen: NDArray[np.int64], origin: Float) -> tuple[Float, Float]:
        inside, out = np.empty((len(chosen), len(self._weights))), np.empty(len(chosen))
        squared_distances(
            vectors, chosen, origin, self._columns, self._rows, self._weights, self.floor, *self._apart_weights, inside, out,
        )  # fmt: skip
        return out, inside[:, : len(self.directions)]

    def slopes(self, vectors: Float, measured: tuple[Float, Float] | None = None) -> Float:
        """Gradients of the squared lengths in the vectors, (n, d).

        Parameters
        ----------
        vectors : (n, d)
        measured
            What :meth:`measured` has given for them.
        """
        squares, inside = self.measured(vectors) if measured is None else measured
        first, others, apart, d = inside[:, :_LANES], inside[:, _LANES:], self.apart, len(self.mean)
        along = inside * self.scales**2
        found = vectors - self.mean
        found -= row_products(first, self._rows[:_LANES], d)
        whole = bool((self.floor * np.einsum("ij,ij->i", found, found) > CANCELLED * squares).any())
        if whole:
            found -= row_products(others, self._rows[_LANES:], d)
        else:
            along[:, _LANES:] -= self.floor * others
        if len(apart):
            rows, columns = self._apart
            more = found[:, apart]
            if not whole:
                more -= row_products(others, rows[_LANES:], len(apart))
            more *= self.rest[apart] ** 2 - self.floor
            along -= row_products(more, columns, len(self.directions))
        found *= self.floor
        found += row_products(along, self._rows, d)
        if len(apart):
            found[:, apart] += more
        found *= 2.0
        return found

    @cached_property
    def floor(self) -> float:
        """The least weight of a feature's square outside the directions, min F⁻¹: that of nearly all features."""
        return float((self.rest**2).min(initial=np.inf))

    @cached_property
    def apart(self) -> NDArray[np.int64]:
        """Features that are weighted by more than :attr:`floor`, ascending: they hardly ever varied."""
        return np.flatnonzero(self.rest**2 > self.floor)

    @property
    def matrix(self) -> Float:
        """The map W as a matrix, (m + d, d); for tests, nothing computes with it."""
        rest = np.eye(len(self.mean)) - self.directions.T @ self.directions
        return np.concatenate([self.scales[:, None] * self.directions, self.rest[:, None] * rest])

    @cached_property
    def _rows(self) -> Float:
        return padded(self.directions, least=_LANES)

    @cached_property
    def _columns(self) -> Float:
        return padded(self.directions.T, least=_LANES)

    @cached_property
    def _apart(self) -> tuple[Float, Float]:
        """The directions' components in the features of :attr:`apart`, and the same transposed."""
        components = self.directions[:, self.apart]
        return padded(components, least=_LANES), padded(components.T, least=_LANES)

    @cached_property
    def _weights(self) -> Float:
        weights = np.zeros(len(self._rows))
        weights[: len(self.scales)] = self.scales**2
        return weights

    @cached_property
    def _apart_weights(self) -> tuple[NDArray[np.int64], Float, Float, Float]:
        """How features are weighted: those that are apart, or, where these are more than half, every one."""
        everyone = len(self.apart) > len(self.rest) // 2
        apart = self.apart[:0] if everyone else self.apart
        components = padded(self.directions[:, apart], least=_LANES)
        more, every = np.zeros(components.shape[1]), np.zeros(len(self._columns) if everyone else 0)
        more[: len(apart)] = self.rest[apart] ** 2 - self.floor
        if everyone:
            every[: len(self.rest)] = self.rest**2
        return apart, components, more, every
