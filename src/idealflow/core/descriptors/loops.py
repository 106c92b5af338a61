"""The operations of :mod:`~idealflow.core.descriptors.vectors` in plain numba, for every processor numba runs on.

Sums of eight numbers are kept in local variables, which compilers turn into vectors where they see it pays. Indices are
unsigned: a signed one costs a comparison each time, since numba lets negative ones count from the end. Arrays of any
shape are taken as flat ones.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = [
    "LANES",
    "SPLINE_DEGREE",
    "add_eight",
    "add_product",
    "block_product",
    "flat",
    "gram",
    "gram_at",
    "gram_half",
    "read_eight",
    "set_product",
    "set_scaled",
    "solid_harmonics",
    "solid_harmonics_reverse",
    "spline",
    "spline_and_slope",
    "transpose",
    "write_eight",
]

#: numbers in a vector
LANES = 8

#: degree of the splines: least bytes read per evaluation at an error of 1e-11 and 1e-7
SPLINE_DEGREE = {"float64": 5, "float32": 3}

_inlined = numba.njit(
    nogil=True, forceinline=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"}
)


@_inlined
def flat(a):  # type: ignore[no-untyped-def]
    """Numbers of an array one after the other, as a view.

    Examples
    --------
    >>> flat(np.zeros((2, 3))).shape
    (6,)
    """
    return a.reshape(-1)


@_inlined
def _at(index):  # type: ignore[no-untyped-def]  # numba compiles it for what it meets
    return np.uint64(index)


@_inlined
def set_product(out, io, factor, a, ia, b, ib):  # type: ignore[no-untyped-def]
    """``out[io:io+8] = factor · a[ia:ia+8] · b[ib:ib+8]``.

    Examples
    --------
    >>> out, a = np.ones(8), np.arange(8.0)
    >>> set_product(out, 0, 0.5, a, 0, a, 0)
    >>> out
    array([ 0. ,  0.5,  2. ,  4.5,  8. , 12.5, 18. , 24.5])
    """
    out, a, b = flat(out), flat(a), flat(b)
    for k in range(8):
        out[_at(io + k)] = factor * a[_at(ia + k)] * b[_at(ib + k)]


@_inlined
def add_product(out, io, factor, a, ia, b, ib):  # type: ignore[no-untyped-def]
    """``out[io:io+8] += factor · a[ia:ia+8] · b[ib:ib+8]``.

    Examples
    --------
    >>> out, a = np.ones(8), np.arange(8.0)
    >>> add_product(out, 0, 0.5, a, 0, a, 0)
    >>> out
    array([ 1. ,  1.5,  3. ,  5.5,  9. , 13.5, 19. , 25.5])
    """
    out, a, b = flat(out), flat(a), flat(b)
    for k in range(8):
        out[_at(io + k)] += factor * a[_at(ia + k)] * b[_at(ib + k)]


@_inlined
def set_scaled(out, io, so, e, factor, a, ia, rows):  # type: ignore[no-untyped-def]
    """Rows of a rectangle, or of an upper triangle, into a packed array, times a factor.

    ``out[io + r·so − e·r(r−1)/2 : +8] = factor · a[ia + (8 + e)·r : +8]`` for r < rows; e is 1 for a triangle, whose rows begin
    one column later and are one number shorter each, else 0. ``out`` and the factor are of double precision, ``a`` may be single.

    Examples
    --------
    >>> out, a = np.ones(11), np.arange(16.0, dtype=np.float32)
    >>> set_scaled(out, 0, 3, 0, 0.5, a, 0, 2)
    >>> out
    array([0. , 0.5, 1. , 4. , 4.5, 5. , 5.5, 6. , 6.5, 7. , 7.5])
    """
    out, a = flat(out), flat(a)
    for r in range(rows):
        place, source = io + r * so - e * (r * (r - 1) // 2), ia + (8 + e) * r
        for k in range(8):
            out[_at(place + k)] = factor * a[_at(source + k)]


@_inlined
def read_eight(a, i):  # type: ignore[no-untyped-def]
    """Eight numbers of a flat array, from place ``i`` on.

    Examples
    --------
    >>> read_eight(np.arange(9), 1)[:2]
    (1, 2)
    """
    return (
        a[_at(i)], a[_at(i + 1)], a[_at(i + 2)], a[_at(i + 3)],
        a[_at(i + 4)], a[_at(i + 5)], a[_at(i + 6)], a[_at(i + 7)],
    )  # fmt: skip


@_inlined
def write_eight(out, i, eight):  # type: ignore[no-untyped-def]
    """Put eight numbers into a flat array, from place ``i`` on.

    Examples
    --------
    >>> out = np.zeros(8)
    >>> write_eight(out, 0, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))
    >>> float(out[7])
    8.0
    """
    (
        out[_at(i)], out[_at(i + 1)], out[_at(i + 2)], out[_at(i + 3)],
        out[_at(i + 4)], out[_at(i + 5)], out[_at(i + 6)], out[_at(i + 7)],
    ) = eight  # fmt: skip


@_inlined
def add_eight(sums, factor, a, i):  # type: ignore[no-untyped-def]
    """``sums + factor · a[i : i + 8]``, of a flat array.

    Examples
    --------
    >>> add_eight((0.0,) * 8, 2.0, np.arange(8.0), 0)[-1]
    14.0
    """
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    a0, a1, a2, a3, a4, a5, a6, a7 = read_eight(a, i)
    return (
        s0 + factor * a0, s1 + factor * a1, s2 + factor * a2, s3 + factor * a3,
        s4 + factor * a4, s5 + factor * a5, s6 + factor * a6, s7 + factor * a7,
    )  # fmt: skip


@_inlined
def block_product(out, io, so, f, jf, sf, g, ig, sg, rows):  # type: ignore[no-untyped-def]
    """``out[r, :] += Σ_{q<8} f[r, q] g[q, :]`` for r < rows; rows of eight at ``io + r·so``, ``jf + r·sf``, ``ig + q·sg``.

    Examples
    --------
    >>> out, f, g = np.zeros((3, 8)), np.ones((3, 8)), np.eye(8)
    >>> block_product(out.ravel(), 0, 8, f.ravel(), 0, 8, g.ravel(), 0, 8, 3)
    >>> bool((out == f @ g).all())
    True
    """
    out, f, g = flat(out), flat(f), flat(g)
    for r in range(rows):
        sums = read_eight(out, io + r * so)
        for q in range(8):
            sums = add_eight(sums, f[_at(jf + r * sf + q)], g, ig + q * sg)
        write_eight(out, io + r * so, sums)


@_inlined
def gram(out, f, jf, sf, g, ig, sg, count):  # type: ignore[no-untyped-def]
    """:func:`gram_at` the beginning of ``out``.

    Examples
    --------
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> gram(out.ravel(), f.ravel(), 0, 8, f.ravel(), 0, 8, 2)
    >>> bool((out == f.T @ f).all())
    True
    """
    out, f, g = flat(out), flat(f), flat(g)
    for r in range(8):
        _gram_row(out, 8 * r, f, jf + r, sf, g, ig, sg, count)


@_inlined
def gram_at(out, io, f, jf, sf, g, ig, sg, count):  # type: ignore[no-untyped-def]
    """``out[io+8·r:+8] = Σ_{q<count} f[jf + q·sf + r] · g[ig + q·sg : +8]`` for r < 8.

    Examples
    --------
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> gram_at(out.ravel(), 0, f.ravel(), 0, 8, f.ravel(), 0, 8, 2)
    >>> bool((out == f.T @ f).all())
    True
    """
    out, f, g = flat(out), flat(f), flat(g)
    for r in range(8):
        _gram_row(out, io + 8 * r, f, jf + r, sf, g, ig, sg, count)


@_inlined
def gram_half(out, io, f, jf, sf, g, ig, sg, count):  # type: ignore[no-untyped-def]
    """:func:`gram_at` of the first four rows alone: r < 4.

    Examples
    --------
    >>> out, f = np.zeros((8, 8)), np.arange(16.0).reshape(2, 8)
    >>> gram_half(out.ravel(), 0, f.ravel(), 0, 8, f.ravel(), 0, 8, 2)
    >>> bool((out[:4] == (f.T @ f)[:4]).all()), bool(out[4:].any())
    (True, False)
    """
    out, f, g = flat(out), flat(f), flat(g)
    for r in range(4):
        _gram_row(out, io + 8 * r, f, jf + r, sf, g, ig, sg, count)


@_inlined
def _gram_row(out, io, f, jf, sf, g, ig, sg, count):  # type: ignore[no-untyped-def]
    zero = out.dtype.type(0.0)
    sums = (zero, zero, zero, zero, zero, zero, zero, zero)
    for q in range(count):
        sums = add_eight(sums, f[_at(jf + q * sf)], g, ig + q * sg)
    write_eight(out, io, sums)


@_inlined
def transpose(out, io, a, ia, sa):  # type: ignore[no-untyped-def]
    """``out[io + 8·c + r] = a[ia + r·sa + c]`` for r, c < 8.

    Examples
    --------
    >>> out, a = np.zeros((8, 8)), np.arange(64.0).reshape(8, 8)
    >>> transpose(out.ravel(), 0, a.ravel(), 0, 8)
    >>> bool((out == a.T).all())
    True
    """
    out, a = flat(out), flat(a)
    for r in range(8):
        for c in range(8):
            out[_at(io + 8 * c + r)] = a[_at(ia + r * sa + c)]


@_inlined
def solid_harmonics(xyz, constants, n, q, powers, out):  # type: ignore[no-untyped-def]
    """Solid harmonics of degrees below n of eight vectors: what :func:`~idealflow.core.descriptors.harmonics.harmonics` does.

    Examples
    --------
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> xyz, out = np.repeat([0.0, 0.0, 2.0, 4.0], 8), np.zeros(4 * 8)  # eight times the vector (0, 0, 2)
    >>> solid_harmonics(xyz, harmonic_constants(1), 2, np.zeros(4 * 8), np.zeros(2 * 2 * 8), out)
    >>> out[::8].round(6).tolist()
    [0.282095, 0.0, 0.977205, 0.0]
    """
    one = constants.dtype.type(1.0)
    sine = n * 8
    for p in range(8):
        powers[p], powers[sine + p] = one, 0.0
    for m in range(1, n):
        here, before = m * 8, (m - 1) * 8
        set_product(powers, here, one, xyz, 0, powers, before)
        add_product(powers, here, -one, xyz, 8, powers, sine + before)
        set_product(powers, sine + here, one, xyz, 0, powers, sine + before)
        add_product(powers, sine + here, one, xyz, 8, powers, before)
    for m in range(n):
        for p in range(8):
            q[(m * n + m) * 8 + p] = constants[0, m, m]
        for l in range(m + 1, n):
            here = (l * n + m) * 8
            set_product(q, here, constants[1, l, m], xyz, 16, q, here - n * 8)
            if l > m + 1:
                add_product(q, here, constants[2, l, m], xyz, 24, q, here - 2 * n * 8)
    for l in range(n):
        middle = l * l + l
        set_product(out, middle * 8, one, q, l * n * 8, powers, 0)
        for m in range(1, l + 1):
            here = (l * n + m) * 8
            set_product(out, (middle + m) * 8, one, q, here, powers, m * 8)
            set_product(out, (middle - m) * 8, one, q, here, powers, sine + m * 8)


@_inlined
def solid_harmonics_reverse(xyz, constants, n, q, powers, weights, out):  # type: ignore[no-untyped-def]
    """Gradient of a weighted sum of them: what :func:`~idealflow.core.descriptors.harmonics.harmonics_reverse` does.

    Examples
    --------
    >>> from idealflow.core.descriptors.harmonics import harmonic_constants
    >>> xyz, weights, out = np.repeat([0.0, 0.0, 2.0, 4.0], 8), np.repeat([0.0, 0.0, 1.0, 0.0], 8), np.zeros(24)
    >>> q, powers = np.zeros(4 * 8), np.zeros(2 * 2 * 8)
    >>> solid_harmonics(xyz, harmonic_constants(1), 2, q, powers, np.zeros(4 * 8))
    >>> solid_harmonics_reverse(xyz, harmonic_constants(1), 2, q, powers, weights, out)
    >>> (out[::8].round(6) + 0.0).tolist()
    [0.0, 0.0, 0.488603]
    """
    sine = n * 8
    work = np.zeros(32, dtype=out.dtype)
    out[:] = 0.0
    # 0: factor of x and y; 8: angular part; 16, 24: Σ_l Q w of ±m
    for m in range(n):
        work[16:] = 0.0
        for l in range(max(m, 1), n):
            here = (l * n + m) * 8
            plus, minus = (l * l + l + m) * 8, (l * l + l - m) * 8
            set_product(work, 8, 1.0, weights, plus, powers, m * 8)
            if m > 0:
                add_product(work, 8, 1.0, weights, minus, powers, sine + m * 8)
                add_product(work, 16, 1.0, weights, plus, q, here)
                add_product(work, 24, 1.0, weights, minus, q, here)
            if m < l - 1:
                add_product(work, 0, constants[3, l, m], work, 8, q, here - n * 8 + 8)
            if m < l:
                add_product(out, 16, constants[4, l, m], work, 8, q, here - n * 8)
        if m > 0:
            below = (m - 1) * 8
            add_product(out, 0, 1.0 * m, work, 16, powers, below)
            add_product(out, 0, 1.0 * m, work, 24, powers, sine + below)
            add_product(out, 8, 1.0 * m, work, 24, powers, below)
            add_product(out, 8, -1.0 * m, work, 16, powers, sine + below)
    add_product(out, 0, 1.0, work, 0, xyz, 0)
    add_product(out, 8, 1.0, work, 0, xyz, 8)


@_inlined
def spline(out, io, table, it, width, t):  # type: ignore[no-untyped-def]
    """``out[io + a] = Σ_d table[it + d·width + a] t^d`` for a < width, a multiple of eight.

    Examples
    --------
    >>> out, table = np.zeros(8), np.ones((6, 8))
    >>> spline(out, 0, table.ravel(), 0, 8, 0.5)
    >>> float(out[0])  # 1 + t + ... + t⁵
    1.96875
    """
    for a in range(width):
        i = it + a
        value = table[_at(i + 3 * width)]
        if table.itemsize == 8:
            value = (table[_at(i + 5 * width)] * t + table[_at(i + 4 * width)]) * t + value
        out[_at(io + a)] = ((value * t + table[_at(i + 2 * width)]) * t + table[_at(i + width)]) * t + table[_at(i)]


@_inlined
def spline_and_slope(out, io, slopes, js, table, it, width, t):  # type: ignore[no-untyped-def]
    """:func:`spline` in double precision, and its derivative in t into ``slopes[js + a]``.

    Examples
    --------
    >>> out, slopes, table = np.zeros(8), np.zeros(8), np.ones((6, 8))
    >>> spline_and_slope(out, 0, slopes, 0, table.ravel(), 0, 8, 0.5)
    >>> float(slopes[0])  # 1 + 2 t + ... + 5 t⁴
    3.5625
    """
    for a in range(width):
        i = it + a
        c0, c1, c2 = table[_at(i)], table[_at(i + width)], table[_at(i + 2 * width)]
        c3, c4, c5 = table[_at(i + 3 * width)], table[_at(i + 4 * width)], table[_at(i + 5 * width)]
        out[_at(io + a)] = ((((c5 * t + c4) * t + c3) * t + c2) * t + c1) * t + c0
        slopes[_at(js + a)] = (((5 * c5 * t + 4 * c4) * t + 3 * c3) * t + 2 * c2) * t + c1
