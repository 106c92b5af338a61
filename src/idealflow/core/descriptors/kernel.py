"""The fused SOAP kernel: density coefficients, power spectrum, and the reverse pass of a scalar through both.

For one centre, c[Z, lm, n] = Σ_j G_nl(r_j²) S_lm(r_j) over neighbours j of species Z (the centre itself included), with
S_lm real solid harmonics; p[Z n, Z' n', l] = π sqrt(8 / (2l + 1)) Σ_m c[Z, lm, n] c[Z', lm, n']. The reverse pass takes dU/dp to
dU/dc once per centre and to each neighbour's position by one product with the gradient of G S: nothing of the size
(centres, atoms, 3, features) ever exists.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["density", "density_reverse", "power_spectrum", "power_spectrum_reverse", "scatter"]

_FAST = {"reassoc", "contract", "nsz", "arcp"}


@numba.njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _harmonics(x, y, z, r2, l_max, norms, q, c, s, out):  # type: ignore[no-untyped-def]
    """Real solid harmonics r^l Y_lm into ``out`` (index l² + l + m); q, c, s keep what the gradient needs."""
    c[0], s[0] = 1.0, 0.0
    for m in range(1, l_max + 1):
        c[m] = x * c[m - 1] - y * s[m - 1]
        s[m] = x * s[m - 1] + y * c[m - 1]
    q[0, 0] = 1.0
    for m in range(1, l_max + 1):
        q[m, m] = -(2 * m - 1) * q[m - 1, m - 1]
        q[m, m - 1] = (2 * m - 1) * z * q[m - 1, m - 1]
    for m in range(l_max - 1):
        for l in range(m + 2, l_max + 1):
            q[l, m] = ((2 * l - 1) * z * q[l - 1, m] - (l + m - 1) * r2 * q[l - 2, m]) / (l - m)
    for l in range(l_max + 1):
        middle = l * l + l
        out[middle] = norms[l, 0] * q[l, 0]
        for m in range(1, l + 1):
            f = norms[l, m] * q[l, m]
            out[middle + m] = f * c[m]
            out[middle - m] = f * s[m]


@numba.njit(cache=True, nogil=True, fastmath=_FAST, parallel=True)
def density(offsets, vec, kinds, own, table, inverse_step, norms, l_max, n_pad, coefficients):  # type: ignore[no-untyped-def]
    """Expansion coefficients of every centre into ``coefficients`` (n_centres, n_species, (l_max + 1)², n_pad).

    ``kinds`` (n_pairs,) and ``own`` (n_centres,) are species indices of neighbours and centres.
    """
    n_lm, width = (l_max + 1) ** 2, (l_max + 1) * n_pad
    degree = table.shape[1] - 1
    for i in numba.prange(len(own)):
        out = coefficients[i]
        out[:] = 0.0
        q = np.zeros((l_max + 2, l_max + 2))
        c, s, sh = np.zeros(l_max + 2), np.zeros(l_max + 2), np.zeros(n_lm)
        g = np.zeros(width, dtype=table.dtype)
        for n in range(n_pad):  # the centre itself: r = 0, only l = 0
            out[own[i], 0, n] = table[0, 0, n] * norms[0, 0]
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = vec[p, 0], vec[p, 1], vec[p, 2]
            r2 = x * x + y * y + z * z
            u = r2 * inverse_step
            k = int(u)
            t = table.dtype.type(u - k)
            row = table[k]
            for a in range(width):
                value = row[degree, a]
                for d in range(degree - 1, -1, -1):
                    value = value * t + row[d, a]
                g[a] = value
            _harmonics(x, y, z, r2, l_max, norms, q, c, s, sh)
            target = out[kinds[p]]
            lm = 0
            for l in range(l_max + 1):
                base = l * n_pad
                for _ in range(2 * l + 1):
                    factor = sh[lm]
                    for n in range(n_pad):
                        target[lm, n] += factor * g[base + n]
                    lm += 1


@numba.njit(cache=True, nogil=True, fastmath=_FAST, parallel=True)
def power_spectrum(coefficients, n_max, l_max, out):  # type: ignore[no-untyped-def]
    """Rotation invariants of every centre into ``out`` (n_centres, n_features), in DScribe's order.

    Order: species Z, Z' ≥ Z; l; n; n' (n' ≥ n where Z' = Z).
    """
    n_species = coefficients.shape[1]
    for i in numba.prange(coefficients.shape[0]):
        c = coefficients[i]
        f = 0
        for z in range(n_species):
            for w in range(z, n_species):
                for l in range(l_max + 1):
                    scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                    for n in range(n_max):
                        first = n if z == w else 0
                        for k in range(first, n_max):
                            out[i, f + k - first] = 0.0
                        for lm in range(l * l, (l + 1) * (l + 1)):
                            factor = scale * c[z, lm, n]
                            for k in range(first, n_max):
                                out[i, f + k - first] += factor * c[w, lm, k]
                        f += n_max - first


@numba.njit(cache=True, nogil=True, fastmath=_FAST, parallel=True)
def power_spectrum_reverse(coefficients, d_out, n_max, l_max, d_coefficients):  # type: ignore[no-untyped-def]
    """dU/dc from dU/dp of every centre; ``d_coefficients`` has the shape of ``coefficients``."""
    n_species = coefficients.shape[1]
    for i in numba.prange(coefficients.shape[0]):
        c, d = coefficients[i], d_coefficients[i]
        d[:] = 0.0
        f = 0
        for z in range(n_species):
            for w in range(z, n_species):
                for l in range(l_max + 1):
                    scale = np.pi * np.sqrt(8.0 / (2 * l + 1))
                    for n in range(n_max):
                        first = n if z == w else 0
                        for lm in range(l * l, (l + 1) * (l + 1)):
                            total = 0.0
                            cn = scale * c[z, lm, n]
                            for k in range(first, n_max):
                                g = d_out[i, f + k - first]
                                total += g * c[w, lm, k]
                                d[w, lm, k] += g * cn
                            d[z, lm, n] += scale * total
                        f += n_max - first


@numba.njit(cache=True, nogil=True, fastmath=_FAST, parallel=True)
def density_reverse(  # type: ignore[no-untyped-def]
    offsets, vec, kinds, table, inverse_step, norms, l_max, n_pad, d_coefficients, out
):
    """dU/d(vector to the neighbour) of every pair into ``out`` (n_pairs, 3)."""
    n_lm, width = (l_max + 1) ** 2, (l_max + 1) * n_pad
    degree = table.shape[1] - 1
    for i in numba.prange(d_coefficients.shape[0]):
        q = np.zeros((l_max + 2, l_max + 2))
        c, s, sh = np.zeros(l_max + 2), np.zeros(l_max + 2), np.zeros(n_lm)
        g, dg = np.zeros(width), np.zeros(width)
        for p in range(offsets[i], offsets[i + 1]):
            x, y, z = vec[p, 0], vec[p, 1], vec[p, 2]
            r2 = x * x + y * y + z * z
            u = r2 * inverse_step
            k = int(u)
            t = u - k
            row = table[k]
            for a in range(width):
                value, slope = row[degree, a], 0.0
                for d in range(degree - 1, -1, -1):
                    slope = slope * t + value
                    value = value * t + row[d, a]
                g[a] = value
                dg[a] = slope
            _harmonics(x, y, z, r2, l_max, norms, q, c, s, sh)
            adjoint = d_coefficients[i, kinds[p]]
            fx, fy, fz, fr = 0.0, 0.0, 0.0, 0.0
            lm = 0
            for l in range(l_max + 1):
                base = l * n_pad
                for m in range(-l, l + 1):
                    weight, slope = 0.0, 0.0
                    for n in range(n_pad):
                        weight += adjoint[lm, n] * g[base + n]
                        slope += adjoint[lm, n] * dg[base + n]
                    fr += slope * sh[lm]
                    # gradient of the solid harmonic: dQ_l^m/dx = x Q_{l-1}^{m+1}, dQ_l^m/dz = (l + m) Q_{l-1}^m
                    b = abs(m)
                    if l > 0:
                        f = norms[l, b] * weight
                        up = q[l - 1, b + 1] if b + 1 <= l - 1 else 0.0
                        low = (l + b) * q[l - 1, b] if b <= l - 1 else 0.0
                        if m >= 0:
                            angular = c[b]
                            fx += f * (x * up * angular + (b * q[l, b] * c[b - 1] if b > 0 else 0.0))
                            fy += f * (y * up * angular - (b * q[l, b] * s[b - 1] if b > 0 else 0.0))
                        else:
                            angular = s[b]
                            fx += f * (x * up * angular + b * q[l, b] * s[b - 1])
                            fy += f * (y * up * angular + b * q[l, b] * c[b - 1])
                        fz += f * low * angular
                    lm += 1
            fr *= 2.0 * inverse_step
            out[p, 0] = fx + fr * x
            out[p, 1] = fy + fr * y
            out[p, 2] = fz + fr * z


@numba.njit(cache=True, nogil=True)
def scatter(offsets, j, shift, centres, pair_gradient, positions_gradient, cell_gradient):  # type: ignore[no-untyped-def]
    """Sum pair gradients onto their atoms, and S ⊗ g onto the cell (at fixed Cartesian positions), in pair order."""
    for i in range(len(offsets) - 1):
        centre = centres[i]
        for p in range(offsets[i], offsets[i + 1]):
            for a in range(3):
                g = pair_gradient[p, a]
                positions_gradient[j[p], a] += g
                positions_gradient[centre, a] -= g
                for b in range(3):
                    cell_gradient[b, a] += shift[p, b] * g
