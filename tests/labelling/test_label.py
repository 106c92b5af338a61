"""Labels are finite and of the right shape; keys are stable."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.errors import InputError, LabelError
from idealflow.labelling import Label, geometry_key


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"energy": float("nan")}, "energy is not finite"),
        ({"energy": None}, "energy must be|energy is not finite"),
        ({"energy": [1.0, 2.0]}, r"energy must have shape \(\)"),
        ({"forces": [[0, 0, np.inf]]}, "forces is not finite: 1 of 3"),
        ({"forces": [[0, 0]]}, r"forces must have shape \('n_atoms', 3\), got \(1, 2\)"),
        ({"forces": "none"}, "forces must be numbers"),
        ({"stress": np.zeros((3, 3))}, r"stress must have shape \(6,\)"),
        ({"stress": [np.nan] * 6}, "stress is not finite: 6 of 6"),
    ],
)
def test_wrong_values_are_refused_with_the_cause(values, message):
    with pytest.raises(LabelError, match=message):
        Label(**{"energy": 0.0, "forces": np.zeros((1, 3)), "stress": None} | values)


def test_label_is_its_own_copy():
    forces = np.ones((2, 3))
    label = Label(1, forces, [0] * 6).with_details(method="EMT", seconds=2.0)
    forces[:] = 0
    assert label.forces.min() == 1
    assert (label.method, label.seconds, label.n_atoms, label.energy) == ("EMT", 2.0, 2, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        label.forces[0] = 0


def atoms_with(value=0.0):
    atoms = bulk("Cu", cubic=True)
    atoms.positions[1, 1] = value
    return atoms


@settings(deadline=None)
@given(st.floats(-50, 50))
def test_key_sees_a_microangstrom_but_not_less(value):
    value = round(value, 6)
    key = geometry_key(atoms_with(value), {})
    assert geometry_key(atoms_with(value + 3e-7), {}) == key
    assert geometry_key(atoms_with(value - 3e-7), {}) == key
    assert geometry_key(atoms_with(value + 1.6e-6), {}) != key


def test_key_has_one_zero_and_reads_settings_in_any_order():
    assert geometry_key(atoms_with(-0.0), {"a": 1, "b": -0.0}) == geometry_key(atoms_with(0.0), {"b": -0.0, "a": 1})
    assert geometry_key(atoms_with(-1e-9), {}) == geometry_key(atoms_with(1e-9), {})


def test_key_tells_everything_apart_that_changes_a_label():
    base = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    variants = [base.copy() for _ in range(7)]
    variants[1].numbers[0] = 19
    variants[2].pbc[2] = False
    variants[3].cell[0, 1] += 1e-5
    variants[4].positions[0, 0] += 1e-5
    variants[5] = base[[1, 0, *range(2, 8)]]
    variants[6].set_initial_magnetic_moments([1.0] * 8)
    keys = [geometry_key(atoms, {"ecut": 400}) for atoms in variants] + [geometry_key(base, {"ecut": 401})]
    assert len(set(keys)) == 8
    assert geometry_key(base.copy(), {"ecut": 400}) == keys[0]


def test_key_counts_charge_and_spin_and_leaves_out_what_is_of_the_dynamics():
    plain = bulk("Cu", cubic=True)
    key = geometry_key(plain, {})
    moved = plain.copy()
    moved.set_masses([65.0] * 4)
    moved.set_constraint(FixAtoms([0]))
    moved.set_tags([1, 2, 3, 4])
    moved.info.update(charge=0, spin=1)  # a neutral singlet is what a plain structure is
    assert geometry_key(moved, {}) == key
    others = [plain.copy() for _ in range(3)]
    for atoms, totals in zip(others, ({"charge": 1}, {"spin": 2}, {"charge": 1, "spin": 2}), strict=True):
        atoms.info.update(totals)
    assert len({key, *(geometry_key(atoms, {}) for atoms in others)}) == 4


def test_key_is_the_same_in_another_process():
    code = (
        "from ase.build import bulk; from idealflow.labelling import geometry_key;"
        "print(geometry_key(bulk('Cu', cubic=True), {'k': [1.5, 'x'], 'a': None}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == geometry_key(bulk("Cu", cubic=True), {"a": None, "k": (1.5, "x")})


def test_key_refuses_what_has_no_stable_form():
    with pytest.raises(InputError, match="positions must be finite"):
        geometry_key(Atoms("H", [[np.nan, 0, 0]]), {})
    with pytest.raises(InputError, match="plain values"):
        geometry_key(Atoms("H"), {"object": object()})
