"""Crop search on compounds, surfaces and particles: composition, charge, contacts, and empty space."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.cluster import Octahedron
from ase.neighborlist import primitive_neighbor_list
from test_cropping import CUTOFF, Coordination, assert_core_untouched

from idealflow.core.cropping import crop_search
from idealflow.core.cropping.contacts import composition_distance
from idealflow.core.cropping.surroundings import contact_limits, heights_of
from idealflow.errors import InputError
from idealflow.structures import crystal


def chain(n_units=14):
    """Al-O chains, 1.8 Å apart along x and 2.8 Å across, the charges of neighbours alternating."""
    a = 1.8
    atoms = Atoms("AlO", positions=[[0, 0, 0], [a, 0, 0]], cell=[2 * a, 2.8, 2.8], pbc=True)
    return atoms * (n_units, 8, 8)


def nearest_alike(atoms):
    i, j, d = primitive_neighbor_list("ijd", [True] * 3, atoms.cell.array, atoms.positions, 3.4)
    along = d < 2.0
    return (atoms.numbers[i[along]] == atoms.numbers[j[along]]).sum()


def test_a_chain_cut_between_like_atoms_is_not_chosen():
    """The paper's example: a box that cuts an Al-O chain so that Al meets Al is worse than one cut Al-O."""
    frame = chain()
    crops = crop_search(Coordination(), frame, 300, 40, np.random.default_rng(0), max_atoms=500)
    assert nearest_alike(crops[0].atoms) == 0
    assert crops[0].composition_error == 0.0
    counts = Counter(crops[0].atoms.symbols)
    assert counts["Al"] == counts["O"]
    # chains cut at odd lengths are among the candidates: like atoms meet, one of them goes, the composition suffers
    assert max(crop.composition_error for crop in crops) > 0.02
    assert all(nearest_alike(crop.atoms) == 0 for crop in crops)


def test_composition_has_a_hard_limit():
    frame = chain()
    crops = crop_search(
        Coordination(), frame, 300, 40, np.random.default_rng(0), max_atoms=500, max_composition_error=0.01
    )
    refused = [one.figures["composition_error"] for one in crops.rejected if "composition error" in one.reason]
    assert refused
    # the limit is 0.01 beyond what the ball around the centre itself shows
    assert max(crop.composition_error for crop in crops) < min(refused) < 0.05
    assert composition_distance(np.array([13, 13, 8]), {13: 0.5, 8: 0.5}) == pytest.approx(1 / 6)


def test_oxidation_states_make_every_crop_neutral():
    frame = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (5, 5, 5)
    frame.rattle(0.1, seed=0)
    charges = {"Na": 1.0, "Cl": -1.0}
    crops = crop_search(Coordination(), frame, 9, 30, np.random.default_rng(0), oxidation_states=charges)
    for crop in crops:
        assert sum(charges[s] for s in crop.atoms.symbols) == 0.0
        assert_core_untouched(frame, 9, crop)
    assert any(crop.notes["neutralised"] for crop in crops)
    plain = crop_search(Coordination(), frame, 9, 30, np.random.default_rng(0))
    assert any(sum(charges[s] for s in crop.atoms.symbols) for crop in plain)
    with pytest.raises(
        InputError,
        match=r"atom and is neutral by oxidation_states \(correct.*; .* Correct oxidation_states or leave them out, widen",
    ) as told:
        crop_search(Coordination(), frame, 9, 10, oxidation_states={"Na": 0.31, "Cl": 0.17})  # no sum of these is zero
    assert "aise max_atoms" not in str(told.value)
    with pytest.raises(InputError, match="Cl"):
        crop_search(Coordination(), frame, 9, oxidation_states={"Na": 1.0})
    with pytest.raises(InputError, match="symbols"):
        crop_search(Coordination(), frame, 9, oxidation_states={"Na": 1.0, "Cl": -1.0, "Qq": 0.0})


def test_holes_in_a_hot_oxide_are_filled_with_what_the_cell_lacks():
    """Where oxygen meets oxygen one goes; aluminium, being small, would fit in, and the charge could not be removed."""
    frame = crystal("Al2O3", "corundum", repeat=[3, 3, 1])
    frame.rattle(0.35, seed=0)
    charges = {"Al": 3.0, "O": -2.0}
    for centre in (0, 100, 200):
        crops = crop_search(
            Coordination(), frame, centre, 20, np.random.default_rng(0), oxidation_states=charges, max_atoms=200
        )
        assert len(crops) >= 17  # 12 to 15 when whatever fits was taken
        assert any(crop.notes["filled"] for crop in crops)


def test_contacts_are_resolved_and_counted():
    frame = bulk("Cu", cubic=True) * (7, 7, 7)
    frame.rattle(0.25, seed=3)
    crops = crop_search(Coordination(), frame, 600, 30, np.random.default_rng(1))
    whole = primitive_neighbor_list("d", frame.pbc, frame.cell.array, frame.positions, 3.0).min()
    for crop in crops:
        limit = crop.limits.of(29, 29)
        assert 0.7 * 2 * 1.32 * 0.99 <= limit <= whole or limit <= 0.95 * 1.001 * whole
        assert crop.min_contact >= min(limit, whole)
    assert any(crop.notes["removed"] for crop in crops)
    assert all(
        crop.min_contact >= min(2.1, whole)
        for crop in crop_search(Coordination(), frame, 600, 10, np.random.default_rng(1), min_contact=2.1)
    )


def test_limits_follow_the_frame_in_ionic_crystals():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (3, 3, 3)
    limits = contact_limits(atoms.numbers, atoms.positions, None)
    assert limits.of(11, 17) == pytest.approx(0.85 * 2.8)
    assert limits.of(17, 17) == pytest.approx(0.85 * 2.8 * np.sqrt(2))
    assert limits.of(8, 17) == pytest.approx(0.7 * (0.66 + 1.02))


