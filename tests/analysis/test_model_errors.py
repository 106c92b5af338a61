"""Errors of models on labelled frames."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from idealflow.analysis import compare_on_frames, mean_errors
from idealflow.errors import InputError


def shifted(seed, energy=0.0, force=0.0, stress=None):
    """A frame labelled with EMT's results, off by so much."""
    atoms = bulk("Cu", cubic=True) * 2
    atoms.rattle(0.1, seed=seed)
    atoms.calc = EMT()
    label = {"energy": atoms.get_potential_energy() + energy * len(atoms), "forces": atoms.get_forces() + force}
    if stress is not None:
        label["stress"] = atoms.get_stress() + stress
    atoms.calc = SinglePointCalculator(atoms, **label)
    return atoms


def test_errors_are_those_of_the_model_less_the_label():
    frames = [shifted(0, energy=0.01, force=-0.2, stress=0.003), shifted(1, energy=-0.03, force=0.4)]
    found = compare_on_frames({"EMT": EMT()}, frames)["EMT"]
    assert [error.energy for error in found] == pytest.approx([-0.01, 0.03])
    assert [error.force for error in found] == pytest.approx([0.2, 0.4])
    assert found[0].stress == pytest.approx(0.003)
    assert found[1].stress is None
    means = mean_errors(found)
    assert (means.n_frames, means.stress_mae) == (2, pytest.approx(0.003))
    assert (means.energy_bias, means.energy_mae, means.force_mae) == pytest.approx((0.01, 0.02, 0.3))
    assert isinstance(frames[0].calc, SinglePointCalculator)  # frames stay as they were


def test_frames_without_a_label_are_refused():
    with pytest.raises(InputError, match="frame 1 has no energy or forces"):
        compare_on_frames({"EMT": EMT()}, [shifted(0), bulk("Cu")])
    with pytest.raises(InputError, match="no frame to average"):
        mean_errors([])
    assert compare_on_frames({"EMT": EMT()}, []) == {"EMT": []}
    assert np.isfinite(mean_errors(compare_on_frames({"EMT": EMT()}, [shifted(0)])["EMT"]).force_mae)
