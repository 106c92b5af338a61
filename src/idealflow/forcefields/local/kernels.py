"""Compiled loops over pairs of atoms: the densities around atoms, and their derivatives, as predictions need them.

The density of centre i is A[i, s·n_radial + n, lm] = Σ_j R_n(r_ij) Y_lm(r̂_ij) over neighbours j of species s. The rest of
the model works on arrays over atoms. Training has loops of its own (:mod:`~idealflow.forcefields.local.pairs`).

R_n = T_n(2 (1 − u)² − 1) · (1 − u²)³ with u = r / cutoff and T_n the Chebyshev polynomials: bounded at short distance,
finer where neighbours are close, and ending with two continuous derivatives at the cutoff. Y_lm are the real spherical
harmonics up to l = 3, normalised to Σ_m Y_lm² = 2l + 1.

Each centre writes its own output, so results do not depend on the number of threads.
"""
# mypy: ignore-errors
# numba compiles these functions for the types it meets

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch

from idealflow.core.descriptors.threads import launch_threads

__all__ = [
    "N_LM",
    "densities",
    "harmonics",
    "harmonics_along",
    "harmonics_slope",
    "pair_slopes",
    "radial_functions",
    "scatter_forces",
    "threads_for",
]

N_LM = 16

_S3, _S15, _S5, _S7 = math.sqrt(3.0), math.sqrt(15.0), math.sqrt(5.0), math.sqrt(7.0)
_A, _B, _C, _D = math.sqrt(35.0 / 8.0), math.sqrt(105.0), math.sqrt(21.0 / 8.0), math.sqrt(105.0) / 2.0

_inline = numba.njit(cache=True, nogil=True, fastmath=True, inline="always")
_kernel = numba.njit(cache=True, nogil=True, fastmath=True, parallel=True)

_CENTRES_PER_THREAD = 500


