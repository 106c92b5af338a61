"""Does a high uncertainty go with a large error? Rank correlation, and errors by bins of uncertainty over threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["CALIBRATION_EDGES", "FEWEST_PAIRS", "Calibration", "calibrate", "threshold_for_error"]

#: edges of the bins of uncertainty / threshold; a label is asked for above 1, or below it after a blow-up
CALIBRATION_EDGES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, math.inf)

#: with fewer pairs no threshold is taken from them
FEWEST_PAIRS = 20

_FEWEST = 10  # with fewer pairs no warning is given: chance alone decides
_ONE_SIDED = 1.645  # standard deviations; independent ranks exceed them once in twenty
_WEAKEST = 0.2  # a rank correlation below this is no help, however certain it is


@dataclass(frozen=True)
class Calibration:
    """How uncertainty and error go together over the labelled centres of a campaign.

    Attributes
    ----------
    n
        Number of centres.
    rank_correlation
        Spearman's rank correlation, equal values at their mean rank; None for fewer than two centres, or where all
        uncertainties or all errors are equal.
    edges : (n_bins + 1,)
        Edges of the bins of uncertainty / threshold; a bin holds its lower edge.
    counts : (n_bins,)
        Centres in each bin.
    mean_errors : (n_bins,), eV/Å
        Mean force error in each bin; NaN in an empty one.
    warning
        One sentence where uncertainty and error do not go together, else None.

    Examples
    --------
    >>> calibrate([0.5, 1.2, 4.0], [0.01, 0.05, 0.2]).n
    3
    """

    n: int
    rank_correlation: float | None
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    mean_errors: NDArray[np.float64]
    warning: str | None


def calibrate(ratio: ArrayLike, force_error: ArrayLike) -> Calibration:
    """Compare uncertainties with the errors that were made.

    Parameters
    ----------
    ratio : (n,)
        Uncertainty / threshold of each centre, at least 0; infinite for a species never seen.
    force_error : (n,), eV/Å
        Force error of the model at each centre before it learned it.

    Returns
    -------
    Calibration
        It has a warning when there are at least 10 centres and their rank correlation is below 0.2, or below 1.645 / √(n − 1),
        which independent ranks exceed once in twenty.

    Raises
    ------
    InputError
        For lists of different lengths, a ratio that is negative or no number, or an error that is not finite.

    Examples
    --------
    >>> found = calibrate(ratio=[1.1, 1.3, 2.5, 6.0], force_error=[0.1, 0.2, 0.3, 0.4])
    >>> found.rank_correlation
    1.0
    >>> found.counts
    array([0, 2, 0, 1, 0, 1, 0])
    """
    x, y = np.asarray(ratio, dtype=np.float64), np.asarray(force_error, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"ratio and force_error must be two lists of one length, got shapes {x.shape} and {y.shape}")
    if not (x >= 0).all():
        raise InputError(f"uncertainty / threshold must be at least 0, got {x[~(x >= 0)][0]}")
    if not np.isfinite(y).all():
        raise InputError(f"force errors must be finite, got {y[~np.isfinite(y)][0]}")
    edges = np.array(CALIBRATION_EDGES)
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1).astype(np.int64)
    sums = np.bincount(place, weights=y, minlength=len(edges) - 1)
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    correlation = _spearman(x, y)
    return Calibration(len(x), correlation, edges, counts, means, _warning(len(x), correlation))


def threshold_for_error(uncertainty: ArrayLike, force_error: ArrayLike, limit: float) -> float:
    """The uncertainty from which on the force error is expected to exceed a limit.

    The errors' mean, as a function of the uncertainty that never falls, is fitted by least squares (isotonic regression: Barlow
    et al., Statistical Inference under Order Restrictions, 1972).

    Parameters
    ----------
    uncertainty : (n,)
        At each labelled centre. Infinite ones, of species never seen, are left out.
    force_error : (n,), eV/Å
        Of the model there, before it learned the label.
    limit
        eV/Å.

    Returns
    -------
    float
        The lowest uncertainty whose expected error exceeds the limit. It lies among those given: the lowest of them where all
        are expected to exceed it, the highest where none is.

    Raises
    ------
    InputError
        For fewer than 20 pairs of finite uncertainty, or a limit that is not positive.

    Examples
    --------
    >>> u = np.linspace(1.0, 20.0, 40)
    >>> round(threshold_for_error(u, 0.02 * u, limit=0.15), 1)
    7.8
    """
    x, y = np.asarray(uncertainty, dtype=np.float64), np.asarray(force_error, dtype=np.float64)
    if not limit > 0.0:
        raise InputError(f"the force error of a threshold must be positive, in eV/Å, got {limit}")
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    if len(x) < FEWEST_PAIRS:
        raise InputError(
            f"threshold: {{force_error: {limit:g}}} needs at least {FEWEST_PAIRS} labelled centres with an uncertainty and the "
            f"force error that was made there, and there are {len(x)}; run with `threshold: auto` until there are, then set it"
        )
    order = np.argsort(x, kind="stable")
    levels = _never_falling(y[order])
    above = np.flatnonzero(levels > limit)
    return float(x[order][above[0] if len(above) else -1])


def _never_falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sequence (n,) that never falls and is nearest to the values: neighbours that fall are pooled."""
    means: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        means.append(value)
        counts.append(1)
        while len(means) > 1 and means[-2] >= means[-1]:
            n = counts[-2] + counts[-1]
            means[-2:] = [(means[-2] * counts[-2] + means[-1] * counts[-1]) / n]
            counts[-2:] = [n]
    return np.repeat(means, counts)


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Pearson's correlation of the ranks; None where it is undefined."""
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return None
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / math.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values at the mean of theirs, as ``scipy.stats.rankdata`` has them (a second to import)."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((0.5 * (2 * last - count + 1))[place])


def _warning(n: int, correlation: float | None) -> str | None:
    if n < _FEWEST:
        return None
    least = max(_WEAKEST, _ONE_SIDED / math.sqrt(n - 1))
    if correlation is not None and correlation >= least:
        return None
    digits = 2 if correlation is None or least - correlation >= 0.01 else 4  # not "0.20, expected at least 0.20"
    found = "is undefined (all are equal)" if correlation is None else f"is {correlation:.{digits}f}"
    return (
        f"uncertainty and force error do not go together: over {n} labelled centres their rank correlation {found}, "
        f"expected at least {least:.{digits}f}; what is labelled may not be where the model is wrong"
    )
