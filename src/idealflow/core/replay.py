"""Replay: which known structures a model update trains on again, besides the new ones.

They are drawn with a probability that grows with the model's present error on them, p ∝ MAE_E + MAE_F + 0.1 MAE_S (Kong et al.;
docs/explanation/method.md, "Learning"). Without replay a model forgets what it knew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["draw_replay", "replay_probabilities"]

_WEIGHTS = np.array([1.0, 1.0, 0.1])


def replay_probabilities(errors: ArrayLike) -> NDArray[np.float64]:
    """Probability that each structure is drawn first.

    Parameters
    ----------
    errors : (n, 3)
        Mean absolute errors of the present model: energy per atom (eV), forces (eV/Å), stress (eV/Å³). A stress error of NaN
        means that the structure has no stress, and counts as zero.

    Returns
    -------
    (n,) array
        Sums to 1; uniform if all errors are zero.

    Raises
    ------
    InputError
        If the shape is wrong, there are no structures, or an error is negative or not finite.

    Examples
    --------
    >>> replay_probabilities([[0.1, 0.2, np.nan], [0.0, 0.1, 0.0]]).round(2).tolist()
    [0.75, 0.25]
    """
    table = np.array(errors, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
        raise InputError(f"replay errors have shape (n, 3) with n at least 1, got {table.shape}; one row a structure")
    table[:, 2] = np.where(np.isnan(table[:, 2]), 0.0, table[:, 2])
    bad = np.flatnonzero(~(np.isfinite(table) & (table >= 0.0)).all(axis=1))
    if len(bad):
        raise InputError(
            f"replay errors must be finite and not negative, got {table[bad[0]].tolist()} for structure {bad[0]}; a "
            "model that predicts such values must not be updated"
        )
    weights = table @ _WEIGHTS
    total = weights.sum()
    if total == 0.0:
        return np.full(len(table), 1.0 / len(table))
    return np.asarray(weights / total)


def draw_replay(errors: ArrayLike, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw structures one after the other without replacement, each with its probability among those that are left.

    Structures without error come last, in random order. Each structure gets one exponential variate (Efraimidis and Spirakis,
    Inf. Process. Lett. 97, 181, 2006), so the cost is that of a sort, and the outcome depends on ``rng`` alone.

    Parameters
    ----------
    errors : (n, 3)
        As for :func:`replay_probabilities`; n may be 0.
    size
        How many to draw. If there are fewer, all are drawn.
    rng
        Source of random numbers.

    Returns
    -------
    (min(size, n),) int array
        Indices into ``errors``, in order of drawing.

    Raises
    ------
    InputError
        If ``size`` is negative, or the errors are none (see :func:`replay_probabilities`).

    Examples
    --------
    >>> errors = [[0.0, 0.0, 0.0], [0.1, 0.3, 0.0], [0.2, 0.1, 0.0]]
    >>> draw_replay(errors, 3, np.random.default_rng(0)).tolist()[-1]  # no error: drawn last
    0
    """
    if size < 0:
        raise InputError(f"the size of a replay must be at least 0, got {size}")
    if len(np.asarray(errors)) == 0:
        return np.empty(0, dtype=np.int64)
    probabilities = replay_probabilities(errors)
    draws = rng.exponential(size=len(probabilities))
    with np.errstate(divide="ignore"):
        due = np.where(probabilities > 0.0, draws / probabilities, np.inf)
    # structures without error never come due; ties are broken by their exponential draws
    order = np.lexsort((draws, due))
    return order[:size].astype(np.int64)
