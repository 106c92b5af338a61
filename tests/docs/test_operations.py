"""Operations that the pages' floors count are those that the formulas take, written out with numbers that count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core.descriptors.harmonics import harmonic_constants
from idealflow.forcefields.local.descriptor import frame_of
from idealflow.forcefields.local.gradient import basis_of
from idealflow.forcefields.local.kernels import harmonics, harmonics_along, harmonics_slope
from workbench import floor_tables, operations


class Number:
    """A number whose operations are counted."""

    count = 0

    def operate(self, _=None):
        Number.count += 1
        return Number()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = operate
    exp = sqrt = operate


def numbers(*shape):
    """An array of them."""
    return np.frompyfunc(lambda _: Number(), 1, 1)(np.zeros(shape))


def counted(work):
    Number.count = 0
    work()
    return Number.count


def product(out, left, right):
    """Add to ``out`` a product of matrices, a multiply-add for each term."""
    for i, j, k in np.ndindex(*out.shape, left.shape[1]):
        out[i, j] = out[i, j] + left[i, k] * right[k, j]


def polynomial(factors):
    found = factors[0]
    for factor in factors[1:]:
        found = found * Number() + factor


CASES = [(1, 1, 1, [1]), (3, 4, 2, [5, 3]), (2, 3, 3, [4])]
N_MAX, L_MAX, N_SPECIES, N_PAIRS = 3, 2, 2, 4
LM = [(l, slice(l * l, (l + 1) ** 2)) for l in range(L_MAX + 1)]


def test_a_descriptor():
    def work():
        c = numbers(N_SPECIES, N_MAX, (L_MAX + 1) ** 2)
        for pair in range(N_PAIRS):
            for l, m in LM:
                for _ in range(N_MAX):
                    polynomial([Number()] * 6)
                product(c[pair % N_SPECIES][:, m], numbers(N_MAX, 1), numbers(1, 2 * l + 1))
        functions = c.reshape(N_SPECIES * N_MAX, -1)
        for row, a in enumerate(functions):
            for b in functions[row:]:
                for _, m in LM:
                    product(numbers(1, 1), a[m][None], b[m][:, None])

    angular = (L_MAX + 1) ** 2
    found = operations.soap_values(N_MAX, L_MAX, N_SPECIES, N_PAIRS)
    assert counted(work) + N_PAIRS * operations.HARMONIC * angular == found


def test_its_slopes():
    def work():
        c, by_c = numbers(N_SPECIES * N_MAX, (L_MAX + 1) ** 2), numbers(N_SPECIES * N_MAX, (L_MAX + 1) ** 2)
        for _, m in LM:
            product(by_c[:, m], numbers(len(c), len(c)), c[:, m])
        for _ in range(N_PAIRS):
            for l, m in LM:
                for _ in range(N_MAX):
                    polynomial([Number()] * 5)  # of the slope
                for _ in ("by harmonics", "along the pair"):
                    product(numbers(1, 2 * l + 1), numbers(1, N_MAX), by_c[:N_MAX, m])

    angular = (L_MAX + 1) ** 2
    found = operations.soap_slopes(N_MAX, L_MAX, N_SPECIES, N_PAIRS)
    assert counted(work) + N_PAIRS * operations.HARMONIC_SLOPE * angular == found


def test_a_harmonic_takes_four():
    """By the recursions of degree 6, whose factors that vanish count nothing."""
    constants = harmonic_constants(6)

    def work():
        z, r2, q = Number(), Number(), numbers(7, 7)
        for l in range(7):
            for m in range(l):
                q[l, m] = constants[1, l, m] * (z * q[l - 1, m])
                if constants[2, l, m] != 0.0:
                    q[l, m] = q[l, m] + constants[2, l, m] * (r2 * q[l - 2, m])
            for m in range(1, l + 1):
                _ = q[l, m] * Number(), q[l, m] * Number()  # the cosine's and the sine's
        for _ in range(6):  # powers of x + i y
            _ = Number() * Number() - Number() * Number(), Number() * Number() + Number() * Number()

    assert 0.8 * 4 * 49 < counted(work) <= operations.HARMONIC * 49


def test_a_distance_and_its_gradient():
    directions, features, apart = 3, 5, 2
    along, separate = numbers(directions, features), numbers(directions, apart)

    def squared():
        product(numbers(directions, 1), along, numbers(features, 1))
        product(numbers(apart, 1), separate.T, numbers(directions, 1))

    def gradient():
        product(numbers(directions, 1), separate, numbers(apart, 1))
        product(numbers(features, 1), along.T, numbers(directions, 1))

    assert counted(squared) == counted(gradient) == operations.distance(directions, features, apart)


def force_field(neighbours, n_radial, n_channels, hidden):
    """An atom's energy and slopes, as the fused kernel computes them, of one species."""
    for _ in range(neighbours):
        along_pair(n_radial)
    a = numbers(16, n_channels)
    product(a, numbers(16, n_radial), numbers(n_radial, n_channels))
    for l in range(4):
        m = slice(l * l, (l + 1) ** 2)
        full = numbers(n_channels, n_channels)
        for k in range(n_channels):
            for q in range(k, n_channels):
                product(numbers(1, 1), a[m, k][None], a[m, q][:, None])
                _ = Number() * Number(), Number() * Number()  # the invariant's factor, there and back
        product(numbers(2 * l + 1, n_channels), a[m], full)
    features = n_channels + 4 * n_channels * (n_channels + 1) // 2
    network(features, hidden)
    product(numbers(16, n_radial), numbers(16, n_channels), numbers(n_channels, n_radial))


