"""The number that a relaxation lowers: the mean of the uncertainties, or of their excess over a reference.

Whoever writes a measure of their own calls both functions in ``value_and_gradient``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["checked", "objective"]

Float = NDArray[np.float64]


def checked(weights: ArrayLike | None, reference: ArrayLike | None, n: int) -> tuple[Float, Float | None]:
    """Weights and references of ``n`` atoms as arrays.

    Parameters
    ----------
    weights : (n,) or None
        At least 0, not all 0; None: 1 for every atom.
    reference : (n,) or None
        Positive; infinity where an atom may be as new as it likes.
    n
        Number of atoms.

    Raises
    ------
    InputError
        For a wrong shape, negative weights or a sum of 0, references that are not positive.

    Examples
    --------
    >>> checked(None, [2.0, 3.0], 2)
    (array([1., 1.]), array([2., 3.]))
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
    """Each atom's part of the objective, and its derivative by the atom's uncertainty.

    Parameters
    ----------
    u : (n,)
        Uncertainties.
    reference : (n,) or None
        None: the part is u. Given: log(1 + max(0, u / reference − 1)), nothing up to the reference.

    Returns
    -------
    parts, slopes : (n,), (n,)
        To be averaged with the atoms' weights.

    Examples
    --------
    >>> import numpy as np
    >>> parts, slopes = objective(np.array([1.0, 6.0]), np.array([2.0, 2.0]))
    >>> parts.round(4).tolist(), slopes.round(4).tolist()
    ([0.0, 1.0986], [0.0, 0.1667])
    """
    if reference is None:
        return u, np.ones_like(u)
    # an atom that is infinitely uncertain in the reference too exceeds nothing
    excess = np.maximum(0.0, np.divide(u, reference, out=np.ones_like(u), where=np.isfinite(reference)) - 1.0)
    return np.log1p(excess), np.where(excess > 0.0, 1.0 / ((1.0 + excess) * reference), 0.0)
