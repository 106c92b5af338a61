"""RDF, coordination and bonds against sums over all images, and against ase."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.geometry.rdf import get_rdf

from idealflow.analysis import bond_counts, coordination_numbers, rdf
from idealflow.errors import InputError


def _all_pairs(atoms, r_max):
    """Brute force: (i, j, distance) over every image that can reach."""
    cell = np.asarray(atoms.cell.complete())
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    spread = np.abs(np.linalg.solve(cell.T, np.ptp(atoms.positions, axis=0)))
    reach = [int(np.ceil(r_max / h + s)) + 1 if p else 0 for h, s, p in zip(heights, spread, atoms.pbc, strict=True)]
    i, j, d = [], [], []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        vectors = atoms.positions[None, :] + np.array(shift) @ cell - atoms.positions[:, None]
        distances = np.linalg.norm(vectors, axis=2)
        first, second = np.nonzero((distances < r_max) & (distances > 1e-9))
        i.append(first)
        j.append(second)
        d.append(distances[first, second])
    return np.concatenate(i), np.concatenate(j), np.concatenate(d)


def _skewed():
    atoms = bulk("NaCl", "rocksalt", a=5.64) * (2, 1, 2)  # a primitive, oblique cell, shorter than 2 r_max
    atoms.rattle(0.2, seed=3)
    atoms.positions[0] += atoms.cell[0] * 2  # one atom outside the box
    return atoms


@pytest.mark.parametrize("pair", [None, ("Na", "Cl"), ("Cl", "Cl"), ("Cl", "Na")])
@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_rdf_equals_brute_force(pair, pbc):
    atoms = _skewed()
    atoms.pbc = pbc
    atoms.symbols[1] = "Na"  # unequal numbers
    i, j, d = _all_pairs(atoms, 7.0)
    symbols = np.array(atoms.get_chemical_symbols())
    one, two = pair or (None, None)
    first = symbols == one if one else np.ones(len(atoms), bool)
    second = symbols == two if two else np.ones(len(atoms), bool)
    edges = np.linspace(0, 7.0, 51)
    counts, _ = np.histogram(d[first[i] & second[j]], bins=edges)
    density = first.sum() * second.sum() / atoms.cell.volume
    expected = counts / (density * 4 / 3 * np.pi * (edges[1:] ** 3 - edges[:-1] ** 3))
    found = rdf(atoms, 7.0, 50, pair=pair)
    np.testing.assert_allclose(found.g, expected, rtol=1e-12)
    np.testing.assert_allclose(found.coordination, counts.cumsum() / first.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.r, (edges[1:] + edges[:-1]) / 2)


def test_rdf_agrees_with_ase_where_ase_reaches():
    frames = [bulk("Cu", cubic=True) * (4, 4, 4) for _ in range(2)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.3, seed=seed)
    expected, _ = get_rdf(frames, 6.0, 60)
    found = rdf(iter(frames), 6.0, 60)
    middle = expected > 0
    np.testing.assert_allclose(found.g[middle], expected[middle], rtol=1e-9)
    assert not found.g[~middle].any()


def test_ideal_gas_is_flat_and_crystal_has_shells():
    gas = Atoms("H4000", positions=np.random.default_rng(0).uniform(0, 30, (4000, 3)), cell=[30] * 3, pbc=True)
    assert rdf(gas, 10.0, 10).g[2:] == pytest.approx(1.0, abs=0.03)
    crystal = rdf(bulk("Cu", a=3.6), 3.0, 300)
    assert crystal.coordination[-1] == 12
    assert crystal.r[crystal.g.argmax()] == pytest.approx(3.6 / np.sqrt(2), abs=0.01)


def test_rdf_refuses_what_has_no_answer():
    cluster = molecule("H2O")
    for call, words in (
        (lambda: rdf(cluster, 3.0), "volume"),
        (lambda: rdf([], 3.0), "no|none"),
        (lambda: rdf(bulk("Cu"), 3.0, pair=("Cu", "Au")), "Au"),
        (lambda: rdf(bulk("Cu"), -1.0), "positive"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert rdf(cluster, 3.0, 30, pair=("O", "H"), volume=1.0).coordination[-1] == 2


def test_bonds_of_water_across_the_boundary():
    water = molecule("H2O", cell=[8, 8, 8], pbc=True)
    box = water * (2, 1, 1)
    box.positions += [3.99, 7.7, 0.1]
    box.wrap()
    counts = bond_counts(box, {("O", "H"): 1.2, ("H", "H"): 1.7, ("O", "O"): 8.01, ("N", "H"): 1.2})
    # each O sees its own image at 8 Å along y and z, and the other O on both sides along x: 4 + 2 bonds
    i, j, _ = _all_pairs(box, 8.01)
    expected_oo = int(((box.numbers[i] == 8) & (box.numbers[j] == 8)).sum()) // 2
    assert counts == {("O", "H"): 4, ("H", "H"): 2, ("O", "O"): expected_oo, ("N", "H"): 0}
    assert expected_oo == 6
    assert bond_counts(box, {("H", "O"): 1.2}) == {("H", "O"): 4}
    with pytest.raises(InputError, match="Xy"):
        bond_counts(box, {("Xy", "O"): 1.0})
    with pytest.raises(InputError, match="positive"):
        bond_counts(box, {})


def test_coordination_numbers():
    for structure, cutoff, expected in (("fcc", 3.0, 12), ("bcc", 3.0, 8), ("sc", 3.7, 6)):
        atoms = bulk("Cu", structure, a=3.4 if structure == "bcc" else 3.6)
        assert coordination_numbers(atoms, cutoff).tolist() == [expected]
    with pytest.raises(InputError, match="positive"):
        coordination_numbers(bulk("Cu"), 0.0)
