"""Runs along temperatures: averages that are known, a run that was interrupted, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from idealflow import AseLabeller
from idealflow.analysis import heat
from idealflow.core.dynamics import LangevinSampler, NPTSampler
from idealflow.errors import InputError, LabelError, OtherSegmentError
from idealflow.labelling import Label
from idealflow.workflow.labellers import LabellerCalculator, reference_calculator
from support.md_worker import ExactEMT, Springs, copper


def test_atoms_on_springs_have_the_energy_of_equipartition():
    """3/2 kT an atom, whatever the spring; at constant volume the density is that of the cell."""
    atoms = copper(3, rattle=0.0)
    sampler = LangevinSampler(timestep=2.0, friction=0.05)
    rungs = heat(Springs(atoms.positions, k=5.0), atoms, [300.0, 600.0], steps=1500, sampler=sampler, seed=1)
    for rung, target in zip(rungs, (300.0, 600.0), strict=True):
        assert rung.target == target
        assert rung.energy == pytest.approx(1.5 * units.kB * target, rel=0.06)
        assert rung.temperature == pytest.approx(target, rel=0.06)
        assert rung.volume == pytest.approx(atoms.get_volume() / len(atoms))
        assert rung.density == pytest.approx(63.546 / rung.volume / units.mol * 1e24)


def test_at_no_pressure_a_crystal_expands():
    cold, hot = heat(ExactEMT(), copper(2), [100.0, 900.0], steps=300, sampler=NPTSampler(tau_cell=200.0))
    assert hot.volume > cold.volume
    assert hot.density < cold.density


def test_an_interrupted_run_goes_on_to_the_bit(tmp_path):
    class Interrupted(ExactEMT):
        left = 150

        def calculate(self, *args, **kwargs):
            type(self).left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            super().calculate(*args, **kwargs)

    asked = {"temperatures": [200.0, 400.0], "steps": 120}
    whole = heat(ExactEMT(), copper(2), **asked)
    file = tmp_path / "scan.npz"
    with pytest.raises(KeyboardInterrupt):
        heat(Interrupted(), copper(2), checkpoint=file, **asked)
    assert heat(ExactEMT(), copper(2), checkpoint=file, **asked) == whole
    Interrupted.left = 60  # what follows the last checkpoint, of step 200, is run again
    assert heat(Interrupted(), copper(2), checkpoint=file, **asked) == whole
    with pytest.raises(OtherSegmentError):
        heat(ExactEMT(), copper(2), checkpoint=file, temperatures=[200.0, 500.0], steps=120)


@pytest.mark.parametrize("asked", [{"temperatures": []}, {"steps": 5}, {"settle": 1.0}])
def test_impossible_numbers_are_refused(asked):
    with pytest.raises(InputError, match="heating needs a temperature, 20 or more steps"):
        heat(ExactEMT(), copper(2), **({"temperatures": [300.0], "steps": 100} | asked))


def test_a_system_that_blows_up_is_told():
    with pytest.raises(InputError, match=r"ended before its schedule did: step .*limit"):
        heat(Springs(copper(2).positions + 3.0, k=200.0), copper(2), [300.0], steps=100)


def test_the_engine_of_dynamics_is_the_labellers_calculator():
    labeller = AseLabeller("ase.calculators.emt.EMT")
    copied, each = bulk("Cu", cubic=True) * 2, reference_calculator(labeller)
    copied.rattle(0.1, seed=0)
    copied.calc = each
    label = labeller.compute(copied)
    assert type(each).__name__ == "EMT"
    assert copied.get_potential_energy() == label.energy
    np.testing.assert_array_equal(copied.get_forces(), label.forces)
    with pytest.raises(InputError, match="cannot import"):
        reference_calculator(AseLabeller("nowhere.Calculator"))


def test_any_other_labeller_is_asked_for_a_label_at_each_step():
    class Counting:
        n_asked = 0

        def label(self, atoms, directory):
            assert directory.is_dir()
            type(self).n_asked += 1
            if self.n_asked > 3:
                raise LabelError("no more")
            return Label(-1.0, np.zeros((len(atoms), 3)), None, "counted", 0.0), None

    atoms = bulk("Cu", cubic=True)
    atoms.calc = reference_calculator(Counting())
    assert isinstance(atoms.calc, LabellerCalculator)
    for _ in range(3):
        atoms.rattle(0.01)
        assert (atoms.get_potential_energy(), atoms.get_forces().shape) == (-1.0, (4, 3))
    assert "stress" not in atoms.calc.results
    atoms.rattle(0.01)
    with pytest.raises(LabelError, match="no more"):
        atoms.get_forces()
