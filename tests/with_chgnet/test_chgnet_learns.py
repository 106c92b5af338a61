"""CHGNet as a force field with its shipped weights, equal to chgnet: run by `make test-chgnet` in an environment of its own."""

import numpy as np
import pytest
from ase.build import bulk

from idealflow.errors import InputError
from idealflow.forcefields import get_force_field, load_force_field, pretrained_force_field, weights_file
from idealflow.testing import check_force_field
from support import tiny
from support.labelled_cells import copper_cells

pytestmark = [pytest.mark.chgnet, pytest.mark.filterwarnings("ignore")]


def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 0.98]]), scale_atoms=True)
    atoms.set_cell(atoms.cell.array * np.sign(np.linalg.det(atoms.cell.array)))
    return atoms


def oxide():
    atoms = bulk("Cu", cubic=True) * 2
    atoms.symbols[::3] = "O"
    atoms.rattle(0.1, seed=2)
    return atoms


@pytest.mark.parametrize("version", ["0.3.0", "r2scan"])
@pytest.mark.parametrize("frame", [salt(), bulk("Cu"), oxide()], ids=["salt", "one atom", "oxide"])
def test_energy_forces_and_stress_are_those_of_chgnet(version, frame):
    from chgnet.model import CHGNet  # not there when the other tests are collected
    from chgnet.model.dynamics import CHGNetCalculator

    ours, theirs = frame.copy(), frame.copy()
    species = sorted(set(frame.get_chemical_symbols()))
    name = f"chgnet-{version}"
    ours.calc = get_force_field("chgnet", species=species, pretrained=name, precision="double").calculator()
    loaded = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    theirs.calc = CHGNetCalculator(loaded, use_device="cpu")  # in single precision
    assert abs(ours.get_potential_energy() - theirs.get_potential_energy()) / len(ours) < 2e-6
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=5e-5)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=0, atol=3e-6)


def test_its_faults_are_not_ours():
    calculator = get_force_field("chgnet", species=["Na", "Cl"], precision="double").calculator()
    right, left = salt(), salt()
    left.set_cell(-right.cell.array)
    right.calc = left.calc = calculator
    np.testing.assert_allclose(left.get_stress(), right.get_stress(), rtol=0, atol=1e-10)
    left.positions[1, 0] = np.nan
    with pytest.raises(InputError, match="positions must be finite, atom 1"):
        left.get_forces()


def test_the_kit_passes():
    small = {"units": 6, "n_layers": 3, "n_radial": 5, "n_angular": 5, "cutoff": 3.8, "n_hidden": 1}
    force_field = get_force_field("chgnet", species=["Cu"], pretrained=None, precision="double", **small)
    check_force_field(force_field, copper_cells(2, 5), steps=2)


def test_a_species_that_the_weights_do_not_know_is_refused():
    with pytest.raises(InputError, match=r"the weights chgnet-0\.3\.0 do not know Po; they know H, He"):
        get_force_field("chgnet", species=["Po", "Cu"])


def test_the_shipped_weights_are_a_start_that_an_anchor_holds(tmp_path):
    weights = pretrained_force_field(weights_file("chgnet-0.3.0"), {"fit_learning_rate": 1e-3})
    assert len(weights.species) == 89
    cells = copper_cells(3, 1)
    before = weights.errors(cells)
    weights.start_here([salt(), bulk("Fe", cubic=True)], [bulk("Al", cubic=True)])
    weights.fit(cells, steps=6, seed=1)
    after = load_force_field(weights.save(tmp_path / "a"))
    assert after.errors(cells)[:, 0].mean() < 0.1 * before[:, 0].mean()
    assert after.errors(cells)[:, 1].mean() < before[:, 1].mean()
    assert 0.0 < after.force_shift() < 0.1


def test_a_campaign_begins_from_its_name(tmp_path):
    bootstrap = {
        "pretrained": "chgnet-0.3.0", "force_field_settings": {}, "anchor": 2, "fit_steps": 2, "freeze": ["*"],
        "soap": {"r_cut": 4.5, "n_max": 3, "l_max": 3, "sigma": 0.45},
    }  # fmt: skip
    _, campaign = tiny.run(tmp_path, max_rounds=1, bootstrap=bootstrap, evaluation={"n_frames": 0})
    first = campaign.bootstrap()
    assert (first.pretrained, first.train_errors.energy < 0.1) == ("chgnet-0.3.0", True)
    assert first.force_shift == pytest.approx(0.0, abs=1e-6)