@pytest.fixture(scope="module")
def slab():
    atoms = fcc111("Cu", (9, 9, 12), vacuum=8.0)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("periodic", [True, False])
def test_a_surface_crop_keeps_its_surface(slab, periodic):
    frame = slab.copy()
    if not periodic:
        frame.pbc = [True, True, False]
        frame.cell[2] = 0.0
    top = int(np.argmax(frame.positions[:, 2]))
    crops = crop_search(Coordination(), frame, top, 20, np.random.default_rng(0))
    assert {crop.axes.count("vacuum") for crop in crops} == {1, 3}
    for crop in crops:
        assert crop.cell_kind == "cluster" or crop.axes.count("vacuum") == 1
        assert_core_untouched(frame, top, crop)
        if crop.cell_kind == "cluster":
            continue
        axis = crop.axes.index("vacuum")
        cell = crop.atoms.cell.array
        frac = np.sort(np.linalg.solve(cell.T, crop.atoms.positions.T)[axis] % 1.0)
        gaps = np.diff(np.append(frac, frac[0] + 1.0)) * heights_of(cell)[axis]
        assert gaps.max() >= 9.99


def test_a_bulk_crop_of_a_slab_is_not_given_a_surface(slab):
    middle = int(np.argmin(np.linalg.norm(slab.positions - slab.positions.mean(axis=0), axis=1)))
    for crop in crop_search(Coordination(), slab, middle, 20, np.random.default_rng(0)):
        assert "vacuum" not in crop.axes
        assert_core_untouched(slab, middle, crop)
    z = slab.positions[:, 2]
    below = int(np.argsort(np.abs(z - (z.max() - 4.7)))[0])
    crops = crop_search(
        Coordination(), slab, below, 20, np.random.default_rng(0), cell_widths=(2 * CUTOFF, 2 * CUTOFF + 6)
    )
    assert all("vacuum" not in crop.axes for crop in crops)
    assert any("given a surface" in one.reason for one in crops.rejected)


def test_a_film_thinner_than_any_cell_may_show_the_faces_that_it_has():
    thin = fcc111("Cu", (10, 10, 5), vacuum=8.0)  # the middle atom's core is bulk
    thin.rattle(0.05, seed=1)
    middle = int(np.argmin(np.linalg.norm(thin.positions - thin.positions.mean(axis=0), axis=1)))
    crops = crop_search(Coordination(), thin, middle, 12, np.random.default_rng(0))
    for crop in crops:
        assert crop.figures()["reaches_surface"] == 1.0
        assert_core_untouched(thin, middle, crop)
    assert any("given a surface" in one.reason for one in crops.rejected)


@pytest.mark.parametrize("box", [True, False])
def test_particles(box):
    frame = Octahedron("Cu", 13, 4)
    if box:
        frame.center(vacuum=9.0)
        frame.pbc = True
    distance = np.linalg.norm(frame.positions - frame.positions.mean(axis=0), axis=1)
    corner, middle = int(np.argmax(distance)), int(np.argmin(distance))
    for crop in crop_search(Coordination(), frame, corner, 12, np.random.default_rng(0)):
        assert "vacuum" in crop.axes
        assert_core_untouched(frame, corner, crop)
    for crop in crop_search(Coordination(), frame, middle, 12, np.random.default_rng(0)):
        assert "vacuum" not in crop.axes
        assert_core_untouched(frame, middle, crop)


def test_a_wire_thinner_than_any_bulk_cell_keeps_its_sides_open():
    frame = bulk("Cu", cubic=True) * (2, 2, 40)
    frame.set_cell(np.diag(frame.cell.lengths() + np.array([14.0, 14.0, 0.0])))
    for index in (0, 3):
        for crop in crop_search(Coordination(), frame, index, 12, np.random.default_rng(0), max_atoms=200):
            assert crop.axes.count("vacuum") >= 1
            assert_core_untouched(frame, index, crop)


def test_a_small_cluster_without_periodicity_is_put_into_space():
    frame = Octahedron("Cu", 5, 1)
    frame.pbc = False
    frame.cell = None
    crop = crop_search(Coordination(), frame, 0)[0]
    assert crop.cell_kind == "whole"
    assert crop.axes == ("vacuum", "vacuum", "vacuum")
    assert_core_untouched(frame, 0, crop)
    d = primitive_neighbor_list("S", [True] * 3, crop.atoms.cell.array, crop.atoms.positions, 9.9)
    assert not d.any()


@pytest.mark.parametrize("defect", ["antisite", "impurity"])
def test_a_centre_that_is_the_defect_does_not_mislead_the_lattice(defect):
    frame = Atoms("AlNi3", cell=np.eye(3) * 3.57, scaled_positions=bulk("Cu", cubic=True).get_scaled_positions())
    frame = Atoms(frame, pbc=True) * (6, 6, 6)
    frame.rotate(20.0, (1.0, 2.0, 3.0), rotate_cell=True)
    frame.symbols[401] = "Al" if defect == "antisite" else "Cu"
    best = crop_search(Coordination(), frame, 401, 20, np.random.default_rng(0), max_atoms=300)[0]
    assert best.cell_kind == "lattice"
    i, j = primitive_neighbor_list("ij", [True] * 3, best.atoms.cell.array, best.atoms.positions, 2.8)
    aluminium = best.atoms.symbols == "Al"
    ordered = np.setdiff1d(np.flatnonzero(aluminium), [best.centre])
    # in L1_2 every aluminium has twelve nickel neighbours; only those beside the defect may differ
    wrong = [a for a in ordered if best.centre not in j[i == a] and aluminium[j[i == a]].any()]
    assert wrong == []
