"""Squared distances of many vectors from one distribution: one product with the directions, no whitened vector is ever made.

What a vector c has outside orthonormal directions E is |c|² − |E c|² long, squared: that needs the projection alone, half the
work of the residual vector c − Eᵀ E c. The first eight directions, in which most of c lies, are taken out of it before, so that
the difference loses two to three digits and not five; where it would lose more the residual vector itself is taken.
"""

from __future__ import annotations

import numba
import numpy as np

from idealflow.core.descriptors.vectors import CACHED, add_product, set_product
from idealflow.core.products import add_products

__all__ = ["CANCELLED", "squared_distances"]

#: vectors taken at a time: what is kept of them stays in a core's second cache
_ROWS = 256

#: the difference is believed while floor · |c|² is below this multiple of the distance: its error is then about 1e-10 of it
CANCELLED = 3e4


@numba.njit(cache=CACHED, nogil=True)
def squared_distances(  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912  # numba compiles it for the types it meets; its loops are the formula's sums
    vectors, members, mean, across, along, weights, floor, apart, apart_along, more, every, inside, out
):
    """Σ_i weights_i (E c)_i² + Σ_f (floor + more_f) r_f² with c = v − mean and r = c − Eᵀ E c, for some rows v of ``vectors``.

    Parameters
    ----------
    vectors : (n, d)
    members : (k,) int
        Which rows.
    mean : (d,)
    across, along : (p, m), (m, p)
        Eᵀ and E, both sides extended by zeros to multiples of eight.
    weights : (m,)
        Of the squared projections.
    floor
        Weight of the squared residual of every feature.
    apart : (a,) int
        Features whose squared residual weighs more.
    apart_along : (m, b)
        The columns of E of these features, extended likewise.
    more : (b,)
        What their weights have above the floor.
    every : (p,) or (0,)
        If given, the weights of all features, in place of ``floor`` and ``more``: the residual vector is taken whole.
    inside : (k, m)
        The projections E c are written here.
    out : (k,)
        The squared distances are written here.

    Examples
    --------
    One direction of weight 1/4 in two features, of which the first is the direction, and a weight of 3 outside it:

    >>> import numpy as np
    >>> across, along = np.zeros((8, 8)), np.zeros((8, 8))
    >>> across[0, 0] = along[0, 0] = 1.0
    >>> none, inside, out = np.zeros(0, dtype=np.int64), np.empty((1, 8)), np.empty(1)
    >>> squared_distances(
    ...     np.array([[2.0, 1.0]]), np.array([0]), np.zeros(2), across, along, np.full(8, 0.25), 3.0,
    ...     none, np.zeros((8, 0)), np.zeros(0), np.zeros(0), inside, out,
    ... )
    >>> out.tolist()
    [4.0]
    """
    d, m, p, b = len(mean), len(weights), len(across), len(more)
    e_across, e_along, e_apart = across.reshape(-1), along.reshape(-1), apart_along.reshape(-1)
    most = min(_ROWS, len(members))
    rest, found, back, separate = np.zeros(most * p), np.empty(most * m), np.empty(most * m), np.zeros(most * b)
    left, within, sums, squares = np.empty(most), np.empty(most), np.empty(32), np.empty(8)
    for start in range(0, len(members), _ROWS):
        n = min(_ROWS, len(members) - start)
        for r in range(n):
            row = members[start + r]
            for f in range(d):
                rest[r * p + f] = vectors[row, f] - mean[f]
        found[:] = 0.0
        add_products(found, m, rest, p, e_across, n, 0, p, 0, 8)  # the first eight directions, which are then taken out
        back[: n * m] = -found[: n * m]
        add_products(rest, p, back, m, e_along, n, 0, 8, 0, p)
        add_products(found, m, rest, p, e_across, n, 0, p, 8, m)  # the others
        back[: n * m] = -found[: n * m]
        if len(every) > 0:
            add_products(rest, p, back, m, e_along, n, 8, m, 0, p)
            for r in range(n):
                sums[:] = 0.0
                for a in range(0, p, 8):
                    set_product(squares, 0, 1.0, rest, r * p + a, rest, r * p + a)
                    add_product(sums, a % 32, 1.0, squares, 0, every, a)
                distance = sums.sum()
                for i in range(m):
                    y = found[r * m + i]
                    inside[start + r, i] = y
                    distance += weights[i] * y * y
                out[start + r] = distance
            continue
        for r in range(n):
            for f in range(len(apart)):
                separate[r * b + f] = rest[r * p + apart[f]]
        add_products(separate, b, back, m, e_apart, n, 8, m, 0, b)  # what weighs more is taken from the residual vector
        cancelled = False
        for r in range(n):
            sums[:] = 0.0
            for a in range(0, p, 8):
                add_product(sums, a % 32, 1.0, rest, r * p + a, rest, r * p + a)
            left[r] = sums.sum()
            difference, distance = left[r], 0.0
            for i in range(m):
                y = found[r * m + i]
                inside[start + r, i] = y
                distance += weights[i] * y * y
                if i >= 8:
                    difference -= y * y
            for f in range(b):
                distance += more[f] * separate[r * b + f] * separate[r * b + f]
            out[start + r] = distance + floor * max(difference, 0.0)
            within[r] = distance
            cancelled |= floor * left[r] > CANCELLED * out[start + r]
        if cancelled:
            add_products(rest, p, back, m, e_along, n, 8, m, 0, p)
            for r in range(n):
                if floor * left[r] > CANCELLED * out[start + r]:
                    difference = 0.0
                    for f in range(r * p, (r + 1) * p):
                        difference += rest[f] * rest[f]
                    out[start + r] = within[r] + floor * difference
