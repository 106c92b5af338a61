"""DScribe's Gaussian-type radial basis in closed form, and its splines in r."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv, sqrtm
from scipy.special import gamma

from idealflow.core.descriptors.alignment import aligned
from idealflow.core.descriptors.vectors import LANES, SPLINE_DEGREE
from idealflow.errors import InputError

__all__ = ["RadialTable", "gto_basis", "radial_functions", "radial_table"]

_DECAY = 1e-3
_ERROR = {"float64": 1e-11, "float32": 1e-7}

Float = NDArray[np.float64]


def gto_basis(r_cut: float, n_max: int, l_max: int, sigma: float) -> tuple[Float, Float]:
    """Exponents and coefficients of the density expansion.

    The expansion coefficient of a Gaussian of width σ at distance r in the n-th orthonormalised GTO of degree l is
    ``G_nl(r) r^l Y_lm`` with ``G_nl = Σ_k B[l, n, k] exp(−a[l, k] r²)`` (Himanen et al., Comput. Phys. Commun. 247,
    106949, 2020; the integral is analytic).

    Parameters
    ----------
    r_cut
        Radius of the basis, Å.
    n_max, l_max
        Radial functions, and highest angular degree.
    sigma
        Width of the Gaussian at every atom, Å.

    Returns
    -------
    a : (l_max + 1, n_max), 1/Å²
    B : (l_max + 1, n_max, n_max)

    Raises
    ------
    InputError
        If there are so many functions that their overlap is numerically singular.

    Examples
    --------
    >>> a, b = gto_basis(r_cut=5.0, n_max=4, l_max=2, sigma=0.5)
    >>> a.shape, b.shape
    ((3, 4), (3, 4, 4))
    """
    eta = 1.0 / (2.0 * sigma**2)
    reach = np.linspace(1.0, r_cut, n_max)
    a = np.zeros((l_max + 1, n_max))
    b = np.zeros((l_max + 1, n_max, n_max))
    for l in range(l_max + 1):
        alpha = -np.log(_DECAY / reach**l) / reach**2
        overlap = 0.5 * gamma(l + 1.5) * (alpha[:, None] + alpha[None, :]) ** (-l - 1.5)
        if not np.linalg.cond(overlap) < 1.0 / np.finfo(np.float64).eps:
            raise InputError(
                f"n_max = {n_max} functions within r_cut = {r_cut:g} Å cannot be told apart in double precision; "
                "lower n_max or raise r_cut"
            )
        beta = np.real(sqrtm(inv(overlap)))
        a[l] = alpha * eta / (alpha + eta)
        b[l] = np.pi**1.5 * beta * (eta**l / (alpha + eta) ** (l + 1.5))[None, :]
    return a, b


def radial_functions(r: Float, a: Float, b: Float, cutoff: float, taper: float) -> tuple[Float, Float, Float]:
    """Values of G_nl times the taper at distances ``r`` (m,), Å, and two derivatives in r; each (m, l_max + 1, n_max).

    The taper falls from 1 at ``cutoff − taper`` to 0 at ``cutoff`` with two continuous derivatives (a quintic smooth step); with
    ``taper`` 0 there is none. ``a`` and ``b`` are those of :func:`gto_basis`.

    Examples
    --------
    >>> basis = gto_basis(r_cut=5.0, n_max=4, l_max=2, sigma=0.5)
    >>> value, slope, curvature = radial_functions(np.array([2.0, 6.5]), *basis, cutoff=6.5, taper=0.5)
    >>> value.shape, bool((value[1] == 0.0).all())
    ((2, 3, 4), True)
    """
    x = r[:, None, None]
    primitives = np.exp(-a * x**2)
    terms = (primitives, -2.0 * a * x * primitives, (4.0 * (a * x) ** 2 - 2.0 * a) * primitives)
    value, slope, curvature = (np.einsum("mlk,lnk->mln", term, b) for term in terms)
    if taper > 0.0:
        y = np.clip((cutoff - x) / taper, 0.0, 1.0)
        f = y**3 * (10.0 - 15.0 * y + 6.0 * y**2)
        df = -30.0 * (y * (1.0 - y)) ** 2 / taper
        ddf = 60.0 * y * (1.0 - y) * (1.0 - 2.0 * y) / taper**2
        curvature = curvature * f + 2.0 * slope * df + value * ddf
        slope = slope * f + value * df
        value = value * f
    return value, slope, curvature


@dataclass(frozen=True)
class RadialTable:
    """Piecewise polynomials in r for all G_nl.

    Attributes
    ----------
    coefficients : (n_intervals · (degree + 1) · width,)
        For each interval and order (lowest first) (l_max + 1) · n_max numbers, n fastest, and zeros up to ``width``. The
        polynomials are in the interval's own coordinate t in [0, 1).
    origin : Å
        Where the first interval starts, at most 0.
    inverse_step : 1/Å
    width
        Numbers per interval and order, a multiple of eight.

    Examples
    --------
    >>> table = radial_table(5.0, n_max=4, l_max=2, sigma=0.5, cutoff=6.86, taper=0.0, dtype="float64")
    >>> table.width, table.origin <= 0.0
    (16, True)
    """

    coefficients: NDArray[Any]
    origin: float
    inverse_step: float
    width: int


def radial_table(
    r_cut: float, n_max: int, l_max: int, sigma: float, cutoff: float, taper: float, dtype: str
) -> RadialTable:
    """Hermite splines of all G_nl, so fine that each r^l G_nl is right to 1e-11 of its largest value (1e-7 for ``float32``).

    They have two continuous derivatives (one for ``float32``), and gradients are those of the splines themselves. The step is the
    largest that passes a check between the nodes, so that the table fits a core's own cache. The beginning of a taper is a node.

    Parameters
    ----------
    r_cut, n_max, l_max, sigma
        As in :func:`gto_basis`.
    cutoff, taper
        As in :func:`radial_functions`, Å.
    dtype
        ``float64`` or ``float32``.

    Examples
    --------
    >>> coarse, fine = (radial_table(5.0, 4, 2, 0.5, 6.86, 0.0, dtype) for dtype in ("float32", "float64"))
    >>> coarse.coefficients.nbytes < fine.coefficients.nbytes
    True
    """
    a, b = gto_basis(r_cut, n_max, l_max, sigma)
    degree, allowed = SPLINE_DEGREE[dtype], _ERROR[dtype]
    between = np.array([0.2, 0.35, 0.5, 0.65, 0.8])

    def fitted(n: int, step: float) -> tuple[Float, float]:
        nodes = cutoff - step * np.arange(n, -1, -1, dtype=np.float64)
        value, slope, curvature = radial_functions(nodes, a, b, cutoff, taper)
        c = _hermite(value, slope * step, curvature * step**2, degree)
        r = (nodes[:-1, None] + between * step).ravel()
        exact = radial_functions(r, a, b, cutoff, taper)[0]
        scale = np.abs(r)[:, None, None] ** np.arange(l_max + 1)[:, None]
        splines = np.einsum("qd,idln->iqln", np.vander(between, degree + 1, increasing=True), c).reshape(exact.shape)
        error = np.abs((splines - exact) * scale).max(axis=0) / np.abs(exact * scale).max(axis=0)
        return c, float(error.max())

    step, expected = 0.25 * sigma, np.inf
    while True:
        n = int(np.ceil(cutoff / step))
        step = taper / np.ceil(taper / step) if taper > 0.0 else cutoff / n
        n = int(np.ceil(cutoff / step - 1e-9))
        c, error = fitted(n, step)
        if not allowed < error <= 2.0 * expected:  # reached, or finer steps show only the rounding of the exact values
            break
        finer = float(np.clip(0.95 * (allowed / error) ** (1.0 / (degree + 1)), 0.5, 0.8))
        step, expected = step * finer, error * finer ** (degree + 1)
    functions = (l_max + 1) * n_max
    width = -(-functions // LANES) * LANES
    coefficients = aligned(n * (degree + 1) * width, dtype)
    padded = coefficients.reshape(n, degree + 1, width)
    padded[..., :functions], padded[..., functions:] = c.reshape(n, degree + 1, functions), 0.0
    return RadialTable(coefficients, cutoff - n * step, 1.0 / step, width)


def _hermite(value: Float, slope: Float, curvature: Float, degree: int) -> Float:
    """Power coefficients (n_intervals, degree + 1, ...) from values and derivatives at the nodes, t in [0, 1)."""
    f0, f1, d0, d1 = value[:-1], value[1:], slope[:-1], slope[1:]
    if degree == 3:
        return np.stack([f0, d0, 3.0 * (f1 - f0) - 2.0 * d0 - d1, 2.0 * (f0 - f1) + d0 + d1], axis=1)
    s0, s1 = curvature[:-1], curvature[1:]
    rows = [
        f0,
        d0,
        s0 / 2.0,
        10.0 * (f1 - f0) - 6.0 * d0 - 4.0 * d1 - 1.5 * s0 + 0.5 * s1,
        -15.0 * (f1 - f0) + 8.0 * d0 + 7.0 * d1 + 1.5 * s0 - s1,
        6.0 * (f1 - f0) - 3.0 * (d0 + d1) - 0.5 * (s0 - s1),
    ]
    return np.stack(rows, axis=1)
