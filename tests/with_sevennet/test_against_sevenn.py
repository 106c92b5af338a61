"""Equal to sevenn, the oracle: run by `make test-sevennet` in an environment of its own."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read

from idealflow.errors import InputError
from idealflow.forcefields import get_force_field, load_force_field, pretrained_force_field, weights_file
from idealflow.labelling import AseLabeller, close_workers
from idealflow.testing import check_labeller
from support.labelled_cells import copper_cells

pytestmark = pytest.mark.sevennet
FIRST_SET = Path(__file__).parents[2] / "workflows" / "benchmarks" / "data" / "first_set.xyz.gz"


def sheared_copper():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 1]]), scale_atoms=True)
    atoms.rattle(0.05, seed=0)
    return atoms


def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.symbols[0] = "Cu"
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 0.98]]), scale_atoms=True)
    return atoms


@pytest.mark.parametrize("name", ["7net-0", "7net-l3i5"])
@pytest.mark.parametrize("frame", [salt(), molecule("H2O", vacuum=6.0, pbc=True)], ids=["salt", "water"])
def test_energy_forces_and_stress_are_those_of_sevenn(name, frame):
    from sevenn.calculator import SevenNetCalculator  # not there when the other tests are collected

    ours, theirs = frame.copy(), frame.copy()
    species = sorted(set(frame.get_chemical_symbols()))
    ours.calc = get_force_field("sevennet", species=species, pretrained=name, precision="double").calculator()
    theirs.calc = SevenNetCalculator(name, device="cpu")
    assert abs(ours.get_potential_energy() - theirs.get_potential_energy()) / len(ours) < 2e-6
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=2e-5)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=0, atol=1e-6)


def test_labels_of_the_first_set_in_gas_are_sevenns():
    from sevenn.calculator import SevenNetCalculator

    first = read(FIRST_SET, ":")
    assert len(first) == 77
    for labelled in sorted(first, key=len)[::19]:
        atoms = labelled.copy()
        atoms.calc = SevenNetCalculator("7net-0", device="cpu")
        assert abs(atoms.get_potential_energy() - labelled.get_potential_energy()) / len(atoms) < 5e-5
        np.testing.assert_allclose(
            atoms.get_forces(), labelled.get_forces(), rtol=0, atol=0.01
        )  # it is kept with four digits


def test_a_species_that_the_weights_do_not_know_is_refused():
    with pytest.raises(InputError, match="the weights 7net-0 do not know Po; they know H, He"):
        get_force_field("sevennet", species=["Po", "Cu"])


def test_labels_of_a_kept_calculator_are_those_of_a_new_one_to_the_bit():
    labeller = AseLabeller("sevennet", {"precision": "double"})
    labeller.check_site(["Na", "Cl", "Cu"])
    check_labeller(labeller, sheared_copper())
    labeller.compute(salt() * (1, 1, 2))
    kept = labeller.compute(salt())
    close_workers()
    fresh = labeller.compute(salt())
    close_workers()
    assert kept.energy == fresh.energy
    assert np.array_equal(kept.forces, fresh.forces)
    assert np.array_equal(kept.stress, fresh.stress)
    assert kept.method == "SevenNet 7net-0 (stands in for DFT)"


def test_the_shipped_weights_are_a_start(tmp_path):
    weights = pretrained_force_field(weights_file("7net-0"), {"fit_learning_rate": 1e-3})
    assert len(weights.species) == 89
    cells = copper_cells(2, 1)
    before = weights.errors(cells)
    weights.start_here([salt()], [bulk("Al", cubic=True)])
    weights.fit(cells, steps=2, seed=1)
    after = load_force_field(weights.save(tmp_path / "a"))
    assert after.errors(cells)[:, 0].mean() < 0.1 * before[:, 0].mean()
    assert 0.0 < after.force_shift() < 0.1
