"""Surfaces in gas: cells keep vacuum, molecules and adsorbates, and clusters stand beside them."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.geometry import get_distances

from idealflow.core import crop_search, embed, relax_shell
from idealflow.core.cropping.binding import find_binding
from idealflow.core.cropping.clusters import clusters, lattice_around, planes_of
from idealflow.core.cropping.contacts import select
from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import survey
from idealflow.core.cropping.vacuum import find_empty_space, keep_vacuum
from idealflow.core.embedding.bonds import HELD, STIFF, find_bonds
from idealflow.core.embedding.constraints import GeometryRules
from idealflow.errors import InputError
from idealflow.structures import gas_around, particle, slab

CUTOFF = 4.5


class Coordination:
    """Uncertainty that grows with how far the number of neighbours within 3.2 Å is from that in bulk, with a gradient of 0."""

    cutoff = CUTOFF

    def __call__(self, atoms, indices=None):
        i, counts = find_pairs(atoms, 3.2)
        values = 1.0 + np.abs(12.0 - np.bincount(i, counts, len(atoms)))
        return values if indices is None else values[indices]

    def value_and_gradient(self, atoms, *_, **__):
        return 0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3))


def find_pairs(atoms, reach):
    from ase.neighborlist import primitive_neighbor_list

    i, d = primitive_neighbor_list("id", atoms.pbc, atoms.cell.complete().array, atoms.positions, reach)
    return i, np.ones(len(d))


@pytest.fixture(scope="module")
def frame() -> Atoms:
    """A particle with nitrogen on it, in hot gas: bonds of H2 are up to 1.1 Å long."""
    body = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, box=28.0)
    atoms = gas_around(body, {"N2": 30, "H2": 40}, adsorbed={"N": 20})
    rng = np.random.default_rng(0)
    atoms.positions[:201] += rng.normal(0.0, 0.08, (201, 3))
    hydrogen = np.flatnonzero(atoms.symbols == "H").reshape(-1, 2)
    for first, second in hydrogen:
        bond = atoms.positions[second] - atoms.positions[first]
        atoms.positions[second] += (rng.uniform(0.7, 1.1) / np.linalg.norm(bond) - 1.0) * bond
    return atoms


def lengths(atoms, chosen_a, chosen_b):
    return get_distances(atoms.positions[chosen_a], atoms.positions[chosen_b], cell=atoms.cell, pbc=True)[1]


def partners(atoms, limit):
    """Index of the atom bonded to each hydrogen and nitrogen atom of a molecule, by distance alone."""
    found = {}
    for symbol, longest in limit.items():
        mine = np.flatnonzero(atoms.symbols == symbol)
        distance = lengths(atoms, mine, mine) + 99.0 * np.eye(len(mine))
        for row in np.flatnonzero(distance.min(axis=1) < longest):
            found[int(mine[row])] = int(mine[distance[row].argmin()])
    return found


def test_a_particle_in_gas_keeps_vacuum_molecules_and_adsorbates_in_every_candidate(frame):
    bonded = partners(frame, {"H": 1.15, "N": 1.5})
    metal = np.flatnonzero(frame.symbols == "Ir")
    light = np.setdiff1d(np.arange(len(frame)), metal)
    held = {int(one) for one in light[lengths(frame, light, metal).min(axis=1) < 2.4]}
    assert len(bonded) == 140
    assert len(held) >= 20
    for centre in (0, 17, 66):
        crops = crop_search(Coordination(), frame, centre, 15, np.random.default_rng(0), max_atoms=300)
        with_gas = {bool(crop.notes.get("gas")) for crop in crops if "vacuum" in crop.axes}
        assert with_gas == {True, False}
        for crop in crops:
            assert "vacuum" in crop.axes
            assert "surface_rule_waived" not in crop.notes
            atoms, parents = crop.atoms, crop.parent_indices.tolist()
            iridium = np.flatnonzero(atoms.symbols == "Ir")
            for row, parent in enumerate(parents):
                if parent in bonded:
                    others = [k for k, other in enumerate(parents) if other == bonded[parent]]
                    assert others
                    assert lengths(atoms, [row], others).min() < 1.5
                if parent in held:
                    assert lengths(atoms, [row], iridium).min() < 2.6


def test_molecules_do_not_end_the_empty_space_of_a_surface():
    body = slab("Ir", miller=(1, 1, 1), layers=6, repeat=(6, 6), vacuum=9.0, a=3.88)
    body.pbc = True
    top = int(body.positions[:, 2].argmax())
    above = molecule("N2")
    above.positions += body.positions[top] + [0.0, 0.0, 6.0]
    sur = survey(body + above, top, CUTOFF, 14.0)
    assert sur.gas.sum() >= 2
    space = find_empty_space(sur)
    assert space.normal[2] > 0.99
    box = Box(np.eye(3) * 9.5, np.full(3, -4.75), ("periodic",) * 3, "cartesian")
    assert keep_vacuum(box, select(sur, box), sur, 10.0).axes == ("periodic", "periodic", "vacuum")


def test_a_liquid_on_a_metal_fills_the_space_and_a_far_molecule_has_no_metal_in_its_cell(frame):
    metal = fcc111("Ir", (4, 4, 4), a=3.88, vacuum=0.0, periodic=True)
    grid = np.stack(np.meshgrid(*3 * [np.arange(4) * 2.6], indexing="ij"), axis=-1).reshape(-1, 3)
    water = Atoms()
    for place in np.add(grid, [0.0, 0.0, metal.positions[:, 2].max() + 2.8]):
        one = molecule("H2O")
        one.positions += place
        water += one
    wet = metal + water
    wet.cell[2] = [0.0, 0.0, float(np.ptp(wet.positions[:, 2])) + 2.6]
    assert not survey(wet, 60, CUTOFF, 12.0).gas.any()
    nitrogen = np.flatnonzero(frame.symbols == "N")
    metals = np.flatnonzero(frame.symbols == "Ir")
    far = int(nitrogen[lengths(frame, nitrogen, metals).min(axis=1).argmax()])
    for crop in crop_search(Coordination(), frame, far, 8, np.random.default_rng(0), max_atoms=200):
        assert "Ir" not in crop.atoms.symbols


def test_a_surface_that_no_cell_keeps_is_refused_or_waived_on_record():
    pore = fcc111("Cu", (8, 8, 9), periodic=True, vacuum=0.0)
    pore.rattle(0.05, seed=1)
    middle = pore.positions.mean(axis=0)
    pore = pore[np.linalg.norm(pore.positions - middle, axis=1) > 4.5]  # a hole too small for the vacuum of a crop
    near = int(np.linalg.norm(pore.positions - middle, axis=1).argmin())
    rules = {"max_atoms": 250, "hydrogen_caps": True}  # with caps there are no clusters
    if find_empty_space(survey(pore, near, CUTOFF, 14.0)).normal is None:
        raise AssertionError("the hole must be seen")
    with pytest.raises(
        InputError, match=r"keeps the empty space that the centre looks into; .*et waive_surface_rule to true"
    ):
        crop_search(Coordination(), pore, near, 12, np.random.default_rng(0), **rules)
    crops = crop_search(Coordination(), pore, near, 12, np.random.default_rng(0), **rules, waive_surface_rule=True)
    assert all(crop.figures()["surface_rule_waived"] == 1.0 for crop in crops)


def test_clusters_hold_the_core_and_are_bounded_by_lattice_planes():
    atoms = particle("Pt", shape="octahedron", length=9, cut=3, box=44.0)
    for centre in (0, 100, 200):
        sur = survey(atoms, centre, CUTOFF, 18.0)
        basis = lattice_around(sur)
        assert abs(np.linalg.det(basis)) == pytest.approx(3.92**3 / 4, rel=0.02)
        normals = planes_of(basis)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        assert len(normals) == 14
        made = list(clusters(sur, 8, 10.0, np.random.default_rng(0)))
        assert len({tuple(one.sel.images) for one in made}) == len(made) == 8
        assert max(np.linalg.norm(one.sel.vectors, axis=1).max() for one in made) > CUTOFF + 2.0 * sur.nearest
        for one in made:
            assert one.sel.core.sum() == (np.linalg.norm(sur.vectors, axis=1) <= CUTOFF).sum()
            heights = one.sel.vectors @ normals.T
            left_out = np.setdiff1d(np.arange(len(sur.indices)), one.sel.images)
            neighbours = (lengths_between(sur.vectors, one.sel.vectors) < 3.3).sum(axis=1)
            # every atom that is left out stands beyond a plane that no atom of the cluster reaches, or would be a sharp corner
            beyond = ((sur.vectors[left_out] @ normals.T) > heights.max(axis=0) + 0.5).any(axis=1)
            assert (beyond | (neighbours[left_out] < 6)).all()
            # and no other atom is one, but for those next to the core
            far = np.linalg.norm(one.sel.vectors, axis=1) > CUTOFF + sur.nearest
            assert (neighbours[one.sel.images][far] - 1 >= 6).all()


def lengths_between(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def test_adsorbates_and_gas_are_told_from_oxides_and_bodies():
    surface = fcc111("Al", (4, 4, 4), vacuum=9.0, periodic=True)
    add_adsorbate(surface, "O", 1.2, "fcc")
    add_adsorbate(surface, molecule("H2"), 5.0, "ontop")
    found = find_binding(surface.numbers, surface.positions)
    assert found.adsorbed[-3:].tolist() == [True, False, False]
    assert found.gas[-3:].tolist() == [False, True, True]
    oxide = particle("Al2O3", crystal="corundum", n_atoms=240, box=40.0)
    assert not find_binding(oxide.numbers, oxide.positions).adsorbed.any()
    assert not find_binding(oxide.numbers, oxide.positions).gas.any()


def test_a_relaxation_keeps_bonds_in_their_range_and_its_penalty_has_the_exact_gradient(frame):
    crop = next(
        one
        for one in crop_search(Coordination(), frame, 0, 15, np.random.default_rng(0), max_atoms=300)
        if one.notes.get("gas")
    )
    rules = GeometryRules(crop, CUTOFF, crop.limits)
    positions, cell = crop.atoms.positions, crop.atoms.cell.array
    assert rules.penalty(positions, cell)[3].bond >= 0.0
    bonds = find_bonds(crop.atoms.numbers, positions, cell)
    distance = bonds.distances(positions, cell)[0]
    rigid = bonds.least > 0.0
    assert bonds.most[rigid] == pytest.approx((1.0 + STIFF) * distance[rigid])
    assert bonds.most[~rigid] == pytest.approx(HELD * distance[~rigid])
    free = next(
        k for k, (a, b) in enumerate(zip(bonds.i, bonds.j, strict=True)) if rigid[k] and crop.shell[[a, b]].all()
    )
    pulled = positions.copy()
    pulled[bonds.j[free]] += 0.2 * bonds.distances(positions, cell)[1][free]
    assert not rules.penalty(pulled, cell)[3].allowed

    moved = positions + np.random.default_rng(1).normal(0.0, 0.02, positions.shape)
    _, by_position, by_cell, _ = rules.penalty(moved, cell)
    for atom, axis in ((int(bonds.i[free]), 0), (int(bonds.j[free]), 1), (int(bonds.j[-1]), 2)):
        ends = []
        for step in (1e-5, -1e-5):
            shifted = moved.copy()
            shifted[atom, axis] += step
            ends.append(rules.penalty(shifted, cell)[0])
        assert by_position[atom, axis] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-5)
    ends = [rules.penalty(moved, cell + step * np.eye(3)[[0]].T @ np.eye(3)[[1]])[0] for step in (1e-5, -1e-5)]
    assert by_cell[0, 1] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-4)


def test_larger_crops_are_tried_when_none_keeps_its_core(frame, monkeypatch):
    found = crop_search(Coordination(), frame, 0, 15, np.random.default_rng(0), max_atoms=300)
    crops = sorted(found, key=lambda crop: len(crop.atoms))
    sizes = [len(crop.atoms) for crop in crops]
    broken = max(sizes[:2])

    def relaxed(u, crop, **options):
        found = relax_shell(u, crop, max_steps=1)
        return replace(found, core_worsening=3.0 if len(crop.atoms) <= broken else 1.0, shell_ratio=5.0)

    monkeypatch.setattr(sys.modules["idealflow.core.embedding.embed"], "relax_shell", relaxed)
    tried = embed(Coordination(), crops, max_crops=2)
    first_larger = next(index for index, size in enumerate(sizes) if index >= 2 and size > broken)
    assert tried[0].index == first_larger
    assert len(tried) == 3
    assert isinstance(tried[0].crop, Crop)
