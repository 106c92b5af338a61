"""Open directions and left-handed cells: what the engine gets, and that the answer is that of the structure itself."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, molecule
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.labelling import AseLabeller, in_a_box
from idealflow.labelling.box import right_handed

RECORDER = '''
"""EMT whose energy tells the charge, spin and moments it was given, and which takes right-handed cells only."""
import numpy as np
from ase.calculators.emt import EMT

class Told(EMT):
    def calculate(self, atoms=None, *args, **kwargs):
        assert not atoms.pbc.all() or np.linalg.det(atoms.cell) > 0, "left-handed cell"
        super().calculate(atoms, *args, **kwargs)
        told = 100.0 * atoms.info.get("charge", 0.0) + 1000.0 * atoms.info.get("spin", 0.0)
        told += 10_000.0 * float(atoms.get_initial_magnetic_moments() @ np.arange(1, len(atoms) + 1))
        self.results["energy"] += told
        self.results["free_energy"] = self.results["energy"]
'''


def open_structures():
    film = fcc100("Cu", (2, 2, 4), a=3.6)  # as thick as its cell
    film.set_cell([*film.cell[:2], [0.0, 0.0, 7.2]])
    tilted = film.copy()
    tilted.set_cell([film.cell[0], film.cell[1] + film.cell[0], [2.0, 1.0, 5.0]])
    wire = bulk("Cu", cubic=True) * (2, 1, 1)
    wire.pbc = [True, False, False]
    backwards = film.copy()
    backwards.set_cell(film.cell[[1, 0, 2]])  # left-handed
    far = molecule("CO")
    far.positions += 1e3
    flat = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]], cell=[[0, 0, 0], [5, 5, 0], [0, 0, 0]], pbc=False)
    return {"film": film, "tilted": tilted, "wire": wire, "backwards": backwards, "far": far, "flat": flat}


@pytest.mark.parametrize("name", open_structures())
def test_boxed_atoms_have_the_energy_and_forces_of_the_open_ones(name):
    atoms = open_structures()[name]
    atoms.rattle(0.05, seed=1)
    boxed = in_a_box(atoms)
    assert boxed.pbc.all()
    assert np.linalg.det(boxed.cell) > 0
    atoms.calc, boxed.calc = EMT(), EMT()
    assert boxed.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(boxed.get_forces(), atoms.get_forces(), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_vacuum_stands_on_both_sides_of_every_open_direction(seed, pbc):
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 4.0 + rng.uniform(-1.5, 1.5, (3, 3))
    atoms = Atoms("Cu5", rng.uniform(-9, 9, (5, 3)), cell=cell * rng.choice([-1, 1]), pbc=pbc)
    boxed = in_a_box(atoms, vacuum=6.0)
    for axis in range(3):
        if pbc[axis]:
            assert np.array_equal(np.abs(boxed.cell[axis]), np.abs(atoms.cell[axis]))
            continue
        length = np.linalg.norm(boxed.cell[axis])
        direction = boxed.cell[axis] / length
        assert np.abs(direction @ np.delete(np.array(boxed.cell), axis, axis=0).T).max() < 1e-9
        along = boxed.positions @ direction
        assert length - np.ptp(along) >= 12.0 - 1e-9
        middle = (along.max() + along.min()) / 2.0 / length
        assert abs(middle - np.rint(middle - 0.5) - 0.5) < 1e-9
    np.testing.assert_allclose(
        boxed.positions - boxed.positions[0], atoms.positions - atoms.positions[0], atol=1e-9
    )  # translated, never turned


def test_a_box_that_is_roomy_keeps_its_length_and_a_periodic_one_everything():
    slab = fcc100("Cu", (2, 2, 3), vacuum=15.0)
    assert in_a_box(slab).cell[2, 2] == slab.cell[2, 2]
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=1)
    crystal.set_tags(range(4))
    boxed = in_a_box(crystal)
    assert boxed.positions.tobytes() == crystal.positions.tobytes()
    assert np.array_equal(boxed.cell, crystal.cell)
    assert "tags" not in boxed.arrays


def left_handed():
    atoms = bulk("Cu", cubic=True) * 2
    atoms.rattle(0.1, seed=2)
    strain = np.eye(3) + np.array([[0, 0.1, 0], [0, 0, 0.2], [0.05, 0, 0]])
    atoms.set_cell((atoms.cell.array @ strain)[[1, 0, 2]], scale_atoms=True)
    assert np.linalg.det(atoms.cell) < 0
    return atoms


def test_a_left_handed_cell_is_the_same_lattice_turned():
    atoms = left_handed()
    turned = right_handed(atoms.cell.array)
    assert np.linalg.det(turned) > 0
    integers = turned @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-12)
    assert np.array_equal(right_handed(turned), turned)


def told(monkeypatch, tmp_path):
    (tmp_path / "told.py").write_text(RECORDER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return AseLabeller("told.Told")


def test_the_worker_gets_what_decides_a_label(monkeypatch, tmp_path):
    engine, atoms = told(monkeypatch, tmp_path), left_handed()
    atoms.set_masses([100.0] * 32)
    plain = engine.compute(atoms)
    direct = atoms.copy()
    direct.calc = EMT()
    assert plain.energy == pytest.approx(direct.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(plain.forces, direct.get_forces(), atol=1e-9)
    np.testing.assert_allclose(plain.stress, direct.get_stress(), atol=1e-9)  # in the frame that was given
    shift = 1e-4  # and forces are the derivative of the energy there
    for sign in (1, -1):
        direct.positions[5, 1] += sign * shift * (1 if sign > 0 else 2)
        direct.info[f"e{sign}"] = engine.compute(direct).energy
    assert plain.forces[5, 1] == pytest.approx(-(direct.info["e1"] - direct.info["e-1"]) / (2 * shift), abs=1e-5)
    atoms.info.update(charge=-1, spin=2)
    moments = np.zeros(32)
    moments[[0, 9]] = 2.0, -1.0
    atoms.set_initial_magnetic_moments(moments)
    assert engine.compute(atoms).energy - plain.energy == pytest.approx(-100.0 + 2000.0 + 10_000.0 * (2.0 - 10.0))


def test_stress_is_given_for_three_periodic_directions_only():
    atoms = bulk("Cu", cubic=True)
    for pbc, expected in (((True, True, True), True), ((True, True, False), False), ((False, False, False), False)):
        atoms.pbc = pbc
        assert (AseLabeller("ase.calculators.emt.EMT").compute(atoms).stress is not None) is expected
