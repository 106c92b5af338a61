import subprocess
import sys

import numba
import numpy as np
import pytest
from ase.build import bulk
from scipy.special import eval_chebyt, sph_harm_y

from idealflow.core.descriptors import neighbour_pairs
from idealflow.forcefields.local import kernels
from idealflow.forcefields.local import pairs as training
from idealflow.forcefields.local.repulsion import repulsion, repulsion_ranges

CUTOFF, N_RADIAL = 4.5, 6


@pytest.fixture(scope="module")
def pairs():
    atoms = bulk("NiAl", "cesiumchloride", a=2.9).repeat((2, 2, 1))
    atoms.rattle(0.15, seed=3)
    found = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
    kind = (atoms.numbers == 28).astype(np.int64)
    return found, kind


def densities(vec, found, kind):
    out = np.full((len(kind), 2 * N_RADIAL, 16), np.nan)
    kernels.densities(vec, found.offsets, found.j, kind, CUTOFF, N_RADIAL, out)
    return out


def test_densities_are_sums_of_radial_functions_and_harmonics(pairs):
    found, kind = pairs
    expected = np.zeros((len(kind), 2 * N_RADIAL, 16))
    for i in range(len(kind)):
        for p in range(found.offsets[i], found.offsets[i + 1]):
            x, y, z = found.vec[p]
            r = np.linalg.norm(found.vec[p])
            u = r / CUTOFF
            radial = eval_chebyt(np.arange(N_RADIAL), 2 * (1 - u) ** 2 - 1) * (1 - u**2) ** 3
            angular = []
            for l in range(4):
                for m in range(-l, l + 1):
                    value = sph_harm_y(l, abs(m), np.arccos(z / r), np.arctan2(y, x)) * np.sqrt(4 * np.pi)
                    real = value.real if m == 0 else np.sqrt(2) * (-1) ** m * (value.imag if m < 0 else value.real)
                    angular.append(real)
            block = slice(kind[found.j[p]] * N_RADIAL, (kind[found.j[p]] + 1) * N_RADIAL)
            expected[i, block] += radial[:, None] * np.array(angular)[None, :]
    np.testing.assert_allclose(densities(found.vec, found, kind), expected, atol=1e-12)


def test_slopes_are_the_transpose_of_the_change_along_a_motion(pairs):
    found, kind = pairs
    n = len(kind)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(n, 2 * N_RADIAL, 16))
    by_atom, by_strain = rng.normal(size=(n, 3)), rng.normal(size=(1, 3, 3))
    graph = np.zeros(n, dtype=np.int64)
    basis = (found.vec, found.offsets, found.j, kind, CUTOFF, N_RADIAL)

    motion = by_atom[np.repeat(np.arange(n), np.diff(found.offsets))] - by_atom[found.j] + found.vec @ by_strain[0]
    step = 1e-5
    change = densities(found.vec + step * motion, found, kind) - densities(found.vec - step * motion, found, kind)
    change /= 2 * step
    slopes = np.full_like(found.vec, np.nan)
    kernels.pair_slopes(*basis, weight, slopes)
    forces, virial = np.zeros((n, 3)), np.zeros((1, 3, 3))
    kernels.scatter_forces(found.vec, found.offsets, found.j, np.arange(n), graph, slopes, forces, virial)
    assert (forces * by_atom).sum() + (virial * by_strain).sum() == pytest.approx((weight * change).sum(), rel=1e-6)

    # the loops of training, on the same pairs in order of species
    order = np.lexsort((kind[found.j], np.repeat(np.arange(n), np.diff(found.offsets))))
    group = np.repeat(np.arange(n), np.diff(found.offsets)) * 2 + kind[found.j]
    groups = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=2 * n))])
    vec, j, width = found.vec[order], found.j[order], 8
    radial, slope, harmonic = (np.empty((len(vec), size)) for size in (width, width, 16))
    training.functions_of_pairs(vec, CUTOFF, N_RADIAL, radial, slope, harmonic)

    def padded(density):
        out = np.zeros((n, 16, 2, width))
        out[:, :, :, :N_RADIAL] = density.reshape(n, 2, N_RADIAL, 16).transpose(0, 3, 1, 2)
        return out.reshape(n, 16, -1)

    made = np.full((n, 16, 2 * width), np.nan)
    training.density_of_pairs(groups, 2, radial, harmonic, made)
    np.testing.assert_allclose(made, padded(densities(found.vec, found, kind)), atol=1e-12)
    same = np.full_like(vec, np.nan)
    training.slopes_of_pairs(vec, groups, 2, radial, slope, harmonic, padded(weight), same)
    np.testing.assert_allclose(same, slopes[order], atol=1e-11)
    training.along_motion(vec, groups, j, 2, radial, slope, harmonic, graph, by_atom, by_strain, made)
    np.testing.assert_allclose(made, padded(change), atol=1e-6)


