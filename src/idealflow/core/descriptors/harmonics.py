"""Real solid harmonics r^l Y_lm of eight vectors at a time, by Cartesian recursion.

S_{l,m} = Q_lm c_m and S_{l,−m} = Q_lm s_m with c_m + i s_m = (x + i y)^m and Q_lm(z, r²) the modified associated Legendre
functions, normalisation included (Bigi et al., J. Chem. Phys. 159, 064802, 2023). The gradient comes from the same numbers:
∂Q_l^m/∂x = x Q_{l−1}^{m+1}, ∂Q_l^m/∂z = (l + m) Q_{l−1}^m, each up to the ratio of the normalisations.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors.vectors import CACHED, solid_harmonics, solid_harmonics_reverse

__all__ = ["harmonic_constants", "harmonics", "harmonics_reverse"]


def harmonic_constants(l_max: int, dtype: str = "float64") -> NDArray[Any]:
    """Factors of the recursions, (5, l_max + 1, l_max + 1), by degree l and order m ≥ 0.

    Rows: Q_mm (on the diagonal); factor of z Q_{l−1,m}; factor of r² Q_{l−2,m}; factor of Q_{l−1,m+1} in the derivatives by x
    and y; factor of Q_{l−1,m} in the derivative by z.

    Examples
    --------
    >>> harmonic_constants(3).shape, round(float(harmonic_constants(0)[0, 0, 0]), 6)  # Y_00 = 1 / √(4π)
    ((5, 4, 4), 0.282095)
    """
    n = l_max + 1
    norm = np.zeros((n, n))
    plain = np.ones(n)  # Q_mm without normalisation
    for l in range(n):
        for m in range(l + 1):
            norm[l, m] = (-1) ** m * np.sqrt((2 * l + 1) / (2 * np.pi) * factorial(l - m) / factorial(l + m))
        norm[l, 0] /= np.sqrt(2.0)
        plain[l] = -(2 * l - 1) * plain[l - 1] if l else 1.0
    out = np.zeros((5, n, n))
    for l in range(n):
        out[0, l, l] = norm[l, l] * plain[l]
        for m in range(l):
            out[1, l, m] = (2 * l - 1) / (l - m) * norm[l, m] / norm[l - 1, m]
            out[4, l, m] = (l + m) * norm[l, m] / norm[l - 1, m]
            if m < l - 1:
                out[2, l, m] = -(l + m - 1) / (l - m) * norm[l, m] / norm[l - 2, m]
                out[3, l, m] = norm[l, m] / norm[l - 1, m + 1]
    return out.astype(dtype)


@numba.njit(cache=CACHED, nogil=True)
def harmonics(xyz, constants, l_max, q, powers, out):  # type: ignore[no-untyped-def]  # numba compiles it for what it meets
    """Write S_lm of eight vectors into ``out``.

    ``xyz`` (32,): x, y, z and r² of the eight; ``q`` ((l_max + 1)² · 8,), zeros where m > l, and ``powers``
    (2 · (l_max + 1) · 8,): Q_lm, c_m and s_m, kept for :func:`harmonics_reverse`; ``out`` ((l_max + 1)² · 8,): S_lm at
    l² + l + m, the eight side by side.

    Examples
    --------
    >>> xyz = np.repeat([0.0, 0.0, 2.0, 4.0], 8)  # eight times the vector (0, 0, 2)
    >>> q, powers, out = np.zeros(4 * 8), np.zeros(2 * 2 * 8), np.zeros(4 * 8)
    >>> harmonics(xyz, harmonic_constants(1), 1, q, powers, out)
    >>> out[::8].round(6).tolist()  # Y_00, and √(3 / 4π) times y, z and x
    [0.282095, 0.0, 0.977205, 0.0]
    """
    solid_harmonics(xyz, constants, l_max + 1, q, powers, out)


@numba.njit(cache=CACHED, nogil=True)
def harmonics_reverse(xyz, constants, l_max, q, powers, weights, out):  # type: ignore[no-untyped-def]
    """Write Σ_lm w_lm ∇S_lm of the eight vectors into ``out`` (24,): their x, y and z components.

    ``weights`` has the layout of S_lm; the other arrays are as :func:`harmonics` left them.

    Examples
    --------
    >>> xyz, constants = np.repeat([0.0, 0.0, 2.0, 4.0], 8), harmonic_constants(1)
    >>> q, powers, out = np.zeros(4 * 8), np.zeros(2 * 2 * 8), np.zeros(24)
    >>> harmonics(xyz, constants, 1, q, powers, np.zeros(4 * 8))
    >>> weights = np.repeat([0.0, 0.0, 1.0, 0.0], 8)  # of S_10, √(3 / 4π) z
    >>> harmonics_reverse(xyz, constants, 1, q, powers, weights, out)
    >>> (out[::8].round(6) + 0.0).tolist()
    [0.0, 0.0, 0.488603]
    """
    solid_harmonics_reverse(xyz, constants, l_max + 1, q, powers, weights, out)
