"""DScribe's Gaussian-type radial basis in closed form, and its splines in r²."""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv, sqrtm
from scipy.special import gamma

__all__ = ["RadialTable", "gto_basis", "harmonic_norms", "radial_table"]

_DECAY = 1e-3


def gto_basis(r_cut: float, n_max: int, l_max: int, sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exponents and coefficients of the density expansion.

    The expansion coefficient of a Gaussian of width σ at distance r in the n-th orthonormalised GTO of degree l is
    ``G_nl(r) r^l Y_lm`` with ``G_nl = Σ_k B[l, n, k] exp(−a[l, k] r²)`` (Himanen et al., Comput. Phys. Commun. 247,
    106949, 2020; the integral is analytic).

    Returns
    -------
    a : (l_max + 1, n_max), 1/Å²
    B : (l_max + 1, n_max, n_max)
    """
    eta = 1.0 / (2.0 * sigma**2)
    reach = np.linspace(1.0, r_cut, n_max)
    a = np.zeros((l_max + 1, n_max))
    b = np.zeros((l_max + 1, n_max, n_max))
    for l in range(l_max + 1):
        alpha = -np.log(_DECAY / reach**l) / reach**2
        overlap = 0.5 * gamma(l + 1.5) * (alpha[:, None] + alpha[None, :]) ** (-l - 1.5)
        beta = np.real(sqrtm(inv(overlap)))
        a[l] = alpha * eta / (alpha + eta)
        b[l] = np.pi**1.5 * beta * (eta**l / (alpha + eta) ** (l + 1.5))[None, :]
    return a, b


def harmonic_norms(l_max: int) -> NDArray[np.float64]:
    """Normalisation F_lm of the real solid harmonics r^l Y_lm, (l_max + 1, l_max + 1), m ≥ 0."""
    norms = np.zeros((l_max + 1, l_max + 1))
    for l in range(l_max + 1):
        for m in range(l + 1):
            norms[l, m] = (-1) ** m * np.sqrt((2 * l + 1) / (2 * np.pi) * factorial(l - m) / factorial(l + m))
        norms[l, 0] /= np.sqrt(2.0)
    return norms


@dataclass(frozen=True)
class RadialTable:
    """Piecewise polynomials of all G_nl in r².

    Attributes
    ----------
    coefficients : (n_intervals, degree + 1, (l_max + 1) · n_pad)
        Power coefficients in the interval's own coordinate t in [0, 1), lowest first; n contiguous, padded with zeros.
    inverse_step : 1/Å²
    """

    coefficients: NDArray[Any]
    inverse_step: float


def radial_table(
    a: NDArray[np.float64], b: NDArray[np.float64], r2_max: float, n_pad: int, *, single: bool = False
) -> RadialTable:
    """Hermite splines of G_nl(r²): quintic to 1e-12 of the largest function (cubic to 1e-7 for ``single``)."""
    # error of a Hermite spline of f ~ exp(−a u): (a h)^4 / 384 (cubic), (a h)^6 / 46080 (quintic)
    step = (1e-7 * 384) ** 0.25 / a.max() if single else (1e-12 * 46080) ** (1 / 6) / a.max()
    n = int(np.ceil(r2_max / step)) + 1
    h = r2_max / (n - 1)
    u = np.arange(n + 1) * h
    n_l, n_max = a.shape
    derivatives = []
    for order in range(2 if single else 3):
        values = np.zeros((n + 1, n_l, n_pad))
        for l in range(n_l):
            primitives = (-a[l]) ** order * np.exp(-np.outer(u, a[l]))
            values[:, l, :n_max] = primitives @ b[l].T
        derivatives.append(values.reshape(n + 1, -1) * h**order)
    f0, f1 = derivatives[0][:-1], derivatives[0][1:]
    d0, d1 = derivatives[1][:-1], derivatives[1][1:]
    if single:
        rows = [f0, d0, 3 * (f1 - f0) - 2 * d0 - d1, 2 * (f0 - f1) + d0 + d1]
    else:
        s0, s1 = derivatives[2][:-1], derivatives[2][1:]
        rows = [
            f0,
            d0,
            s0 / 2,
            10 * (f1 - f0) - 6 * d0 - 4 * d1 - 1.5 * s0 + 0.5 * s1,
            -15 * (f1 - f0) + 8 * d0 + 7 * d1 + 1.5 * s0 - s1,
            6 * (f1 - f0) - 3 * (d0 + d1) - 0.5 * (s0 - s1),
        ]
    table = np.ascontiguousarray(np.stack(rows, axis=1), dtype=np.float32 if single else np.float64)
    return RadialTable(table, 1.0 / h)
