"""Scalar of the uncertainties that a relaxation lowers: their mean, or a hinge on their excess over a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["checked", "objective"]

Float = NDArray[np.float64]


def checked(weights: ArrayLike | None, reference: ArrayLike | None, n: int) -> tuple[Float, Float | None]:
    """Weights and references of ``n`` atoms as arrays; weights default to 1.

    Raises
    ------
    InputError
        For a wrong shape, negative weights or a sum of 0, references that are not positive.
    """
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
        raise InputError(f"weights must be {n} numbers of at least 0, not all 0, got {weights!r}")
    if reference is None:
        return w, None
    ref = np.asarray(reference, dtype=np.float64)
    if ref.shape != (n,) or not (ref > 0).all():
        raise InputError(
            f"reference must be {n} positive numbers, got shape {ref.shape}, least {ref.min(initial=np.nan)}"
        )
    return w, ref


def objective(u: Float, reference: Float | None) -> tuple[Float, Float]:
    """Value and slope in u of each atom's part of the objective."""
    if reference is None:
        return u, np.ones_like(u)
    # what is infinitely uncertain there as well exceeds nothing
    excess = np.maximum(0.0, np.divide(u, reference, out=np.ones_like(u), where=np.isfinite(reference)) - 1.0)
    return np.log1p(excess), np.where(excess > 0.0, 1.0 / ((1.0 + excess) * reference), 0.0)
