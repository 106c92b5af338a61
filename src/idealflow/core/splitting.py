"""Parts of a set of vectors that one Gaussian describes badly: expectation maximisation that begins by halving.

A careless start makes components of a single vector, and gains nothing. So a set is cut in two, by the distance from its mean
(a crystal within a liquid) and across its longest direction, each cut is refined, and the better one is kept only if it is
worth its parameters (the Bayesian information criterion) and leaves no part small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idealflow.core.distinct import hashes

__all__ = ["parts_of"]

Float = NDArray[np.float64]
Labels = NDArray[np.int64]

#: vectors that the parts are made from, most distinct ones; all others are then assigned to them
_MOST = 2048

#: directions of largest variance in which the parts are sought, at most
_DIRECTIONS = 32

_STEPS = 60
_STILL = 1e-3
_NOISE = 1e-10
_RIDGE = 1e-4


def parts_of(rows: Float, most: int, least: int, seed: int) -> Labels:
    """Assign each of ``rows`` (n, d) to one of at most ``most`` parts, (n,); every part has ``least`` distinct rows or more.

    Parameters
    ----------
    rows : (n, d)
        Vectors; copies count as one.
    most, least
        Number of parts, and distinct rows in each.
    seed
        Seed of the choice among more than 2 048 distinct rows.

    Examples
    --------
    A narrow heap within a wide one, which distances from cluster centres would not separate:

    >>> rng = np.random.default_rng(0)
    >>> rows = np.concatenate([rng.normal(size=(300, 3)) * 0.01, rng.normal(size=(300, 3))])
    >>> labels = parts_of(rows, most=2, least=40, seed=0)
    >>> bool((labels[:300] != labels[0]).sum() < 5), bool((labels[300:] == labels[0]).sum() < 5)
    (True, True)
    """
    _, first = np.unique(hashes(rows, seed), return_index=True)
    few = rows[first[:_MOST]]  # the lowest hashes: a uniform sample
    labels = np.zeros(len(rows), dtype=np.int64)
    if most < 2 or len(few) < 2 * least:
        return labels
    mean = few.mean(axis=0)
    _, lengths, directions = np.linalg.svd(few - mean, full_matrices=False)
    kept = min(_DIRECTIONS, len(few) // 10, int((lengths**2 > _NOISE * max(lengths[0] ** 2, 1e-300)).sum()))
    if kept == 0:
        return labels
    turn = (directions[:kept] / lengths[:kept, None] * np.sqrt(len(few) - 1)).T
    points = (few - mean) @ turn
    least = max(least, 2 * kept)
    found = np.zeros(len(points), dtype=np.int64)
    tried: set[int] = set()
    while (n := int(found.max()) + 1) < most:
        open_parts = [part for part in range(n) if part not in tried]
        if not open_parts:
            break
        part = max(open_parts, key=lambda each: (int((found == each).sum()), -each))  # the largest first
        members = np.flatnonzero(found == part)
        halves = _halved(points[members], least)
        if halves is None:
            tried.add(part)
            continue
        found[members[halves == 1]] = n
        refined = _maximised(points, found, least)
        if refined is not None:
            found = refined[0]
    every = (rows - mean) @ turn
    labels = _densities(every, points, np.eye(int(found.max()) + 1)[found]).argmax(axis=1)
    return _without_small(labels, rows, least, seed)


def _halved(points: Float, least: int) -> Labels | None:
    """The better of two cuts (n,) of 0 and 1; None if neither is worth its parameters."""
    n, d = points.shape
    if n < 2 * least:
        return None
    centred = points - points.mean(axis=0)
    far = (centred**2).sum(axis=1)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    whole = _maximised(points, np.zeros(n, dtype=np.int64), least)
    starts = (far > np.median(far)).astype(np.int64), (along > np.median(along)).astype(np.int64)
    cuts = [cut for start in starts if (cut := _maximised(points, start, least)) is not None]
    if whole is None or not cuts:
        return None
    labels, likelihood = max(cuts, key=lambda cut: cut[1])
    price = 0.5 * (d * (d + 3) / 2 + 1) * np.log(n)
    return labels if likelihood - whole[1] > price and len(np.unique(labels)) == 2 else None


def _maximised(points: Float, labels: Labels, least: int) -> tuple[Labels, float] | None:
    """Parts that expectation maximisation makes of those given, and the log-likelihood; None if one gets small."""
    share = np.eye(int(labels.max()) + 1)[labels]
    likelihood = -np.inf
    for _ in range(_STEPS):
        if (share.sum(axis=0) < least).any():
            return None
        densities = _densities(points, points, share)
        highest = densities.max(axis=1, keepdims=True)
        parts = np.exp(densities - highest)
        likelihood = float((highest[:, 0] + np.log(parts.sum(axis=1))).sum())
        new = parts / parts.sum(axis=1, keepdims=True)
        still = float(np.abs(new - share).max()) < _STILL
        share = new
        if still:
            break
    found = share.argmax(axis=1)
    sizes = np.bincount(found, minlength=share.shape[1])
    return None if (sizes < least).any() else (found, likelihood)


def _densities(at: Float, points: Float, share: Float) -> Float:
    """Log-density (m, parts), up to a constant, ``at`` some points of the Gaussians that ``points`` make with their shares."""
    d, found = points.shape[1], np.empty((len(at), share.shape[1]))
    for part, weights in enumerate(share.T):
        n = weights.sum()
        mean = weights @ points / n
        centred = points - mean
        covariance = (centred * weights[:, None]).T @ centred / n
        off = n / (n + d)  # few vectors say little of correlations
        covariance = off * covariance + (1.0 - off) * np.diag(np.diag(covariance)) + _RIDGE * np.eye(d)
        factor = np.linalg.cholesky(covariance)
        apart = np.linalg.solve(factor, (at - mean).T)
        found[:, part] = np.log(n / len(points)) - np.log(np.diag(factor)).sum() - 0.5 * (apart**2).sum(axis=0)
    return found


def _without_small(labels: Labels, rows: Float, least: int, seed: int) -> Labels:
    """The same with parts of too few distinct rows joined to the largest part, numbered anew."""
    sizes = {part: len(np.unique(hashes(rows[labels == part], seed))) for part in np.unique(labels).tolist()}
    largest = max(sizes, key=lambda part: (sizes[part], -part))
    joined = np.where([sizes[part] < least for part in labels.tolist()], largest, labels)
    found: Labels = np.unique(joined, return_inverse=True)[1].astype(np.int64)
    return found