def test_results_do_not_depend_on_the_number_of_threads(pairs):
    found, kind = pairs
    before = numba.get_num_threads()
    try:
        results = []
        for n in {1, before}:
            numba.set_num_threads(n)
            results.append(densities(found.vec, found, kind))
    finally:
        numba.set_num_threads(before)
    assert all(np.array_equal(results[0], result) for result in results)


def test_the_first_kernel_leaves_torch_its_threads():
    program = (
        "import numba, torch; torch.set_num_threads(1)\n"
        "from idealflow.forcefields.local.kernels import threads_for\n"
        "with threads_for(10**6): print(numba.get_num_threads(), torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_a_neighbour_at_the_cutoff_vanishes_with_its_slope():
    offsets, j, kind = np.array([0, 1]), np.array([0]), np.array([0])
    direction = np.array([[0.6, 0.0, 0.8]])
    sizes = []
    for distance in (CUTOFF - 1e-3, CUTOFF - 2e-3):
        out = np.empty((1, N_RADIAL, 16))
        kernels.densities(distance * direction, offsets, j, kind, CUTOFF, N_RADIAL, out)
        sizes.append(np.abs(out).max())
    assert sizes[0] < 1e-8
    assert sizes[1] / sizes[0] == pytest.approx(8, rel=0.01)  # the third power of the distance to the cutoff


def pair_energy(distance, numbers=(29, 13)):
    """Energy and slope of one pair of the two species."""
    vec = np.array([[distance, 0.0, 0.0], [-distance, 0.0, 0.0]])
    offsets, j, kind = np.array([0, 1, 2]), np.array([1, 0]), np.array([0, 1])
    energies, slopes = np.zeros(2), np.zeros((2, 3))
    charges = np.array(numbers, dtype=float)
    repulsion(vec, offsets, j, kind, np.arange(2), charges, repulsion_ranges(numbers), energies, slopes)
    return energies.sum(), slopes[0, 0] - slopes[1, 0]


def test_repulsion_is_zbl_at_short_range_and_nothing_at_bonds():
    outer = repulsion_ranges([29, 13])[0, 1]
    assert outer == pytest.approx(0.7 * (1.32 + 1.21))
    # ZBL written out for 0.3 Å
    a = 0.8854 * 0.529177 / (29**0.23 + 13**0.23)
    x = 0.3 / a
    phi = (
        0.18175 * np.exp(-3.1998 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.4029 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    assert pair_energy(0.3)[0] == pytest.approx(14.399645 * 29 * 13 / 0.3 * phi, rel=1e-4)
    assert pair_energy(outer) == (0.0, 0.0)
    assert pair_energy(outer - 1e-4)[0] < 1e-6


@pytest.mark.parametrize("distance", [0.5, 0.885, 0.9, 1.3, 1.7])
def test_slope_of_the_repulsion(distance):
    step = 1e-5
    slope = (pair_energy(distance + step)[0] - pair_energy(distance - step)[0]) / (2 * step)
    assert pair_energy(distance)[1] == pytest.approx(slope, rel=1e-6)
    assert slope < 0