def along_pair(n_radial):
    """A pair's functions, its part of the densities, and its slope."""
    vector, r = numbers(3), Number().sqrt()
    over = 1.0 / r
    x, y, z = (component * over for component in vector)
    y_lm = numbers(16)
    harmonics.py_func(x, y, z, y_lm)
    scale = 2.0
    u = r * scale
    v = 1.0 - u * u
    left = 1.0 - u
    envelope, falling = v * v * v, -6.0 * scale * u * v * v
    t = 2.0 * left * left - 1.0
    by_t, twice = -4.0 * scale * left, 2.0 * t
    t0, d0, t1, d1 = Number(), Number(), t, Number()
    for _ in range(n_radial):
        _ = t0 * envelope, d0 * by_t * envelope + t0 * falling
        t0, d0, t1, d1 = t1, d1, twice * t1 - t0, 2.0 * t1 + twice * d1 - d0
    product(numbers(n_radial, 16), numbers(n_radial, 1), numbers(1, 16))
    s = pull_along_pair((x, y, z), over, n_radial)
    moved = [r * component for component in (x, y, z)]
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        _ = Number() + moved[a] * s[b]
    for component in s:  # the forces on both atoms
        _ = Number() + component, Number() - component


def network(features, hidden):
    """Energy and gradient in the features."""
    for _ in range(features):
        x = (Number() - Number()) * Number()
        _ = Number() + Number() * x
        _ = (Number() + Number()) * Number() * Number()
    for before, after in pairwise([features, *hidden]):
        product(numbers(after, 1), numbers(after, before), numbers(before, 1))
        product(numbers(before, 1), numbers(before, after), numbers(after, 1))
        for _ in range(after):
            x = Number() + Number()
            sigmoid = 1.0 / (1.0 + (0.0 - x).exp())
            _ = x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))
            _ = Number() * Number()  # the way back
    product(numbers(1, 1), numbers(1, hidden[-1]), numbers(hidden[-1], 1))


@pytest.mark.parametrize("case", CASES)
def test_the_force_field(case):
    assert counted(lambda: force_field(*case)) == pytest.approx(operations.force_field(*case), rel=0.02)


def learned_energy(n_radial, n_channels, hidden):
    """An atom's energy, from densities that are kept."""
    features = n_channels + 4 * n_channels * (n_channels + 1) // 2
    product(numbers(16, n_channels), numbers(16, n_radial), numbers(n_radial, n_channels))
    of_channels(n_channels, 1)
    for _ in range(features):
        _ = Number() + (Number() - Number()) * Number() * Number()
    for before, after in pairwise([features, *hidden]):
        product(numbers(after, 1), numbers(after, before), numbers(before, 1))
        for _ in range(after):
            x = Number() + Number()
            _ = x * (1.0 / (1.0 + (0.0 - x).exp()))
    product(numbers(1, 1), numbers(1, hidden[-1]), numbers(hidden[-1], 1))


def learned_forces(neighbours, n_radial, n_channels, hidden):
    """What its forces take beside it, and their loss."""
    features = n_channels + 4 * n_channels * (n_channels + 1) // 2
    for before, after in pairwise([features, *hidden]):
        product(numbers(before, 1), numbers(before, after), numbers(after, 1))
        for _ in range(after):
            sigmoid = Number()
            _ = sigmoid * (1.0 + Number() * (1.0 - sigmoid)) * Number()
    for _ in range(features):
        _ = (Number() + Number()) * Number()
    to_channels(n_channels, factors=True)
    product(numbers(16, n_radial), numbers(16, n_channels), numbers(n_channels, n_radial))
    for _ in range(neighbours):
        slope_of_pair(n_radial)
    for _ in range(3):
        off = Number() - Number()
        _ = Number() + off * off * Number() * Number()
        _ = off * Number() * Number()


def learned_slopes(neighbours, n_radial, n_channels, hidden):
    """What the loss's gradient in the weights takes beside both."""
    features = n_channels + 4 * n_channels * (n_channels + 1) // 2
    for _ in range(neighbours):
        moved_pair(n_radial)
    for _ in ("along the motion", "the gradient along it"):
        product(numbers(16, n_channels), numbers(16, n_radial), numbers(n_radial, n_channels))
    product(numbers(n_radial, n_channels), numbers(n_radial, 16), numbers(16, n_channels))
    of_channels(n_channels, 2)
    for _ in range(features):
        along = Number() / Number()
        _ = Number() + Number() * Number() + along
        _ = (Number() + Number() * Number()) * Number()
    for before, after in pairwise([features, *hidden]):
        layer_again(before, after)
    for _ in range(hidden[-1]):
        _ = Number() + Number() * Number() + Number(), Number() * Number()
    to_channels(n_channels, factors=True)
    to_channels(n_channels, factors=False)


