"""A melting temperature from the jump of a property along a ladder of temperatures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["Jump", "jump"]


@dataclass(frozen=True)
class Jump:
    """Where a property leaves one line and joins another.

    Attributes
    ----------
    temperature, uncertainty
        Middle of the two temperatures between which the jump lies, and half their distance, K.
    size
        Height of the jump there, upper branch less lower one, in the property's unit.
    residual
        Root mean square deviation from the two lines, in the property's unit.
    significance
        How many times the residual of one line through everything is that of the two. Near 1 there is no jump.

    Examples
    --------
    >>> Jump(450.0, 25.0, -0.03, 0.001, 12.0).temperature
    450.0
    """

    temperature: float
    uncertainty: float
    size: float
    residual: float
    significance: float


def jump(temperatures: ArrayLike, values: ArrayLike) -> Jump:
    """Find the jump of a property, such as density or energy per atom, that was averaged at several temperatures.

    Two straight lines are fitted, one to all temperatures below the jump and one to all above, for every place it may have; the
    place with the least squared deviation wins. A crystal that is heated without surfaces or defects melts above its melting
    temperature, so for such a run this is an upper bound; coexistence has no such error.

    Parameters
    ----------
    temperatures : (n,), K
        In any order.
    values : (n,)
        The property at each temperature.

    Raises
    ------
    InputError
        With fewer than six temperatures (two lines need three points each), two that are equal, or values that are not finite.

    Examples
    --------
    A density that falls by 3 % between 450 and 500 K:

    >>> ladder = np.arange(200, 901, 50)
    >>> density = 0.55 - 5e-5 * ladder - 0.0165 * (ladder > 475)
    >>> found = jump(ladder, density)
    >>> found.temperature, found.uncertainty, round(found.size, 4)
    (475.0, 25.0, -0.0165)
    """
    t, v = np.asarray(temperatures, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.ndim != 1 or t.shape != v.shape or len(t) < 6:
        raise InputError(f"a jump needs six or more temperatures with a value each, got {t.shape} and {v.shape}")
    if not (np.isfinite(t).all() and np.isfinite(v).all()):
        raise InputError("temperatures and values must be finite; leave out runs that failed")
    order = np.argsort(t, kind="stable")
    t, v = t[order], v[order]
    if (np.diff(t) <= 0.0).any():
        raise InputError(f"temperature {t[np.argmin(np.diff(t))]:g} K occurs twice; average its runs first")
    places = range(3, len(t) - 2)
    deviations = [_deviation(t[:k], v[:k]) + _deviation(t[k:], v[k:]) for k in places]
    k = places[int(np.argmin(deviations))]
    middle = 0.5 * (t[k - 1] + t[k])
    lower, upper = np.polyfit(t[:k] - middle, v[:k], 1), np.polyfit(t[k:] - middle, v[k:], 1)
    residual, whole = (float(np.sqrt(deviation / len(t))) for deviation in (min(deviations), _deviation(t, v)))
    least = 1e-12 * float(np.abs(v).max())  # rounding: two lines through exact data
    return Jump(
        temperature=float(middle),
        uncertainty=float(0.5 * (t[k] - t[k - 1])),
        size=float(upper[1] - lower[1]),
        residual=residual,
        significance=max(whole, least) / max(residual, least) if whole else 1.0,
    )


def _deviation(t: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    """Sum of squared deviations from the best line."""
    centred, height = t - t.mean(), v - v.mean()
    slope = (centred @ height) / (centred @ centred)
    return float(((height - slope * centred) ** 2).sum())
