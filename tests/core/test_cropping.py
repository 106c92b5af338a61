"""Crop search: the core is untouched, complete and alone, whatever the frame; candidates are what they claim to be."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import complete_cell
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.cropping import crop_search, vacuum_crop, whole_frame
from idealflow.core.cropping.surroundings import heights_of, images_within
from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.errors import InputError

CUTOFF = 4.2


class Coordination:
    """An uncertainty that a test can predict: 1 + |number of neighbours within 3.2 Å - 12|."""

    cutoff = CUTOFF

    def __call__(self, atoms, indices=None):
        offsets = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 3.2).offsets
        values = 1.0 + np.abs(np.diff(offsets) - 12.0)
        return values if indices is None else values[indices]


def sphere(atoms, index, cutoff=CUTOFF):
    """Species and vectors of everything within the cutoff of an atom, sorted; ase is the oracle."""
    if atoms.pbc.any():
        i, j, vector = primitive_neighbor_list("ijD", atoms.pbc, complete_cell(atoms.cell), atoms.positions, cutoff)
        j, vector = j[i == index], vector[i == index]
    else:
        j = np.flatnonzero(np.linalg.norm(atoms.positions - atoms.positions[index], axis=1) < cutoff)
        j = j[j != index]
        vector = atoms.positions[j] - atoms.positions[index]
    rows = np.column_stack([atoms.numbers[j], vector])
    return rows[np.lexsort(np.round(rows, 6).T)]


def assert_core_untouched(frame, frame_index, crop):
    expected, found = sphere(frame, frame_index), sphere(crop.atoms, crop.centre)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert crop.parent_indices[crop.centre] == frame_index
    assert (frame.numbers[crop.parent_indices] == crop.atoms.numbers).all()
    i, j = primitive_neighbor_list("ij", crop.atoms.pbc, crop.atoms.cell.array, crop.atoms.positions, CUTOFF)
    inside = set(j[i == crop.centre]) | {crop.centre}
    assert crop.cell_kind == "whole" or set(np.flatnonzero(crop.core)) == inside


def rattled(seed, size=(5, 5, 5), strain=0.08):
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True) * size
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3))), scale_atoms=True)
    atoms.rattle(0.12, seed=seed)
    atoms.positions += rng.uniform(-30, 30, 3)
    atoms.symbols[rng.permutation(len(atoms))[: len(atoms) // 4]] = "Ag"
    return atoms


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), centre=st.integers(0, 499), wrap=st.booleans())
def test_core_is_the_frames_in_every_candidate(seed, centre, wrap):
    frame = rattled(seed)
    if wrap:
        frame.wrap()
    crops = crop_search(Coordination(), frame, centre, n_candidates=10, rng=np.random.default_rng(seed))
    assert len(crops) + len(crops.rejected) >= 8
    for crop in crops:
        assert_core_untouched(frame, centre, crop)
        assert np.linalg.det(crop.atoms.cell.array) > 0
        assert heights_of(crop.atoms.cell.array).min() >= 2 * CUTOFF
        assert len(crop.atoms) <= 400
        assert crop.atoms.pbc.all()
        assert (crop.reference[crop.shell] == 1.0).all()
        assert (crop.reference[crop.core] >= 1.0).all()
        d = primitive_neighbor_list("d", [True] * 3, crop.atoms.cell.array, crop.atoms.positions, 3.2)
        assert crop.min_contact == pytest.approx(d.min())
    assert [crop.score for crop in crops] == sorted(crop.score for crop in crops)


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
def test_images_around_a_centre_equal_ases(pbc):
    atoms = rattled(3, (2, 3, 1), strain=0.3)
    atoms.pbc = pbc
    index, vector = images_within(atoms, 4, 9.0)
    i, j, expected = primitive_neighbor_list("ijD", atoms.pbc, atoms.cell.array, atoms.positions, 9.0)
    mine, theirs = np.column_stack([index, vector])[1:], np.column_stack([j, expected])[i == 4]
    assert index[0] == 4
    assert np.abs(vector[0]).max() == 0.0
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(
        mine[np.lexsort(np.round(mine, 6).T)], theirs[np.lexsort(np.round(theirs, 6).T)], atol=1e-10
    )


@pytest.mark.parametrize("pbc", [True, (False, True, True)])
@pytest.mark.parametrize("centre", [0, 700, 1999])
def test_images_in_a_frame_much_wider_than_the_radius_are_all_found(pbc, centre):
    rng = np.random.default_rng(3)
    cell = np.array([[40.0, 0.0, 0.0], [11.0, 35.0, 0.0], [-6.0, 4.0, 30.0]])
    atoms = Atoms(np.full(2000, 29), positions=rng.uniform(-1.0, 2.0, (2000, 3)) @ cell, cell=cell, pbc=pbc)
    index, vector = images_within(atoms, centre, 7.0)
    i, j, expected = primitive_neighbor_list("ijD", atoms.pbc, cell, atoms.positions, 7.0)
    order = np.argsort(np.linalg.norm(expected[i == centre], axis=1))
    assert index[1:].tolist() == j[i == centre][order].tolist()
    np.testing.assert_allclose(vector[1:], expected[i == centre][order], atol=1e-10)


def test_same_generator_gives_the_same_crops():
    frame = rattled(1)
    one, two = (crop_search(Coordination(), frame, 7, 15, np.random.default_rng(5)) for _ in range(2))
    assert [c.figures() for c in one] == [c.figures() for c in two]
    other = crop_search(Coordination(), frame, 7, 15, np.random.default_rng(6))
    assert [c.figures() for c in one] != [c.figures() for c in other]


def test_a_rotated_crystal_is_cropped_without_a_seam():
    frame = bulk("Cu", cubic=True) * (6, 6, 6)
    frame.rotate(37.0, (1.0, 2.0, 0.5), rotate_cell=True)
    best = crop_search(Coordination(), frame, 300, 30, np.random.default_rng(0))[0]
    assert best.cell_kind == "lattice"
    i, d = primitive_neighbor_list("id", [True] * 3, best.atoms.cell.array, best.atoms.positions, 3.2)
    assert (np.bincount(i) == 12).all()
    np.testing.assert_allclose(d, 3.61 / np.sqrt(2), rtol=1e-6)
    assert best.notes["removed"] == best.notes["filled"] == 0


def test_a_grain_in_a_frame_of_another_cell_is_cropped_commensurately():
    grain = bulk("Cu", cubic=True) * (9, 9, 9)
    grain.rotate(25.0, (0.3, 1.0, 0.7))
    middle = grain.positions.mean(axis=0)
    frame = grain[np.linalg.norm(grain.positions - middle, axis=1) < 15.5]
    frame.set_cell([40.0, 40.0, 40.0])
    frame.pbc = True
    frame.rattle(0.05, seed=0)
    centre = int(np.argmin(np.linalg.norm(frame.positions - middle, axis=1)))
    crops = crop_search(Coordination(), frame, centre, 30, np.random.default_rng(0))
    best = crops[0]
    assert best.cell_kind == "lattice"
    i = primitive_neighbor_list("i", [True] * 3, best.atoms.cell.array, best.atoms.positions, 3.1)
    assert (np.bincount(i, minlength=len(best.atoms)) == 12).mean() > 0.95
    axis = [crop.uncertainty for crop in crops if crop.cell_kind != "lattice"]
    assert best.uncertainty < 0.5 * np.median(axis)


def test_every_kind_of_candidate_is_drawn_with_its_own_margins():
    crops = crop_search(Coordination(), rattled(2, strain=0.2), 60, 40, np.random.default_rng(0))
    kinds = {crop.cell_kind for crop in crops}
    assert kinds == {"cartesian", "parent", "lattice"}
    cartesian = [crop for crop in crops if crop.cell_kind == "cartesian"]
    for crop in cartesian:
        np.testing.assert_allclose(crop.atoms.cell.angles(), 90.0)
        below = crop.atoms.positions[crop.centre]
        above = crop.atoms.cell.lengths() - below
        assert len({*np.round(below, 6), *np.round(above, 6)}) == 6


def test_a_frame_within_the_budget_is_used_whole_and_bit_for_bit():
    frame = rattled(4, (3, 3, 3))
    crops = crop_search(Coordination(), frame, 11)
    assert len(crops) == 1
    crop = crops[0]
    assert crop.cell_kind == "whole"
    assert (crop.atoms.positions == frame.positions).all()
    assert (crop.atoms.cell.array == frame.cell.array).all()
    assert (crop.parent_indices == np.arange(len(frame))).all()
    assert crop.core.all()
    assert crop.centre == 11
    cut = crop_search(Coordination(), frame, 11, max_atoms=100)
    assert all(len(c.atoms) <= 100 for c in cut)
    assert "whole" not in {c.cell_kind for c in cut}


def test_a_core_that_does_not_fit_is_refused_with_the_numbers():
    frame = bulk("Cu", cubic=True) * (6, 6, 6)
    with pytest.raises(InputError, match=r"max_atoms=40.*about (49|50|51) atoms.*Raise max_atoms"):
        crop_search(Coordination(), frame, 0, 20, max_atoms=40)
    with pytest.raises(InputError, match=r"8\.40 Å, got \(4\.0, 8\.0\)"):
        crop_search(Coordination(), frame, 0, cell_widths=(4.0, 8.0))
    with pytest.raises(InputError, match="864 atoms, got 900"):
        crop_search(Coordination(), frame, 900)
    frame.positions[3, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        crop_search(Coordination(), frame, 0)


def test_a_frame_thinner_than_twice_the_cutoff_keeps_its_vector():
    frame = bulk("Cu", cubic=True) * (2, 2, 30)
    frame.rattle(0.1, seed=1)
    assert heights_of(frame.cell.array)[0] < 2 * CUTOFF
    crops = crop_search(Coordination(), frame, 200, 20, np.random.default_rng(0), max_atoms=200)
    for crop in crops:
        kept = [k for k in range(3) if crop.axes[k] == "kept"]
        assert len(kept) == 2
        for k in kept:
            assert (np.abs(frame.cell.array - crop.atoms.cell.array[k]).sum(axis=1) == 0.0).any()
        assert_core_untouched(frame, 200, crop)


def test_the_ablation_arms():
    frame = rattled(5)
    chi = vacuum_crop(Coordination(), frame, 20)
    assert chi.core.all()
    assert_core_untouched(frame, 20, chi)
    assert heights_of(chi.atoms.cell.array).min() > CUTOFF + 8.0
    entire = whole_frame(Coordination(), frame, 20)
    assert len(entire.atoms) == 500
    assert entire.centre == 20
    assert (entire.atoms.positions == frame.positions).all()


def test_crops_survive_plain_data():
    frame = rattled(6)
    crop = crop_search(Coordination(), frame, 3, 8, np.random.default_rng(0))[0]
    again = type(crop).from_dict(json.loads(json.dumps(crop.to_dict())))
    assert again.figures() == crop.figures()
    assert (again.atoms.positions == crop.atoms.positions).all()
    assert (again.core == crop.core).all()
    assert again.limits == crop.limits


def test_figures_are_kept_for_every_candidate():
    frame = rattled(7)
    crops = crop_search(Coordination(), frame, 3, 30, np.random.default_rng(0), max_atoms=80)
    assert crops.rejected
    for one in crops.rejected:
        assert one.reason
        assert {"kind", "n_atoms", "cell"} <= set(one.figures)
    for crop in crops:
        figures = crop.figures()
        assert {"uncertainty", "uncertainty_max", "composition_error", "min_contact", "n_atoms", "cell"} <= set(figures)


def test_the_frame_is_looked_at_once_for_all_candidates():
    frame, looked = rattled(5), []

    class Watched(Coordination):
        def __call__(self, atoms, indices=None):
            if len(atoms) == len(frame):
                looked.append(np.asarray(indices))
            return super().__call__(atoms, indices)

    crops = crop_search(Watched(), frame, 30, n_candidates=8)
    assert len(looked) == 1
    assert set(looked[0]) == {int(i) for crop in crops for i in crop.parent_indices}


def test_an_atom_alone_in_space():
    frame = Atoms("Cu", positions=[[0.0, 0.0, 0.0]], pbc=False)
    crop = crop_search(Coordination(), frame, 0)[0]
    assert len(crop.atoms) == 1
    assert heights_of(crop.atoms.cell.array).min() > CUTOFF
