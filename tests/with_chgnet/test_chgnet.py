"""CHGNet as a label source, without its faults: run by `make test-chgnet` in an environment of its own."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from idealflow.errors import LabelError
from idealflow.labelling import AseLabeller, close_workers
from idealflow.labelling.chgnet import chgnet_calculator
from idealflow.testing import check_labeller

pytestmark = pytest.mark.chgnet


@pytest.fixture(scope="module", autouse=True)
def _no_worker_outlives_the_tests():
    yield
    close_workers()


def sheared_copper():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 1]]), scale_atoms=True)
    atoms.rattle(0.05, seed=0)
    return atoms


@pytest.fixture
def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 0.98]]), scale_atoms=True)
    return atoms


def said(atoms, calculator):
    frame = atoms.copy()
    frame.calc = calculator
    return frame.get_potential_energy(), frame.get_forces(), frame.get_stress()


def test_it_is_chgnet_in_right_handed_cells(salt):
    from chgnet.model.dynamics import CHGNetCalculator  # not there when the other tests are collected

    salt.set_cell(salt.cell.array * np.sign(np.linalg.det(salt.cell.array)))
    for ours, theirs in zip(
        said(salt, chgnet_calculator()), said(salt, CHGNetCalculator(use_device="cpu")), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_left_handed_cells_have_the_stress_of_the_same_crystal(salt):
    mirrored = salt.copy()
    mirrored.set_cell(-salt.cell.array)
    for one, other in zip(*(said(frame, chgnet_calculator()) for frame in (salt, mirrored)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_positions_that_are_not_finite_are_refused(salt):
    salt.positions[0, 0] = np.nan
    salt.calc = chgnet_calculator()
    with pytest.raises(ValueError, match="positions must be finite, atom 0"):
        salt.get_potential_energy()
    with pytest.raises(LabelError, match="not finite"):
        AseLabeller("chgnet").compute(salt)


def test_open_directions_have_no_images(salt):
    film = Atoms(salt.symbols, salt.positions, cell=[5.0, 5.0, 6.0], pbc=[True, True, False])
    far = film.copy()
    far.cell[2] = [0.0, 0.0, 40.0]
    one, other = (AseLabeller("chgnet").compute(frame) for frame in (film, far))
    assert one.stress is None
    assert one.energy == pytest.approx(other.energy, abs=1e-5)


def test_labels_of_a_kept_calculator_are_those_of_a_new_one_to_the_bit(salt):
    labeller = AseLabeller("chgnet")
    check_labeller(labeller, sheared_copper())
    labeller.compute(salt * (1, 1, 2))
    kept = labeller.compute(salt)
    close_workers()
    fresh = labeller.compute(salt)
    assert kept.energy == fresh.energy
    assert np.array_equal(kept.forces, fresh.forces)
    assert np.array_equal(kept.stress, fresh.stress)
    assert kept.method == "CHGNet 0.3.0 (stands in for DFT)"