def layer_again(before, after):
    """Forwards along the motion, the gradients of weights and biases, and back."""
    product(numbers(after, 1), numbers(after, before), numbers(before, 1))
    for _ in ("by layers", "along"):
        product(numbers(before, after), numbers(before, 1), numbers(1, after))
    product(numbers(before, 1), numbers(before, after), numbers(after, 1))
    for _ in range(after):
        z, sigmoid = Number(), Number()
        along = Number() * Number()
        second = sigmoid * (1.0 - sigmoid) * (2.0 + z * (1.0 - 2.0 * sigmoid))
        back = Number() * Number() + Number() * second * along
        _ = Number() + back


def of_channels(n_channels, terms):
    """Invariants, or their derivative (two terms)."""
    for l in range(4):
        for k in range(n_channels):
            for _ in range(k, n_channels):
                for _ in range(terms):
                    product(numbers(1, 1), numbers(1, 2 * l + 1), numbers(2 * l + 1, 1))
                _ = Number() * Number()


def to_channels(n_channels, *, factors):
    """Back through them."""
    for l in range(4):
        product(numbers(2 * l + 1, n_channels), numbers(2 * l + 1, n_channels), numbers(n_channels, n_channels))
        if factors:
            for _ in range(n_channels * (n_channels + 1) // 2):
                _ = Number() * Number()


def unit_vector():
    v = numbers(3)
    over = 1.0 / (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
    return [component * over for component in v], over


def pull_along_pair(unit, over, n_radial):
    """The force between two atoms, from what its harmonics and its distance pull."""
    x, y, z = unit
    for _ in ("by harmonics", "along the pair"):
        product(numbers(1, 16), numbers(1, n_radial), numbers(n_radial, 16))
    product(numbers(1, 1), numbers(1, 16), numbers(16, 1))
    gx, gy, gz = harmonics_slope.py_func(x, y, z, numbers(16))
    radially = Number() + Number() - (gx * x + gy * y + gz * z) * over
    return [g * over + radially * component for g, component in zip((gx, gy, gz), (x, y, z), strict=True)]


def slope_of_pair(n_radial):
    (x, y, z), over = unit_vector()
    s = pull_along_pair((x, y, z), over, n_radial)
    for b in (0, 1, 2, 1, 2, 2):  # the virial
        _ = Number() + Number() * s[b]
    for component in s:
        _ = Number() + component, Number() - component


def moved_pair(n_radial):
    x, over = numbers(3), Number()
    moved = [Number() - Number() + Number() * Number() + Number() * Number() + Number() * Number() for _ in x]
    longer = moved[0] * x[0] + moved[1] * x[1] + moved[2] * x[2]
    tangent = [(m - longer * component) * over for m, component in zip(moved, x, strict=True)]
    harmonics_along.py_func(*x, *tangent, numbers(16))
    for _ in range(n_radial):
        _ = longer * Number()
    for _ in ("by harmonics", "along the pair"):
        product(numbers(n_radial, 16), numbers(n_radial, 1), numbers(1, 16))


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_step(case):
    neighbours, *model = case
    energy = counted(lambda: learned_energy(*model))
    forces = counted(lambda: learned_forces(*case))
    back = counted(lambda: learned_slopes(*case))
    assert energy == operations.learned_energy(*model)
    assert energy + forces == operations.learned_forces(neighbours, *model)
    assert energy + forces + back == operations.gradient_step(neighbours, *model)


def test_what_a_gradient_step_reads_is_what_is_kept():
    atoms = bulk("Cu", cubic=True)
    frame = frame_of(atoms, np.zeros(len(atoms), dtype=np.int64), cutoff=4.0)
    basis = basis_of(frame, 4.0, n_species=1, n_radial=8)
    read = operations.learned_bytes(len(basis.j) / len(atoms), n_radial=8)
    assert read * len(atoms) == basis.nbytes - basis.groups.nbytes


def test_floors_lie_below_what_was_measured():
    for name in floor_tables.PARTS:
        assert float(floor_tables.over_floor(name, "least")) > 1.0
        for _, floor in floor_tables.rows_and_floors(name):
            assert floor["operations_us"] == pytest.approx(
                1e3 * floor["kflop"] / floor["product_gflops"] * 1e-3, rel=1e-3
            )


def test_floors_of_other_cases_are_refused(monkeypatch):
    stored = {"bases": [{"n_max": 6, "ours_us": 1.0}], "bases_floor": [{"n_max": 8}]}
    monkeypatch.setattr(floor_tables, "kept", lambda *_: stored)
    with pytest.raises(ValueError, match="measure bases_floor again"):
        floor_tables.rows_and_floors("bases")