@contextmanager
def threads_for(n_centres: int) -> Iterator[None]:
    """Let kernels run on as many threads as torch may use, but on one for every 500 centres at most (at least one in all).

    On an idle machine starting threads costs little; on a busy one it costs more than the work of a small frame: with two
    threads on two busy cores 256 atoms took 28 ms instead of 2.

    Examples
    --------
    >>> with threads_for(100):
    ...     print(numba.get_num_threads())
    1
    """
    launch_threads()
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(before, torch.get_num_threads(), n_centres // _CENTRES_PER_THREAD)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


@_inline
def harmonics(x, y, z, out):
    """Y_lm of the unit vector (x, y, z), into ``out`` (16,).

    Examples
    --------
    >>> import numpy as np
    >>> out = np.empty(16)
    >>> harmonics(0.0, 0.0, 1.0, out)
    >>> [round(float((out[l * l : (l + 1) ** 2] ** 2).sum()), 6) for l in range(4)]  # 2 l + 1
    [1.0, 3.0, 5.0, 7.0]
    """
    x2, y2, z2 = x * x, y * y, z * z
    out[0] = 1.0
    out[1] = _S3 * y
    out[2] = _S3 * z
    out[3] = _S3 * x
    out[4] = _S15 * x * y
    out[5] = _S15 * y * z
    out[6] = 0.5 * _S5 * (3.0 * z2 - 1.0)
    out[7] = _S15 * x * z
    out[8] = 0.5 * _S15 * (x2 - y2)
    out[9] = _A * y * (3.0 * x2 - y2)
    out[10] = _B * x * y * z
    out[11] = _C * y * (5.0 * z2 - 1.0)
    out[12] = 0.5 * _S7 * z * (5.0 * z2 - 3.0)
    out[13] = _C * x * (5.0 * z2 - 1.0)
    out[14] = _D * z * (x2 - y2)
    out[15] = _A * x * (x2 - 3.0 * y2)


@_inline
def harmonics_slope(x, y, z, g):
    """Gradient in (x, y, z) of Σ g_lm Y_lm, with Y_lm the polynomials of :func:`harmonics` for any (x, y, z).

    Examples
    --------
    >>> import numpy as np
    >>> bool(harmonics_slope(0.0, 0.0, 1.0, np.eye(16)[2])[2] == np.sqrt(3))  # of √3 z
    True
    """
    x2, y2, z2 = x * x, y * y, z * z
    gx = (
        _S3 * g[3] + _S15 * (y * g[4] + z * g[7] + x * g[8]) + 6.0 * _A * x * y * g[9] + _B * y * z * g[10]
        + _C * (5.0 * z2 - 1.0) * g[13] + 2.0 * _D * x * z * g[14] + 3.0 * _A * (x2 - y2) * g[15]
    )  # fmt: skip
    gy = (
        _S3 * g[1] + _S15 * (x * g[4] + z * g[5] - y * g[8]) + 3.0 * _A * (x2 - y2) * g[9] + _B * x * z * g[10]
        + _C * (5.0 * z2 - 1.0) * g[11] - 2.0 * _D * y * z * g[14] - 6.0 * _A * x * y * g[15]
    )  # fmt: skip
    gz = (
        _S3 * g[2] + _S15 * (y * g[5] + x * g[7]) + 3.0 * _S5 * z * g[6] + _B * x * y * g[10]
        + 10.0 * _C * z * (y * g[11] + x * g[13]) + 1.5 * _S7 * (5.0 * z2 - 1.0) * g[12] + _D * (x2 - y2) * g[14]
    )  # fmt: skip
    return gx, gy, gz


@_inline
def harmonics_along(x, y, z, tx, ty, tz, out):
    """Derivative of Y_lm as the unit vector (x, y, z) moves along the tangent (tx, ty, tz), into ``out`` (16,).

    Examples
    --------
    >>> import numpy as np
    >>> out = np.empty(16)
    >>> harmonics_along(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, out)
    >>> out[3] == np.sqrt(3), out[2]  # of √3 x, and of √3 z
    (np.True_, np.float64(0.0))
    """
    x2, y2, z2 = x * x, y * y, z * z
    out[0] = 0.0
    out[1] = _S3 * ty
    out[2] = _S3 * tz
    out[3] = _S3 * tx
    out[4] = _S15 * (y * tx + x * ty)
    out[5] = _S15 * (z * ty + y * tz)
    out[6] = 3.0 * _S5 * z * tz
    out[7] = _S15 * (z * tx + x * tz)
    out[8] = _S15 * (x * tx - y * ty)
    out[9] = _A * (6.0 * x * y * tx + 3.0 * (x2 - y2) * ty)
    out[10] = _B * (y * z * tx + x * z * ty + x * y * tz)
    out[11] = _C * ((5.0 * z2 - 1.0) * ty + 10.0 * y * z * tz)
    out[12] = 1.5 * _S7 * (5.0 * z2 - 1.0) * tz
    out[13] = _C * ((5.0 * z2 - 1.0) * tx + 10.0 * x * z * tz)
    out[14] = _D * (2.0 * x * z * tx - 2.0 * y * z * ty + (x2 - y2) * tz)
    out[15] = _A * (3.0 * (x2 - y2) * tx - 6.0 * x * y * ty)


@_inline
def radial_functions(r, cutoff, n_radial, value, slope):
    """R_n(r) and dR_n/dr, into ``value`` and ``slope`` (n_radial,); zero from the cutoff on.

    Examples
    --------
    >>> import numpy as np
    >>> value, slope = np.empty(2), np.empty(2)
    >>> radial_functions(2.0, 4.0, 2, value, slope)
    >>> value.tolist(), slope[0]
    ([0.421875, -0.2109375], np.float64(-0.421875))
    """
    u = r / cutoff
    if u >= 1.0:
        for n in range(n_radial):
            value[n] = 0.0
            slope[n] = 0.0
        return
    v = 1.0 - u * u
    envelope = v * v * v
    d_envelope = -6.0 * u * v * v / cutoff
    x = 2.0 * (1.0 - u) * (1.0 - u) - 1.0
    d_x = -4.0 * (1.0 - u) / cutoff
    t0, d0, t1, d1 = 1.0, 0.0, x, 1.0
    for n in range(n_radial):
        value[n] = t0 * envelope
        slope[n] = d0 * d_x * envelope + t0 * d_envelope
        t2, d2 = 2.0 * x * t1 - t0, 2.0 * t1 + 2.0 * x * d1 - d0
        t0, d0, t1, d1 = t1, d1, t2, d2


@_kernel
def densities(vec, offsets, j, kind, cutoff, n_radial, out):
    """Compute the densities of all centres.

    Parameters
    ----------
    vec : (n_pairs, 3), Å
    offsets : (n + 1,)
        Pairs of centre i are ``offsets[i]:offsets[i + 1]``.
    j : (n_pairs,)
        Neighbour, an index of ``kind``.
    kind : (n_atoms,)
        Species index.
    cutoff
        Å.
    n_radial
        Number of radial functions.
    out : (n, n_species * n_radial, 16)
        Filled with the densities.

    Examples
    --------
    One neighbour at half the cutoff, u = 0.5, and two radial functions:

    >>> import numpy as np
    >>> pair = np.array([[0.0, 0.0, 2.0]]), np.array([0, 1]), np.array([1], dtype=np.int32)
    >>> out = np.empty((1, 2, 16))
    >>> densities(*pair, np.zeros(2, dtype=np.int64), 4.0, 2, out)
    >>> out[0, :, 0].round(6).tolist()  # (1 − u²)³, and T_1 = 2 (1 − u)² − 1 = −0.5 times that
    [0.421875, -0.210938]
    """
    for i in numba.prange(len(offsets) - 1):
        y = out[i, 0, :].copy()
        radial, slope = out[i, :n_radial, 0].copy(), out[i, :n_radial, 0].copy()
        a = out[i]
        a[:] = 0.0
        for p in range(offsets[i], offsets[i + 1]):
            r = math.sqrt(vec[p, 0] ** 2 + vec[p, 1] ** 2 + vec[p, 2] ** 2)
            harmonics(vec[p, 0] / r, vec[p, 1] / r, vec[p, 2] / r, y)
            radial_functions(r, cutoff, n_radial, radial, slope)
            base = kind[j[p]] * n_radial
            for n in range(n_radial):
                c = radial[n]
                for m in range(N_LM):
                    a[base + n, m] += c * y[m]


@_kernel
def pair_slopes(vec, offsets, j, kind, cutoff, n_radial, weight, out):
    """Gradient of Σ weight · density in each pair's vector.

    Parameters
    ----------
    vec, offsets, j, kind, cutoff, n_radial
        As for :func:`densities`.
    weight : (n, n_species * n_radial, 16)
    out : (n_pairs, 3)
        Filled with the gradient, in the unit of ``weight`` per Å.

    Examples
    --------
    The slope of (1 − u²)³ with u = r / cutoff = 0.5 is −6 u (1 − u²)² / cutoff:

    >>> import numpy as np
    >>> pair = np.array([[0.0, 0.0, 2.0]]), np.array([0, 1]), np.array([1], dtype=np.int32)
    >>> weight, out = np.zeros((1, 1, 16)), np.empty((1, 3))
    >>> weight[0, 0, 0] = 1.0
    >>> pair_slopes(*pair, np.zeros(2, dtype=np.int64), 4.0, 1, weight, out)
    >>> out.round(6).tolist()
    [[0.0, 0.0, -0.421875]]
    """
    for i in numba.prange(len(offsets) - 1):
        y, g, h = weight[i, 0, :].copy(), weight[i, 0, :].copy(), weight[i, 0, :].copy()
        radial, slope = weight[i, :n_radial, 0].copy(), weight[i, :n_radial, 0].copy()
        w = weight[i]
        for p in range(offsets[i], offsets[i + 1]):
            r = math.sqrt(vec[p, 0] ** 2 + vec[p, 1] ** 2 + vec[p, 2] ** 2)
            x0, x1, x2 = vec[p, 0] / r, vec[p, 1] / r, vec[p, 2] / r
            harmonics(x0, x1, x2, y)
            radial_functions(r, cutoff, n_radial, radial, slope)
            base = kind[j[p]] * n_radial
            for m in range(N_LM):
                g[m] = 0.0
                h[m] = 0.0
            for n in range(n_radial):
                c, d = radial[n], slope[n]
                for m in range(N_LM):
                    g[m] += c * w[base + n, m]
                    h[m] += d * w[base + n, m]
            along = 0.0
            for m in range(N_LM):
                along += h[m] * y[m]
            g0, g1, g2 = harmonics_slope(x0, x1, x2, g)
            radially = along - (g0 * x0 + g1 * x1 + g2 * x2) / r
            out[p, 0] = g0 / r + radially * x0
            out[p, 1] = g1 / r + radially * x1
            out[p, 2] = g2 / r + radially * x2


@numba.njit(cache=True, nogil=True)
def scatter_forces(vec, offsets, j, centres, graph, slopes, forces, virial):
    """Add each pair's slope to the forces of both its atoms, and vec ⊗ slope to the virial.

    Parameters
    ----------
    vec, offsets, j
        As for :func:`densities`.
    centres, graph : (n,)
        Atom at each centre, and its structure.
    slopes : (n_pairs, 3)
        Gradient of the energy in each pair's vector, eV/Å.
    forces : (n_atoms, 3), eV/Å
        Changed in place.
    virial : (n_graphs, 3, 3), eV
        Changed in place.

    Examples
    --------
    The energy falls as the pair gets longer, so the atoms repel each other:

    >>> import numpy as np
    >>> pair = np.array([[0.0, 0.0, 2.0]]), np.array([0, 1]), np.array([1], dtype=np.int32)
    >>> forces, virial = np.zeros((2, 3)), np.zeros((1, 3, 3))
    >>> scatter_forces(*pair, np.array([0]), np.array([0]), np.array([[0.0, 0.0, -0.5]]), forces, virial)
    >>> forces[:, 2].tolist(), virial[0, 2, 2].item()
    ([-0.5, 0.5], -1.0)
    """
    for c in range(len(offsets) - 1):
        i = centres[c]
        for p in range(offsets[c], offsets[c + 1]):
            for b in range(3):
                s = slopes[p, b]
                forces[i, b] += s
                forces[j[p], b] -= s
                for a in range(3):
                    virial[graph[c], a, b] += vec[p, a] * s
