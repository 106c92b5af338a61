"""Molecules are taken whole or not at all, and keep a bond's length from everything else."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, molecule
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation
from test_cropping import sphere

from idealflow.core import crop_search
from idealflow.core.cropping.molecules import BODY, INCOMPLETE, find_molecules

COVALENT = {"O": 0.66, "H": 0.31, "N": 0.71, "C": 0.76}


class Flat:
    """An uncertainty that knows everything; crops then differ by their atoms alone."""

    cutoff = 5.0

    def __call__(self, atoms, indices=None):
        return np.ones(len(atoms) if indices is None else len(indices))


def liquid(name, spacing, repeat, seed):
    """Molecules on a grid, each turned and shifted at random, in a periodic box."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(cell=np.eye(3) * spacing * repeat, pbc=True)
    for place in np.ndindex(repeat, repeat, repeat):
        one = molecule(name)
        turn = Rotation.random(rng=rng).as_matrix()
        atoms += Atoms(one.numbers, (one.positions - one.positions.mean(axis=0)) @ turn.T + np.array(place) * spacing)
    atoms.wrap()
    return atoms


def formulas(atoms):
    """Formula of every bonded unit of nonmetal atoms in a periodic cell: an independent count."""
    reach = {(a, b): 1.25 * (COVALENT[a] + COVALENT[b]) for a in COVALENT for b in COVALENT}
    i, j = neighbor_list("ij", atoms, reach)
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(atoms), len(atoms)))
    unit = connected_components(graph, directed=False)[1]
    symbols = np.array(atoms.get_chemical_symbols())
    return ["".join(sorted(symbols[unit == k])) for k in range(unit.max() + 1)]


@pytest.mark.parametrize("seed", [0, 1287])
@pytest.mark.parametrize(
    "name", [("H2O", "HHO", 3.3), ("NH3", "HHHN", 3.6), ("CH3OH", "CHHHHO", 4.6)], ids=lambda n: n[0]
)
def test_molecules_of_a_liquid_are_whole_in_every_candidate(seed, name):
    kind, formula, spacing = name
    frame = liquid(kind, spacing, 6, seed)
    centre = int(np.random.default_rng(seed).integers(len(frame)))
    crops = crop_search(Flat(), frame, centre, 20, np.random.default_rng(seed), max_atoms=600)
    for crop in crops:
        assert set(formulas(crop.atoms)) == {formula}
        np.testing.assert_allclose(sphere(crop.atoms, crop.centre, 5.0), sphere(frame, centre, 5.0), atol=1e-10)


def test_gas_over_a_surface():
    slab = fcc111("Ir", (8, 8, 4), a=3.84, vacuum=None, periodic=True)
    slab.center(vacuum=8.0, axis=2)
    rng = np.random.default_rng(0)
    top = slab.positions[:, 2].max()
    for x, y in np.ndindex(6, 6):
        gas = molecule("NH3")
        turned = gas.positions @ Rotation.random(rng=rng).as_matrix().T
        slab += Atoms(gas.numbers, turned + np.array([3.6 * x + 1.0, 3.1 * y + 0.5, top + 4.0]))
    centre = int(np.argmin(np.linalg.norm(slab.positions - slab.positions[:256].mean(axis=0) - [0, 0, 3.3], axis=1)))
    crops = crop_search(
        Flat(),
        slab,
        centre,
        20,
        np.random.default_rng(1),
        max_atoms=300,
        max_composition_error=0.4,
        whole_if_small=False,
    )
    seen = set()
    for crop in crops:
        assert "vacuum" in crop.axes
        gas = crop.atoms[crop.atoms.numbers != 77]
        seen.add(len(gas))
        assert set(formulas(gas)) <= {"HHHN"}
    assert max(seen) > 0


def test_a_solid_has_no_molecules_and_a_network_is_a_body():
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3)
    metal, network = np.full(len(grid), 29), np.full(len(grid), 6)
    assert (find_molecules(metal, 2.5 * grid, 10.0) == BODY).all()
    assert (find_molecules(network, 1.5 * grid, 6.0) == BODY).all()


@pytest.mark.parametrize(("distance", "kind"), [(5.0, 0), (9.6, INCOMPLETE)])
def test_a_molecule_at_the_rim_is_not_taken_for_whole(distance, kind):
    numbers, vectors = np.array([7, 7]), np.array([[distance, 0, 0], [distance, 1.1, 0]])
    assert (find_molecules(numbers, vectors, 10.0) == kind).all()


def polymer(repeat=16, spacing=4.6):
    """Straight zigzag chains of CH2 along x, periodic, on a grid."""
    step, rise = 1.27, 0.43
    unit = Atoms(
        "CH2CH2",
        positions=[
            [0, 0, -rise], [0, 0.89, -rise - 0.63], [0, -0.89, -rise - 0.63],
            [step, 0, rise], [step, 0.89, rise + 0.63], [step, -0.89, rise + 0.63],
        ],
        cell=[2 * step, spacing, spacing],
        pbc=True,
    )  # fmt: skip
    frame = unit * (repeat, 6, 6)
    frame.rattle(0.02, seed=0)
    return frame


def test_cut_bonds_are_capped_with_hydrogen():
    frame = polymer()
    search = {"n_candidates": 30, "max_atoms": 600, "max_composition_error": 0.2}
    crops = crop_search(Flat(), frame, 0, rng=np.random.default_rng(0), hydrogen_caps=True, **search)
    bare = crop_search(Flat(), frame, 0, rng=np.random.default_rng(0), **search)
    bonds = {("C", "C"): 2.0, ("C", "H"): 1.35}
    assert sum(crop.notes["caps"] > 0 for crop in crops) > 0
    for crop in crops:
        caps = crop.parent_indices == -1
        assert caps.sum() == crop.notes["caps"]
        assert set(crop.atoms.symbols[caps]) <= {"H"}
        assert not (crop.core & caps).any()
        neighbours = np.bincount(neighbor_list("i", crop.atoms, bonds), minlength=len(crop.atoms))
        assert (neighbours[crop.atoms.numbers == 6] == 4).all()
        np.testing.assert_allclose(sphere(crop.atoms, crop.centre, 5.0), sphere(frame, 0, 5.0), atol=1e-10)
    assert any("cap would touch" in one.reason for one in crops.rejected)
    open_ends = [
        (
            np.bincount(neighbor_list("i", crop.atoms, bonds), minlength=len(crop.atoms))[crop.atoms.numbers == 6] < 4
        ).any()
        for crop in bare
    ]
    assert any(open_ends)
